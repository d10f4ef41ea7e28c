"""ResourceQuotas and LimitRanges as kinds: their defaults, which of them are valid, their columns.

Source: kubernetes pkg/apis/core/v1/defaults.go SetDefaults_LimitRangeItem, pkg/apis/core/validation/validation.go
(ValidateResourceQuota, ValidateLimitRange), pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.api.meta import quantity
from testbed.core.quota import COMPUTE, PLAIN
from testbed.server.causes import Causes
from testbed.server.names import check_qualified
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.validation_containers import check_quantity

Json = dict[str, Any]

_SCOPES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating")
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_KNOWN = COMPUTE | PLAIN | {"storage", "ephemeral-storage", "services.nodeports", "services.loadbalancers"}
_PARTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def limit_range_defaults(obj: Json) -> None:
    """A container's limit is at most the maximum, its request the limit, else the minimum, unless told otherwise."""
    for item in (obj.get("spec") or {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        for key, values in (("default", limits), ("defaultRequest", requests)):
            if values:
                item[key] = values


def check_limit_range(obj: Json, causes: Causes) -> None:
    seen: set[str] = set()
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        here, kind = f"spec.limits[{index}]", item.get("type", "")
        if kind in seen:
            causes.duplicate(f"{here}.type", kind)
        seen.add(kind)
        if kind not in ("Container", "Pod", "PersistentVolumeClaim"):
            check_qualified(kind, f"{here}.type", causes)
        before = len(causes.items)
        for part in _PARTS:
            for name, value in (item.get(part) or {}).items():
                check_qualified(name, f"{here}.{part}[{name}]", causes)
                check_quantity(value, f"{here}.{part}[{name}]", causes)
        if len(causes.items) == before:
            _check_order(item, here, causes)
        if kind == "Pod":
            for part in ("default", "defaultRequest"):
                if item.get(part):
                    causes.forbidden(f"{here}.{part}", "may not be specified when `type` is 'Pod'")
        if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(part) or {}) for part in ("min", "max")):
            causes.required(f"{here}.limits", "either minimum or maximum storage value is required, but neither was "
                                              "provided")


def _check_order(item: Json, here: str, causes: Causes) -> None:
    words = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
    order = list(words)
    for position, lower in enumerate(order):
        for upper in order[position + 1:]:
            for name, value in (item.get(lower) or {}).items():
                bound = (item.get(upper) or {}).get(name)
                if bound is not None and quantity(value) > quantity(bound):
                    causes.invalid(f"{here}.{lower}[{name}]", str(value),
                                   f"{words[lower]} value {value} is greater than {words[upper]} value {bound}")
    for name, value in (item.get("maxLimitRequestRatio") or {}).items():
        if quantity(value) < 1:
            causes.invalid(f"{here}.maxLimitRequestRatio[{name}]", str(value), f"ratio {value} is less than 1")


def check_quota(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    for name, value in (spec.get("hard") or {}).items():
        here = f"spec.hard[{name}]"
        check_qualified(name, here, causes)
        if "/" not in name and name not in _KNOWN and not name.startswith(("requests.", "limits.", "hugepages-")):
            causes.invalid(here, name, "must be a standard resource for quota")
        check_quantity(value, here, causes)
    scopes = spec.get("scopes") or ()
    for index, scope in enumerate(scopes):
        if scope not in _SCOPES:
            causes.invalid(f"spec.scopes[{index}]", scope, "unsupported scope")
    if any(pair <= set(scopes) for pair in _OPPOSITES):
        causes.invalid("spec.scopes", list(scopes), "conflicting scopes")
    selected = [item.get("scopeName") for item in (spec.get("scopeSelector") or {}).get("matchExpressions") or ()]
    for index, item in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        _check_scope(item, f"spec.scopeSelector.matchExpressions[{index}]", causes)
    if "BestEffort" in (*scopes, *selected):
        for name in spec.get("hard") or ():
            if name not in ("pods", "count/pods"):
                causes.invalid("spec.scopes", ["BestEffort"], "unsupported scope applied to resource")


def _check_scope(item: Json, here: str, causes: Causes) -> None:
    name, operator, values = item.get("scopeName"), item.get("operator"), item.get("values") or ()
    if name not in _SCOPES:
        causes.invalid(f"{here}.scopeName", name, "unsupported scope")
    elif name != "PriorityClass" and operator != "Exists":
        causes.invalid(f"{here}.operator", operator, f"must be 'Exist' when scope is any of {name}")
    if operator in ("In", "NotIn") and not values:
        causes.required(f"{here}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                                          "selector")
    elif operator in ("Exists", "DoesNotExist") and values:
        causes.invalid(f"{here}.values", list(values), "must be no value when `operator` is 'Exist' or 'DoesNotExist' "
                                                       "for scope selector")
    elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        causes.invalid(f"{here}.operator", operator, "not a valid selector operator")


def check_quota_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if set(before.get("scopes") or ()) != set(after.get("scopes") or ()):
        causes.invalid("spec.scopes", after.get("scopes"), "field is immutable")
    if (before.get("scopeSelector") or {}) != (after.get("scopeSelector") or {}):
        causes.invalid("spec.scopeSelector", after.get("scopeSelector"), "field is immutable")


def _quota_row(obj: Json, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    told = {True: [], False: []}  # type: dict[bool, list[str]]
    for name in sorted(hard):
        told[name.startswith("limits.")].append(f"{name}: {used.get(name, 0)}/{hard[name]}")
    return [name_of(obj), ", ".join(told[False]), ", ".join(told[True]), age_of(obj, now)]


def _range_row(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp", "")]


POLICY_PRINTERS: dict[str, Printer] = {
    r.RESOURCE_QUOTAS.group_resource: Printer(("Name", "Request", "Limit", "Age"), _quota_row),
    r.LIMIT_RANGES.group_resource: Printer(("Name", "Created At"), _range_row),
}
