"""Whom a fault object hits now, drawn and judged: the one way from an object to its targets, for injecting and for a
dry run. Pure.

Draws depend on the object alone: on its annotation ``testbed.io/seed``, or on its uid. The same seed over the same pods
and nodes gives the same targets.
"""

from __future__ import annotations

import random as randomness
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faults import blast_radius, selection
from faults.protocol import SELECTED, Fault, Json, Target
from faults.reach import check_reach

SEED = "testbed.io/seed"


@dataclass(frozen=True)
class Scene:
    """What there is, what other injections hurt now or soon, and what they have killed a short while ago."""

    pods: Sequence[Json]
    nodes: Sequence[Json]
    hurt: Sequence[Target] = ()
    killed: Sequence[Target] = ()


def choose(obj: Json, fault: Fault, scene: Scene) -> list[Target]:
    """Targets by all of the fault's selections; empty when the selector matches nothing that lives.

    Raises: Refused when more would be hit than may be, or the selection itself is wrong.
    """
    spec = obj["spec"]
    targets: list[Target] = []
    for key, part in fault.selections(spec).items():
        targets += _of_selection(obj, fault, key, part, scene, {target.uid for target in targets})
    hit = [target for target in targets if target.key == SELECTED]
    check_reach(fault, spec, targets, scene.nodes)
    limits = notes(obj)
    if fault.level == "node" and hit:
        blast_radius.check_nodes([target.node for target in hit],
                                 [target.node for target in scene.hurt if not target.pod and target.node],
                                 [node["metadata"]["name"] for node in scene.nodes], limits)
    elif fault.level in ("pod", "container"):
        blast_radius.check_pods(hit, scene.hurt, filter(selection.alive, scene.pods), limits,
                                scene.killed)
    return targets if hit else []


def notes(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Annotations of an object."""
    return obj["metadata"].get("annotations") or {}


def _of_selection(
    obj: Json, fault: Fault, key: str, part: Mapping[str, Any], scene: Scene, taken: Collection[str],
) -> list[Target]:
    """``taken``: pods (uids) of the selections before. Who wants some of those that match gets others while there are
    any: a pod is no peer of its own."""
    if fault.level == "cluster":
        return [Target(key=key)]
    selector, mode, value = part.get("selector") or {}, part.get("mode", ""), str(part.get("value") or "")
    random = randomness.Random(f"{notes(obj).get(SEED) or obj['metadata'].get('uid')} {key}")
    namespace = obj["metadata"]["namespace"]
    if fault.level == "node":
        names = selection.matching_nodes(selector, namespace, scene.pods, scene.nodes)
        return [Target(node=name, key=key) for name in selection.choose(names, mode, value, random)]
    pods = selection.matching_pods(selector, namespace, scene.pods, scene.nodes)
    if mode != "all":
        pods = [pod for pod in pods if pod["metadata"].get("uid") not in taken] or pods
    chosen = selection.choose(pods, mode, value, random)
    if fault.level == "pod":
        return [replace(selection.pod_target(pod), key=key) for pod in chosen]
    return [replace(target, key=key) for pod in chosen
            for target in selection.containers_of(pod, part.get("containerNames") or (),
                                                     first_only=fault.first_container)]
