"""Which Jobs and CronJobs are valid, and which changes of one are allowed.

Sources: kubernetes pkg/apis/batch/validation/validation.go, pkg/apis/batch/v1/defaults.go, pkg/registry/batch/job.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from testbed.core import cron
from testbed.server.causes import Causes
from testbed.server.names import check_annotations, check_labels
from testbed.server.validation_pods import check_pod_spec
from testbed.server.validation_workloads import selector_matches

Json = dict[str, Any]

_IMMUTABLE = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "manualSelector",
              "podReplacementPolicy", "successPolicy", "template")
_LONGEST_CRON_NAME = 52  # a Job's name is 11 characters longer
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def check_job(obj: Json, causes: Causes) -> None:
    check_job_spec(obj.get("spec") or {}, "spec", causes)
    spec = obj.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        causes.required("spec.selector")
    elif not selector_matches(spec["selector"], labels):
        causes.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def check_job_spec(spec: Json, path: str, causes: Causes) -> None:
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                "backoffLimitPerIndex", "maxFailedIndexes"):
        if isinstance(spec.get(key), int) and spec[key] < 0:
            causes.invalid(f"{path}.{key}", spec[key], "must be greater than or equal to 0")
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels") or {}, f"{path}.template.labels", causes)
    check_annotations(metadata.get("annotations") or {}, f"{path}.template.annotations", causes)
    check_pod_spec(template.get("spec") or {}, f"{path}.template.spec", causes, restart=("OnFailure", "Never"))
    _check_indexes(spec, path, causes)
    replacement, policy = spec.get("podReplacementPolicy"), spec.get("podFailurePolicy")
    if replacement not in (None, "Failed", "TerminatingOrFailed"):
        causes.not_supported(f"{path}.podReplacementPolicy", replacement, ("Failed", "TerminatingOrFailed"))
    elif policy is not None and replacement == "TerminatingOrFailed":
        causes.not_supported(f"{path}.podReplacementPolicy", replacement, ("Failed",))
    if policy is not None:
        _check_failure_policy(spec, policy, path, causes)


def _check_indexes(spec: Json, path: str, causes: Causes) -> None:
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in ("Indexed", "NonIndexed"):
        causes.not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    elif mode == "Indexed" and spec.get("completions") is None:
        causes.required(f"{path}.completions", "when completion mode is Indexed")
    if spec.get("backoffLimitPerIndex") is not None and mode != "Indexed":
        causes.invalid(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode")
    if spec.get("maxFailedIndexes") is not None:
        if spec.get("backoffLimitPerIndex") is None:
            causes.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
        if spec["maxFailedIndexes"] > (spec.get("completions") or 0):
            causes.invalid(f"{path}.maxFailedIndexes", spec["maxFailedIndexes"],
                           "must be less than or equal to completions")


def _check_failure_policy(spec: Json, policy: Json, path: str, causes: Causes) -> None:
    here = f"{path}.podFailurePolicy.rules"
    if ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") != "Never":
        causes.invalid(f"{path}.template.spec.restartPolicy", spec["template"]["spec"].get("restartPolicy"),
                       "only \"Never\" is supported when podFailurePolicy is specified")
    for index, rule in enumerate(policy.get("rules") or ()):
        place, action = f"{here}[{index}]", rule.get("action", "")
        if action not in _ACTIONS:
            causes.not_supported(f"{place}.action", action, _ACTIONS)
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            causes.invalid(f"{place}.action", action, "requires the backoffLimitPerIndex to be set")
        codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions")
        if (codes is None) == (not patterns):
            causes.invalid(place, rule, "specifying one of OnExitCodes and OnPodConditions is required" if codes is None
                           else "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is not None:
            if codes.get("operator") not in ("In", "NotIn"):
                causes.not_supported(f"{place}.onExitCodes.operator", codes.get("operator"), ("In", "NotIn"))
            values = codes.get("values") or []
            if not values:
                causes.invalid(f"{place}.onExitCodes.values", values, "at least one value is required")
            elif codes.get("operator") == "In" and 0 in values:
                causes.invalid(f"{place}.onExitCodes.values[{values.index(0)}]", 0,
                               "must not be 0 for the In operator")


def check_cron_job(obj: Json, causes: Causes) -> None:
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name", "")
    if len(name) > _LONGEST_CRON_NAME:
        causes.invalid("metadata.name", name, f"must be no more than {_LONGEST_CRON_NAME} characters")
    schedule = spec.get("schedule") or ""
    if not schedule:
        causes.required("spec.schedule")
    elif "TZ" in schedule:
        causes.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    else:
        try:
            cron.parse(schedule)
        except ValueError as error:
            causes.invalid("spec.schedule", schedule, str(error))
    zone = spec.get("timeZone")
    if zone is not None and (not zone or zone.lower() == "local" or not _is_zone(zone)):
        causes.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
    if spec.get("concurrencyPolicy") not in ("Allow", "Forbid", "Replace"):
        causes.not_supported("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if isinstance(spec.get(key), int) and spec[key] < 0:
            causes.invalid(f"spec.{key}", spec[key], "must be greater than or equal to 0")
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    if job.get("manualSelector"):
        causes.not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    check_job_spec(job, "spec.jobTemplate.spec", causes)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def check_job_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for key in _IMMUTABLE:
        if before.get(key) != after.get(key):
            causes.invalid(f"spec.{key}", after.get(key), "field is immutable")
    if before.get("completions") != after.get("completions"):
        elastic = after.get("completionMode") == "Indexed" and after.get("completions") == after.get("parallelism")
        if not elastic:
            causes.invalid("spec.completions", after.get("completions"), "field is immutable")


def job_defaults(spec: Json) -> None:
    """Defaults of a Job's spec, the template's apart."""
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    values: Json = {
        "parallelism": 1, "backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1,
        "completionMode": "NonIndexed", "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
    }
    for key, value in values.items():
        spec.setdefault(key, value)
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")


def name_job_labels(obj: Json) -> None:
    """The selector and labels that bind pods to this very Job (kubernetes: generateSelector)."""
    spec, metadata = obj["spec"], obj["metadata"]
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    if spec.get("manualSelector") or spec.get("selector"):
        return
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"], labels[f"{prefix}job-name"] = uid, name
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
