"""ResourceQuota and LimitRange as admission: defaults for containers, bounds, and room in the namespace. Pure.

Source: kubernetes plugin/pkg/admission/{limitranger,resourcequota}, pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from testbed.api.core_v1 import Pod, Service
from testbed.api.meta import Resource
from testbed.api.quota_v1 import LimitRange, LimitRangeItem, ResourceQuota
from testbed.api.storage_v1 import PersistentVolumeClaim
from testbed.core import quota as counting
from testbed.core.quantities import Amounts, amounts, pod_limits, pod_requests, quantity_text
from testbed.errors import Forbidden

Json = dict[str, Any]
ANNOTATION = "kubernetes.io/limit-ranger"
_VIEWS: dict[str, type[Resource]] = {"pods": Pod, "services": Service,
                                   "persistentvolumeclaims": PersistentVolumeClaim}


def default_limits(pod: Json, ranges: Sequence[Json]) -> None:
    """Fills in what the containers of a new pod do not say."""
    told: list[str] = []
    for item in ranges:
        for rule in LimitRange.of(item).spec.limits:
            if rule.type != "Container":
                continue
            for key, word in (("containers", "container"), ("initContainers", "init container")):
                for container in pod["spec"].get(key) or ():
                    told += _fill(container, rule, word)
    if told:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(told)


def _fill(container: Json, rule: LimitRangeItem, word: str) -> list[str]:
    told = []
    for part, values, kind in (("requests", rule.default_request, "request"), ("limits", rule.default, "limit")):
        given = container.setdefault("resources", {}).get(part) or {}
        added = {name: value for name, value in values.items() if name not in given}
        if added:
            container["resources"][part] = {**given, **added}
            told.append(f"{', '.join(sorted(added))} {kind} for {word} {container.get('name', '')}")
    return told


def check_limits(pod: Json, ranges: Sequence[Json]) -> None:
    """Raises: Forbidden with all that is too small or too large."""
    if not ranges:
        return
    view, wrong = Pod.of(pod), []
    for item in ranges:
        for rule in LimitRange.of(item).spec.limits:
            if rule.type == "Container":
                for container in (*view.spec.containers, *view.spec.init_containers):
                    resources = container.resources
                    wrong += _broken(rule, amounts(resources.requests), amounts(resources.limits))
            elif rule.type == "Pod":
                wrong += _broken(rule, pod_requests(view), pod_limits(view))
    if wrong:
        told = wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]"
        raise Forbidden(f'pods "{view.metadata.name}" is forbidden: {told}')


def check_claim_limits(claim: Json, ranges: Sequence[Json]) -> None:
    """Raises: Forbidden for a claim that asks for too little or too much."""
    asked = amounts(PersistentVolumeClaim.of(claim).spec.resources.requests)
    wrong = [text.replace("but limit is", "but request is")  # a claim has requests only
             for item in ranges for rule in LimitRange.of(item).spec.limits if rule.type == "PersistentVolumeClaim"
             for text in _broken(rule, asked, asked)]
    if wrong:
        told = wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]"
        raise Forbidden(f'persistentvolumeclaims "{claim["metadata"].get("name", "")}" is forbidden: {told}')


def _broken(rule: LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    wrong: list[str] = []
    for name, least in sorted(amounts(rule.min).items()):
        start = f"minimum {name} usage per {rule.type} is {quantity_text(name, least)}"
        if name not in requests:
            wrong.append(f"{start}.  No request is specified")
        elif requests[name] < least:
            wrong.append(f"{start}, but request is {quantity_text(name, requests[name])}")
        elif name in limits and limits[name] < least:
            wrong.append(f"{start}, but limit is {quantity_text(name, limits[name])}")
    for name, most in sorted(amounts(rule.max).items()):
        start = f"maximum {name} usage per {rule.type} is {quantity_text(name, most)}"
        if name not in limits:
            wrong.append(f"{start}.  No limit is specified")
        elif limits[name] > most:
            wrong.append(f"{start}, but limit is {quantity_text(name, limits[name])}")
        elif name in requests and requests[name] > most:
            wrong.append(f"{start}, but request is {quantity_text(name, requests[name])}")
    for name, most in sorted(amounts(rule.max_limit_request_ratio).items()):
        start = f"{name} max limit to request ratio per {rule.type} is {quantity_text(name, most)}"
        request, limit = requests.get(name, Decimal(0)), limits.get(name, Decimal(0))
        if not request:
            wrong.append(f"{start}, but no request is specified or request is 0")
        elif not limit:
            wrong.append(f"{start}, but no limit is specified or limit is 0")
        elif limit / request > most:
            wrong.append(f"{start}, but provided ratio is {limit / request:.6f}")
    return wrong


def charge(group_resource: str, obj: Json, quotas: Sequence[Json], now: datetime) -> list[Json]:
    """The quotas with a new object counted in, as they have to be stored.

    Raises: Forbidden when one has no room for it.
    """
    changed: list[Json] = []
    if not quotas:
        return changed
    view: Resource = _VIEWS.get(group_resource, Resource).of(obj)
    asked = counting.usage(group_resource, view, now)
    for item in quotas:
        quota = ResourceQuota.of(item)
        if not asked.keys() & quota.spec.hard.keys() or not counting.covers(quota, view):
            continue
        start = f'{group_resource} "{view.metadata.name}" is forbidden: '
        if isinstance(view, Pod) and (missing := counting.unspecified(quota, view)):
            raise Forbidden(f"{start}failed quota: {quota.metadata.name}: {missing}")
        try:
            used = counting.charged(quota, asked)
        except ValueError as refused:
            raise Forbidden(f"{start}{refused}") from None
        if used != quota.status.used:
            changed.append({**item, "metadata": dict(item["metadata"]),
                            "status": {**(item.get("status") or {}), "used": used}})
    return changed
