"""The marks of a disruption that is a change of a Deployment: a rollout, a scaling, an applied manifest. Pure.

*Injected* is when the API took the change; *detected* when the controller had seen it; *acted* the first new pod;
*restored* when the Deployment is complete again and its first new pod gets requests; *stalled* when its progress
deadline passed before. Witnesses are late by different amounts, but marks never go backwards: what must have been
before something that was seen was no later than that, and what came after the end is not on the way to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from testbed.core.profile import Profile
from testbed.experiment.attribution import divided
from testbed.experiment.causes import NEW_POD, PROGRAMMED, readiness_cause, rollout_cause
from testbed.experiment.exactness import Exactness
from testbed.experiment.observations import DeploymentSeen, Evidence, PodSeen
from testbed.experiment.pod_probes import Json
from testbed.experiment.result import Gap, Marks
from testbed.experiment.rollout_path import RolloutPath
from testbed.experiment.scene import Group, Scene, first, last
from testbed.experiment.segments import explained

FIRST_IN_ROTATION = "first new pod in rotation (EndpointSlice written, gateway programmed)"


def rollout_marks(
    evidence: Evidence, deployment: str, generation: int, *, injected: float, until: float, scaled: bool = False,
    attribution: tuple[Profile, Exactness] | None = None,
) -> tuple[Marks, tuple[Gap, ...]]:
    """Marks and gaps of one change of ``deployment`` (its key), which made ``generation`` of it. ``scaled``: only the
    number of its pods was changed. ``attribution``: what the gaps are divided with; None leaves them whole."""
    scene = Scene(Group(evidence, (deployment,)), injected, until)
    states = [item for item in evidence.deployments
              if item.key == deployment and injected <= item.at <= until and item.generation >= generation]
    complete = _complete(states, generation)
    stalled = first(item.at for item in states if item.stalled) if complete is None else None
    end = first([complete, stalled])
    fresh = [pod for pod in scene.new_pods() if end is None or pod.at <= end]
    marks, key = _marks(scene, fresh, detected=first(item.at for item in states
                                                     if item.observed_generation >= generation),
                        complete=complete, stalled=stalled)
    pods = (*scene.before.values(), *fresh)
    supervisor = next((name for pod in pods if (name := evidence.supervisor_of(pod.key))), "")
    body = evidence.deployment_then(deployment, generation)
    gaps = _gaps(evidence.pod_spec(key) if key else {}, body, marks, scaled, supervisor)
    if attribution is None:
        return marks, gaps
    profile, exactness = attribution
    path = RolloutPath(scene, body, profile, exactness, marks, key)
    segments = explained(path.segments(), evidence.away)
    return marks, tuple(_as_divided(divided(gap, segments, exactness)) for gap in gaps)


def _marks(
    scene: Scene, fresh: list[PodSeen], *, detected: float | None, complete: float | None, stalled: float | None
) -> tuple[Marks, str]:
    """Marks that never go backwards, and the key of the new pod that they speak of."""
    end = first([complete, stalled])
    began = [at for at in (*(pod.at for pod in fresh), *_removals(scene)) if end is None or at <= end]
    running, ready, rotation, key = _first_new(scene, [pod.key for pod in fresh])
    running, ready = (None if at is None or (end is not None and at > end) else at for at in (running, ready))
    if ready is None or (stalled is not None and rotation is not None and rotation > stalled):
        rotation = None
    acted = first([*began, running])
    return Marks(injected=scene.since, detected=None if detected is None else first([detected, acted, end]),
                 acted=acted, running=running, ready=ready, in_rotation=rotation,
                 restored=None if complete is None else last([complete, rotation]), stalled=stalled), key


def _as_divided(gap: Gap) -> Gap:
    """With a cause that says what its parts say: Recreate's new pods wait for the end of the old ones; into rotation
    comes the first new pod, and the others do not wait for it."""
    kinds = {part.kind for part in gap.parts}
    if gap.end_mark == "running" and "draining" in kinds:
        return gap.model_copy(update={"cause": f"the old pods end first, then {gap.cause}"})
    if gap.end_mark == "in_rotation" and "endpoints" not in kinds:
        return gap.model_copy(update={"cause": f"{FIRST_IN_ROTATION}, while the rollout went on"})
    return gap


def _removals(scene: Scene) -> list[float]:
    """Scaling down has no new pods: its act is the first deletion."""
    found = scene.first_sighting(lambda pod: pod.deleting and pod.uid in scene.before
                                 and not scene.before[pod.uid].deleting, scene.since)
    return [found.at] if found else []


def _complete(states: list[DeploymentSeen], generation: int) -> float | None:
    """When it was complete: not before the controller had seen the change."""
    return first(item.at for item in states if item.complete and item.observed_generation >= generation)


def _first_new(
    scene: Scene, keys: list[str]
) -> tuple[float | None, float | None, float | None, str]:
    """Running, ready and in rotation of the new pod that got furthest first."""
    best: tuple[float, float | None, float | None, str] | None = None
    for key in keys:
        running = first(event.at for event in scene.pod_events([key], "Started"))
        if running is None:
            running = first(pod.at for pod in scene.pods if pod.key == key and pod.running)
        if running is None:
            continue
        ready = scene.ready_at(key, running)
        rotation = scene.put_in(key, running) if ready is not None else None
        entry = (running, ready, max(rotation, ready) if rotation is not None and ready is not None else None, key)
        if best is None or (ready or float("inf"), running) < (best[1] or float("inf"), best[0]):
            best = entry
    return best or (None, None, None, "")


def _gaps(spec: Json, body: Json, marks: Marks, scaled: bool, supervisor: str) -> tuple[Gap, ...]:
    """``spec``: of the first new pod. ``body``: the Deployment as this change left it."""
    deadline = (body.get("spec") or {}).get("progressDeadlineSeconds", 600)

    def cause(name: str, _: float) -> str:
        return {
            "detected": f"{supervisor or 'the Deployment controller'} saw the change",
            "acted": f"{supervisor} made the first container" if supervisor else "ReplicaSet scaled, first pod created",
            "running": f"{supervisor} started it" if supervisor else NEW_POD,
            "ready": readiness_cause(spec),
            "in_rotation": PROGRAMMED,
            "restored": rollout_cause(body, scaled=scaled, supervisor=supervisor),
            "stalled": f"no new pod became ready within progressDeadlineSeconds {deadline}",
        }[name]

    names = ("injected", "detected", "acted", "running", "ready", "in_rotation", "restored", "stalled")
    return chain(marks, "repair", names, cause)


def chain(
    marks: Marks, path: Literal["isolation", "repair"], names: tuple[str, ...], cause: Callable[[str, float], str]
) -> tuple[Gap, ...]:
    """Gaps between the marks of ``names`` that were seen, in that order; what came out of order has no length."""
    gaps: list[Gap] = []
    previous: tuple[str, float] | None = None
    for name in names:
        at = marks.get(name)
        if at is None:
            continue
        if previous is not None:
            at = max(at, previous[1])
            if at == previous[1] and name not in names[-2:]:
                continue  # seen at the same moment: it cost nothing
            gaps.append(Gap(path=path, start_mark=previous[0], end_mark=name, start_s=previous[1], end_s=at,
                            cause=cause(name, at - previous[1])))
        previous = (name, at)
    return tuple(gaps)
