"""Which Deployments, ReplicaSets, StatefulSets and DaemonSets are valid, and which changes of one are allowed.

Sources: kubernetes pkg/apis/apps/validation/validation.go, pkg/apis/core/validation (label selectors).
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import check_annotations, check_labels
from testbed.server.validation_placement import check_selector
from testbed.server.validation_pods import check_pod_spec
from testbed.server.validation_storage import check_claim_spec

Json = dict[str, Any]

_MUTABLE = ("replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds")


def selector_matches(selector: Json, labels: Json) -> bool:
    """A JSON LabelSelector against labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement.get("key", ""), requirement.get("values") or ()
        holds = {
            "In": key in labels and labels[key] in values, "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels, "DoesNotExist": key not in labels,
        }.get(requirement.get("operator", ""), False)
        if not holds:
            return False
    return True


def check_replica_set(obj: Json, causes: Causes) -> None:
    check_workload(obj, causes, "deployment")


def check_workload(obj: Json, causes: Causes, word: str) -> None:
    """What all kinds of pods that run for ever have alike; ``word`` names the kind."""
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    _not_negative(spec, "replicas", causes)
    _not_negative(spec, "minReadySeconds", causes)
    if selector is None:
        causes.required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.invalid("spec.selector", selector, f"empty selector is invalid for {word}")
    else:
        check_selector(selector, "spec.selector", causes)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not selector_matches(selector, labels):
            causes.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels") or {}, "spec.template.labels", causes)
    check_annotations(metadata.get("annotations") or {}, "spec.template.annotations", causes)
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        kind = {"daemonset": "DaemonSet", "statefulset": "StatefulSet"}.get(word, "ReplicaSet")
        causes.forbidden("spec.template.spec.activeDeadlineSeconds",
                         f"activeDeadlineSeconds in {kind} is not Supported")
    if (template.get("spec") or {}).get("ephemeralContainers"):
        causes.forbidden("spec.template.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
    claims = frozenset((item.get("metadata") or {}).get("name", "") for item in spec.get("volumeClaimTemplates") or ())
    check_pod_spec(template.get("spec") or {}, "spec.template.spec", causes, restart=("Always",), claims=claims)


def _not_negative(spec: Json, key: str, causes: Causes) -> None:
    value = spec.get(key)
    if isinstance(value, int) and value < 0:
        causes.invalid(f"spec.{key}", value, "must be greater than or equal to 0")


def check_deployment(obj: Json, causes: Causes) -> None:
    check_workload(obj, causes, "deployment")
    spec = obj.get("spec") or {}
    for key in ("revisionHistoryLimit", "progressDeadlineSeconds"):
        _not_negative(spec, key, causes)
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= spec.get("minReadySeconds", 0):
        causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") not in ("Recreate", "RollingUpdate"):
        causes.not_supported("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    elif strategy["type"] == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            causes.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    else:
        rolling = strategy.get("rollingUpdate") or {}
        surge = check_int_or_percent(rolling.get("maxSurge"), "spec.strategy.rollingUpdate.maxSurge", causes)
        unavailable = check_int_or_percent(rolling.get("maxUnavailable"), "spec.strategy.rollingUpdate.maxUnavailable",
                                      causes)
        if surge == 0 and unavailable == 0:
            causes.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"),
                           "may not be 0 when `maxSurge` is 0")
        if isinstance(rolling.get("maxUnavailable"), str) and unavailable is not None and unavailable > 100:
            causes.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"],
                           "must not be greater than 100%")


def check_int_or_percent(value: Any, path: str, causes: Causes) -> int | None:
    if isinstance(value, int):
        if value < 0:
            causes.invalid(path, value, "must be greater than or equal to 0")
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return int(value[:-1])
    if value is not None:
        causes.invalid(path, value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
                                    "'1%',  or "
                       "'93%', regex used for validation is '[0-9]+%')")
    return None


def check_selector_immutable(old: Json, new: Json, causes: Causes) -> None:
    selector = (new.get("spec") or {}).get("selector")
    if (old.get("spec") or {}).get("selector") != selector:
        causes.invalid("spec.selector", selector, "field is immutable")


def check_stateful_set(obj: Json, causes: Causes) -> None:
    check_workload(obj, causes, "statefulset")
    spec = obj.get("spec") or {}
    _not_negative(spec, "revisionHistoryLimit", causes)
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        causes.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    start = (spec.get("ordinals") or {}).get("start", 0)
    if start < 0:
        causes.invalid("spec.ordinals.start", start, "must be greater than or equal to 0")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        if strategy.get("rollingUpdate") is not None:
            causes.invalid("spec.updateStrategy.rollingUpdate", strategy["rollingUpdate"],
                           "only allowed for updateStrategy 'RollingUpdate'")
    elif strategy.get("type") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        if rolling.get("partition", 0) < 0:
            causes.invalid("spec.updateStrategy.rollingUpdate.partition", rolling["partition"],
                           "must be greater than or equal to 0")
    else:
        causes.invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")
    for when, value in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
        if value not in ("Retain", "Delete"):
            causes.not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{when}", value, ("Delete", "Retain"))
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        here = f"spec.volumeClaimTemplates[{index}]"
        if not (claim.get("metadata") or {}).get("name"):
            causes.required(f"{here}.metadata.name")
        check_claim_spec(claim.get("spec") or {}, f"{here}.spec", causes)


def check_stateful_set_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if any(before.get(key) != after.get(key) for key in (before.keys() | after.keys()) - set(_MUTABLE)):
        causes.forbidden("spec", "updates to statefulset spec for fields other than "
                         + ", ".join(f"'{key}'" for key in _MUTABLE[:-1]) + f" and '{_MUTABLE[-1]}' are forbidden")


def check_daemon_set(obj: Json, causes: Causes) -> None:
    check_workload(obj, causes, "daemonset")
    spec = obj.get("spec") or {}
    _not_negative(spec, "revisionHistoryLimit", causes)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in ("OnDelete", "RollingUpdate"):
        causes.not_supported("spec.updateStrategy.type", strategy.get("type"), ("OnDelete", "RollingUpdate"))
    elif strategy["type"] == "RollingUpdate":
        here, rolling = "spec.updateStrategy.rollingUpdate", strategy.get("rollingUpdate") or {}
        unavailable = check_int_or_percent(rolling.get("maxUnavailable"), f"{here}.maxUnavailable", causes)
        surge = check_int_or_percent(rolling.get("maxSurge"), f"{here}.maxSurge", causes)
        if unavailable and surge:
            causes.invalid(f"{here}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")
        elif unavailable == 0 and surge == 0:
            causes.required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0")
        for key, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            if isinstance(rolling.get(key), str) and value is not None and value > 100:
                causes.invalid(f"{here}.{key}", rolling[key], "must not be greater than 100%")


def check_revision_update(old: Json, new: Json, causes: Causes) -> None:
    """A revision is history: only its number may change."""
    if old.get("data") != new.get("data"):
        causes.invalid("data", new.get("data"), "field is immutable")
