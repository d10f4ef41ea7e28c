"""NodeChaos ``drain``: the node is cordoned and its pods are evicted, as ``kubectl drain`` does; uncordoned afterwards.

Evictions go through the eviction API, which respects PodDisruptionBudgets: one that a budget refuses is asked for again
until ``timeout``. Pods of DaemonSets and of kube-system stay. As kubectl, it refuses pods that no controller would make
again unless ``force`` is true. A mark on the node says which injection has cordoned it: what a person cordoned before,
and what another drain still needs cordoned, stays so; what a person uncordoned meanwhile is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from faults.durations import PATTERN, seconds
from faults.kinds import NODE_CHAOS
from faults.protocol import Aim, Drawing, Fault, Json, NotInEffect, Refused, TargetGone, Tools
from faults.refusals import MAX_GRACE_S
from faults.selection import PROTECTED_NAMESPACES
from testbed.api.resources import NODES, PODS
from testbed.errors import Conflict, Mistake, NotFound, TestbedError, TooManyRequests

MARK = "drain.testbed.io/"  # annotation of a node, + the injection's id
OURS, THEIRS = "cordoned", "was-cordoned"  # its value: by us, or by somebody before
DEFAULT_TIMEOUT_S = 30.0
_AGAIN_S = 0.5
_TRIES = 20


class NodeDrain(Fault):
    kind = NODE_CHAOS
    action = "drain"
    summary = "the node is cordoned and its pods are evicted, within their disruption budgets"
    level = "node"
    after_restart = "node"
    node_kinds = ("slice", "engine")
    drawn = Drawing("drained", "#16a085")
    fields = {
        "gracePeriod": {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_GRACE_S,
                        "description": "Seconds that a killed or evicted pod is left; a drain's default is the pod's "
                                       "own."},
        "force": {"type": "boolean", "description": "Whether drain also evicts pods that no controller makes again."},
        "timeout": {"type": "string", "pattern": PATTERN, "maxLength": 64,
                    "description": "How long drain asks again for evictions that a budget refuses; default 30s."},
    }
    example = {"force": True}

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        try:
            return () if _timeout_s(spec) > 0 else (Mistake("must be more than 0", "spec.timeout"),)
        except ValueError as error:
            return (Mistake(str(error), "spec.timeout"),)

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node = aim.target.node
        try:
            found = await tools.client.get(NODES, node)
        except NotFound as error:
            raise TargetGone(f"there is no node {node}") from error
        pods = await _pods_to_evict(tools, node)
        alone = sorted(_key(pod) for pod in pods if not _controlled(pod))
        if alone and not aim.spec.get("force"):
            raise Refused(f"pods without a controller would be lost: {', '.join(alone)}",
                          hint="force: true evicts them all the same")
        plan: Json = {"node": node, "uid": found["metadata"]["uid"], "mark": MARK + aim.entry_id,
                      "timeout_s": _timeout_s(aim.spec), "pods": {_key(pod): pod["metadata"]["uid"] for pod in pods}}
        return plan | ({"grace_s": int(aim.spec["gracePeriod"])} if "gracePeriod" in aim.spec else {})

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await _cordon(tools, plan)
        loop = asyncio.get_running_loop()
        until = loop.time() + min(plan["timeout_s"], max(0.0, remaining_s - 1.0))
        left = dict(plan["pods"])
        while True:
            refused = await _evict(tools, plan, left)
            if not refused:
                return
            if loop.time() >= until:
                raise Refused("; ".join(f"{key}: {why}" for key, why in sorted(refused.items())),
                              hint="give it more time (timeout), or the budget more room")
            left = {key: plan["pods"][key] for key in refused}
            await asyncio.sleep(_AGAIN_S)

    async def verify(self, tools: Tools, plan: Json) -> str:
        node = await _node(tools, plan)
        if node is None or not (node["spec"].get("unschedulable") and plan["mark"] in _annotations(node)):
            raise NotInEffect(f"node {plan['node']} is not cordoned")
        staying = sorted(_key(pod) for pod in await _pods_to_evict(tools, plan["node"])
                         if plan["pods"].get(_key(pod)) == pod["metadata"]["uid"]
                         and not pod["metadata"].get("deletionTimestamp"))
        if staying:
            raise NotInEffect(f"still there: {', '.join(staying)}")
        return f"the node is cordoned, and its {len(plan['pods'])} pods are gone or going"

    async def undo(self, tools: Tools, plan: Json) -> None:
        for _ in range(_TRIES):
            node = await _node(tools, plan)
            if node is None or plan["mark"] not in _annotations(node):
                return
            try:
                await _mark(tools, plan, node, {plan["mark"]: None}, unschedulable=_still_cordoned(node, plan["mark"]))
                return
            except Conflict:
                continue
        raise TestbedError(f"node {plan['node']} changes too fast to be uncordoned")

    async def undone(self, tools: Tools, plan: Json) -> bool:
        node = await _node(tools, plan)
        return node is None or plan["mark"] not in _annotations(node)


def _timeout_s(spec: Mapping[str, Any]) -> float:
    """Raises: ValueError."""
    return seconds(str(spec["timeout"])) if spec.get("timeout") else DEFAULT_TIMEOUT_S


# --- the node


async def _node(tools: Tools, plan: Json) -> Json | None:
    """None when it is gone, or another of that name."""
    try:
        node = await tools.client.get(NODES, plan["node"])
    except NotFound:
        return None
    return node if node["metadata"]["uid"] == plan["uid"] else None


async def _cordon(tools: Tools, plan: Json) -> None:
    """Raises: TargetGone, ApiError."""
    for _ in range(_TRIES):
        node = await _node(tools, plan)
        if node is None:
            raise TargetGone(f"node {plan['node']} is gone")
        if plan["mark"] in _annotations(node) and node["spec"].get("unschedulable"):
            return
        marks = _marks(node)
        theirs = bool(node["spec"].get("unschedulable")) and OURS not in marks.values()
        try:
            await _mark(tools, plan, node, {plan["mark"]: THEIRS if theirs else OURS}, unschedulable=True)
            return
        except Conflict:
            continue
    raise TestbedError(f"node {plan['node']} changes too fast to be cordoned")


async def _mark(
    tools: Tools, plan: Json, node: Json, annotations: Mapping[str, str | None], *, unschedulable: bool
) -> None:
    """Raises: Conflict when the node has changed since it was read."""
    metadata = {"annotations": dict(annotations), "uid": plan["uid"],
                "resourceVersion": node["metadata"]["resourceVersion"]}
    await tools.client.patch(NODES, plan["node"], {
        "metadata": metadata, "spec": {"unschedulable": True if unschedulable else None}})


def _still_cordoned(node: Json, mark: str) -> bool:
    """Without this mark: as it is now, unless it was us alone who cordoned it."""
    marks = _marks(node)
    others = {name: value for name, value in marks.items() if name != mark}
    ours = OURS in marks.values()
    return bool(node["spec"].get("unschedulable")) and (bool(others) or not ours)


def _annotations(node: Json) -> Mapping[str, str]:
    found: Mapping[str, str] = node["metadata"].get("annotations") or {}
    return found


def _marks(node: Json) -> dict[str, str]:
    return {name: value for name, value in _annotations(node).items() if name.startswith(MARK)}


# --- its pods


async def _pods_to_evict(tools: Tools, node: str) -> Sequence[Json]:
    """kubectl: pkg/drain/filters.go, but for pods of kube-system, which no fault hits."""
    found = await tools.client.list(PODS, field_selector=f"spec.nodeName={node}")
    return [pod for pod in found.items if pod["metadata"]["namespace"] not in PROTECTED_NAMESPACES
            and _owner(pod).get("kind") != "DaemonSet"]


def _owner(pod: Json) -> Json:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def _controlled(pod: Json) -> bool:
    return bool(_owner(pod)) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _key(pod: Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


async def _evict(tools: Tools, plan: Json, pods: Mapping[str, str]) -> dict[str, str]:
    """Asks for each eviction once. Returns what was refused for now, and why."""
    refused: dict[str, str] = {}
    for key, uid in sorted(pods.items()):
        namespace, name = key.split("/")
        options: Json = {"preconditions": {"uid": uid}}
        if "grace_s" in plan:
            options["gracePeriodSeconds"] = plan["grace_s"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
                "deleteOptions": options}
        try:
            await tools.client.create_subresource(PODS, name, "eviction", body, namespace)
        except (NotFound, Conflict):
            continue  # gone, or another of that name
        except TooManyRequests as error:
            refused[key] = str(error)
    return refused
