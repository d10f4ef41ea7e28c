"""Faults that follow (annotation ``testbed.io/follow: "true"``): whose target is gone, and who takes its place. Pure.

Without the annotation a pod that replaces a broken one is not hurt, and a restart that cures stays a cure. With it the
injection moves on, until its deadline: to a new pod of the same workload that the selector matches (of a StatefulSet,
the pod of the same name), and, where a restart of the container would cure, to the container that was started in its
place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faults import blast_radius, selection
from faults.choosing import Scene, notes
from faults.ledger import Entry
from faults.protocol import SELECTED, Fault, Json, Target

FOLLOW = "testbed.io/follow"


def follows(obj: Mapping[str, Any], fault: Fault) -> bool:
    """Only what can be undone follows: a kill that followed would kill without an end."""
    return (notes(obj).get(FOLLOW) == "true" and fault.reversible and fault.level in ("pod", "container"))


def replaced(fault: Fault, entries: Sequence[Entry], scene: Scene) -> dict[str, str]:
    """Where another container than the one that was hit seems to run in the same pod: injection to the id of the one
    that was hit. A pod's status may be late: whether that one has ended is for the engine to say."""
    if fault.after_restart != "container":
        return {}
    living = _living(scene)
    found = {}
    for entry in entries:
        pod, hit = living.get(entry.target.uid), fault.container_of(entry.plan)
        now = selection.container_id(pod, entry.target.container) if pod is not None else ""
        if hit and now and hit != now:
            found[entry.id] = hit
    return found


def lost(entries: Sequence[Entry], ended: Collection[str], scene: Scene) -> tuple[Entry, ...]:
    """Whose target is gone: its pod, or, by the ids of injections in ``ended``, its container."""
    living = _living(scene)
    return tuple(entry for entry in entries if entry.target.uid not in living or entry.id in ended)


def _living(scene: Scene) -> dict[str, Json]:
    return {str(pod["metadata"].get("uid", "")): pod for pod in scene.pods if selection.alive(pod)}


def successions(
    obj: Json, fault: Fault, entries: Sequence[Entry], gone: Sequence[Entry], scene: Scene
) -> list[tuple[Entry, Target]]:
    """Who takes whose place. Nothing of what is gone may be in effect any more.

    Raises: Refused when that would hurt more than may be hurt, because the workload has shrunk.
    """
    taken = [entry.target for entry in entries if entry not in gone]
    found: list[tuple[Entry, Target]] = []
    for entry in gone:
        target = _successor(obj, fault, entry.target, taken, scene)
        if target is not None:
            taken.append(target)
            found.append((entry, target))
    if found:
        hit = [target for target in taken if target.key == SELECTED]
        blast_radius.check_pods(hit, scene.hurt, filter(selection.alive, scene.pods), notes(obj), scene.killed)
    return found


def _successor(obj: Json, fault: Fault, gone: Target, taken: Sequence[Target], scene: Scene) -> Target | None:
    part = fault.selections(obj["spec"]).get(gone.key) or {}
    pods = selection.matching_pods(part.get("selector") or {}, obj["metadata"]["namespace"], scene.pods, scene.nodes)
    # A pod that is still there got a container in the old one's place: no other pod takes that.
    pods = [pod for pod in pods if pod["metadata"].get("uid") == gone.uid] or pods
    used = {target.uid for target in taken if (target.key, target.container) == (gone.key, gone.container)}
    for pod in pods:
        target = replace(selection.pod_target(pod), key=gone.key, container=gone.container)
        by_name = target.workload.startswith("StatefulSet/")
        if (target.workload == gone.workload and selection.runs(pod, gone.container) and target.uid not in used
                and (target.pod == gone.pod or not by_name)):
            return target
    return None
