"""Whom a disruption dragged along: Deployments that it did not hit and that lost readiness or restarted. Pure.

That something happened after an injection does not prove that it happened because of it; but a steady state held
before, and nothing else was done. What a step that ships or scales changes on purpose is not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from testbed.experiment.observations import Evidence, PodSeen
from testbed.experiment.result import Disruption, Reached
from testbed.experiment.scene import state_at


def reached(item: Disruption, evidence: Evidence, known: Sequence[Disruption], until: float) -> tuple[Reached, ...]:
    """Args: known: all disruptions. until: the end of this one's stretch."""
    begin = item.marks.injected
    if begin is None or item.kind not in ("fault", "uninvited"):
        return ()
    hit = _hit(item, evidence, begin) | _changed(known, begin, until)
    before = {uid: pod for uid, pod in state_at(evidence.pods, begin).items() if pod.ready and not pod.deleting}
    sightings: dict[str, list[PodSeen]] = defaultdict(list)
    for pod in evidence.pods:
        if begin <= pod.at <= until and pod.uid in before and evidence.deployment_of(pod.uid) not in hit:
            sightings[pod.uid].append(pod)
    return _by_deployment(evidence, before, sightings, begin)


def _hit(item: Disruption, evidence: Evidence, begin: float) -> set[str]:
    """Deployments of the targets, and of everything on a node that is one."""
    targets = item.target_keys
    return {evidence.deployment_of(uid) for uid, pod in state_at(evidence.pods, begin).items()
            if pod.key in targets or pod.node in targets}


def _changed(known: Iterable[Disruption], begin: float, until: float) -> set[str]:
    return {target.removeprefix("deployment ") for other in known for target in other.targets
            if target.startswith("deployment ") and other.window_s is not None
            and other.window_s[0] <= until and other.window_s[1] >= begin}


def _by_deployment(
    evidence: Evidence, before: dict[str, PodSeen], sightings: dict[str, list[PodSeen]], begin: float,
) -> tuple[Reached, ...]:
    found: dict[tuple[str, Literal["unready", "restarted"]], list[tuple[float, float | None]]] = defaultdict(list)
    for uid, pods in sightings.items():
        owner = evidence.deployment_of(uid)
        lost = next((pod.at for pod in pods if not pod.ready or pod.gone or pod.deleting), None)
        if lost is not None:
            back = next((pod.at for pod in pods if pod.at > lost and pod.ready and not pod.deleting), None)
            found[owner, "unready"].append((lost, back))
        again = next((pod.at for pod in pods if pod.restarts > before[uid].restarts), None)
        if again is not None:
            found[owner, "restarted"].append((again, again))
    made = []
    for (owner, how), spans in found.items():
        start = min(lost for lost, _ in spans)
        ends = [back for _, back in spans]
        end = None if None in ends else max(back for back in ends if back is not None)
        made.append(Reached(deployment=owner, how=how, after_s=round(start - begin, 3), pods=len(spans),
                            lasted_s=None if end is None else round(end - start, 3)))
    return tuple(sorted(made, key=lambda one: (one.after_s, one.deployment, one.how)))
