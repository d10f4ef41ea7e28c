"""Which Jobs are valid, which changes of one are allowed, and their defaults.

Sources: kubernetes pkg/apis/batch/validation/validation.go, pkg/apis/batch/v1/defaults.go, pkg/registry/batch/job.
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import DNS_LABEL, check_annotations, check_domain_path, check_labels, check_qualified
from testbed.server.validation_containers import not_negative
from testbed.server.validation_pods import check_pod_spec
from testbed.server.validation_workloads import selector_matches

Json = dict[str, Any]

_IMMUTABLE = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_RESTARTS = ("Always", "Never", "OnFailure")
_MOST_PARALLEL, _MANY = 100_000, 100_000  # of an Indexed Job; from where on completions are many
_MOST_OF_MANY = 10_000
_LONGEST_MANAGER = 63
_MOST_RULES, _MOST_CODES = 20, 255


def check_job(obj: Json, causes: Causes) -> None:
    check_job_spec(obj.get("spec") or {}, "spec", causes)
    spec, metadata = obj.get("spec") or {}, obj.get("metadata") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        causes.required("spec.selector")
    elif not selector_matches(spec["selector"], labels):
        causes.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if spec.get("selector") and not spec.get("manualSelector") and metadata.get("uid"):
        _check_generated(spec["selector"], labels, metadata, causes)
    last = (spec.get("completions") or 0) - 1
    if spec.get("completionMode") == "Indexed" and last >= 0:
        hostname = f"{metadata.get('name', '')}-{last}"
        if len(hostname) > 63 or not DNS_LABEL.match(hostname):
            causes.invalid("metadata.name", metadata.get("name", ""),
                           f"will not able to create pod with invalid DNS label: {hostname}")


def _check_generated(selector: Json, labels: Json, metadata: Json, causes: Causes) -> None:
    """What binds pods to this very Job is made by the server, not by the client."""
    expected = _own_labels(metadata)
    for key, value in expected.items():
        here = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            causes.required(here, f"must be '{value}'")
        elif labels[key] != value:
            causes.invalid(here, labels, f"must be '{value}'")
    if not selector_matches(selector, expected):
        causes.invalid("spec.selector", selector, "`selector` not auto-generated")


def check_job_spec(spec: Json, path: str, causes: Causes) -> None:
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                "backoffLimitPerIndex", "maxFailedIndexes"):
        not_negative(spec.get(key), f"{path}.{key}", causes)
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels") or {}, f"{path}.template.labels", causes)
    check_annotations(metadata.get("annotations") or {}, f"{path}.template.annotations", causes)
    check_pod_spec(template.get("spec") or {}, f"{path}.template.spec", causes, restart=_RESTARTS)
    if (template.get("spec") or {}).get("restartPolicy", "Always") == "Always":
        causes.required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    if (manager := spec.get("managedBy")) is not None:
        check_domain_path(manager, f"{path}.managedBy", causes)
        if len(manager) > _LONGEST_MANAGER:
            causes.too_long(f"{path}.managedBy", _LONGEST_MANAGER)
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
    if mode != "Indexed":
        for key in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"):
            if spec.get(key) is not None:
                causes.invalid(f"{path}.{key}", spec[key], "requires indexed completion mode")
    most_failed = spec.get("maxFailedIndexes")
    if most_failed is not None and spec.get("backoffLimitPerIndex") is None:
        causes.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if mode == "Indexed":
        _check_sizes(spec, path, causes)


def _check_sizes(spec: Json, path: str, causes: Causes) -> None:
    """So that the lists of completed and failed indexes stay short."""
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failed = spec.get("maxFailedIndexes")
    if parallelism > _MOST_PARALLEL:
        causes.invalid(f"{path}.parallelism", parallelism,
                       f"must be less than or equal to {_MOST_PARALLEL} when completion mode is Indexed")
    if failed is not None and completions is not None and failed > completions:
        causes.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > _MANY:
        causes.invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {_MANY}")
    if (completions or 0) <= _MANY or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        causes.required(f"{path}.maxFailedIndexes", f"must be specified when completions is above {_MANY}")
    for key, value in (("parallelism", parallelism), ("maxFailedIndexes", failed or 0)):
        if value > _MOST_OF_MANY:
            causes.invalid(f"{path}.{key}", value, f"must be less than or equal to {_MOST_OF_MANY} when completions "
                                                   f"are above {_MANY} and used with backoff limit per index")


def _check_failure_policy(spec: Json, policy: Json, path: str, causes: Causes) -> None:
    here, rules = f"{path}.podFailurePolicy.rules", policy.get("rules") or ()
    template = (spec.get("template") or {}).get("spec") or {}
    if template.get("restartPolicy") == "OnFailure":
        causes.invalid(f"{path}.template.spec.restartPolicy", "OnFailure",
                       "only \"Never\" is supported when podFailurePolicy is specified")
    if len(rules) > _MOST_RULES:
        causes.too_many(here, len(rules), _MOST_RULES)
    names = {item.get("name") for key in ("containers", "initContainers") for item in template.get(key) or ()}
    for index, rule in enumerate(rules):
        place, action = f"{here}[{index}]", rule.get("action", "")
        if not action:
            causes.required(f"{place}.action", f"valid values: {_listed(_ACTIONS)}")
        elif action not in _ACTIONS:
            causes.not_supported(f"{place}.action", action, _ACTIONS)
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            causes.invalid(f"{place}.action", action, "requires the backoffLimitPerIndex to be set")
        codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
        if codes is not None:
            _check_exit_codes(codes, f"{place}.onExitCodes", names, causes)
        _check_patterns(patterns, f"{place}.onPodConditions", causes)
        if codes is not None and patterns:
            causes.omitted(place, "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is None and not patterns:
            causes.omitted(place, "specifying one of OnExitCodes and OnPodConditions is required")


def _check_exit_codes(codes: Json, here: str, names: set[Any], causes: Causes) -> None:
    operator, values = codes.get("operator"), codes.get("values") or []
    if not operator:
        causes.required(f"{here}.operator", f"valid values: {_listed(('In', 'NotIn'))}")
    elif operator not in ("In", "NotIn"):
        causes.not_supported(f"{here}.operator", operator, ("In", "NotIn"))
    if codes.get("containerName") is not None and codes["containerName"] not in names:
        causes.invalid(f"{here}.containerName", codes["containerName"],
                       "must be one of the container or initContainer names in the pod template")
    if not values:
        causes.invalid(f"{here}.values", values, "at least one value is required")
    elif len(values) > _MOST_CODES:
        causes.too_many(f"{here}.values", len(values), _MOST_CODES)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            causes.invalid(f"{here}.values[{index}]", 0, "must not be 0 for the In operator")
        if value in values[:index]:
            causes.duplicate(f"{here}.values[{index}]", value)
    if values != sorted(values):
        causes.invalid(f"{here}.values", values, "must be ordered")


def _check_patterns(patterns: Any, here: str, causes: Causes) -> None:
    if len(patterns) > _MOST_RULES:
        causes.too_many(here, len(patterns), _MOST_RULES)
    for index, pattern in enumerate(patterns):
        check_qualified(pattern.get("type", ""), f"{here}[{index}].type", causes)
        if pattern.get("status") not in ("False", "True", "Unknown"):
            causes.not_supported(f"{here}[{index}].status", pattern.get("status"), ("False", "True", "Unknown"))


def _listed(words: tuple[str, ...]) -> str:
    """As Go's %q shows a list."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"


def check_job_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for key in _IMMUTABLE:
        if before.get(key) != after.get(key):
            causes.invalid(f"spec.{key}", after.get(key), "field is immutable")
    movable = bool(before.get("suspend")) and not (old.get("status") or {}).get("startTime")
    if _fixed(before.get("template") or {}, movable) != _fixed(after.get("template") or {}, movable):
        causes.invalid("spec.template", after.get("template"), "field is immutable")
    if before.get("completions") != after.get("completions"):
        if after.get("completionMode") != "Indexed":
            causes.invalid("spec.completions", after.get("completions"), "field is immutable")
        elif after.get("completions") != after.get("parallelism"):
            causes.invalid("spec.completions", after.get("completions"),
                           "can only be modified in tandem with spec.parallelism")


def _fixed(template: Json, movable: bool) -> Json:
    """The template without what may change. ``movable``: it was never started, so a queue may still say where it
    goes."""
    if not movable:
        return template
    metadata, spec = dict(template.get("metadata") or {}), dict(template.get("spec") or {})
    for key in ("annotations", "labels"):
        metadata.pop(key, None)
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(key, None)
    affinity = {key: value for key, value in (spec.pop("affinity", None) or {}).items() if key != "nodeAffinity"}
    return {**template, "metadata": metadata, "spec": {**spec, **({"affinity": affinity} if affinity else {})}}


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
    spec, own = obj["spec"], _own_labels(obj["metadata"])
    if spec.get("manualSelector"):
        return
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key, value in own.items():
        labels.setdefault(key, value)
    matched = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    matched.setdefault("batch.kubernetes.io/controller-uid", own["batch.kubernetes.io/controller-uid"])


def _own_labels(metadata: Json) -> dict[str, str]:
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    return {f"{prefix}{key}": value for prefix in ("", "batch.kubernetes.io/")
            for key, value in (("controller-uid", uid), ("job-name", name))}
