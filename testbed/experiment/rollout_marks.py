"""The marks of a disruption that is a change of a Deployment: a rollout, a scaling, an applied manifest. Pure.

*Injected* is when the API took the change; *detected* when the controller had seen it; *acted* the first new pod;
*restored* when the Deployment is complete again; *stalled* when its progress deadline passed before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from testbed.core.profile import Profile
from testbed.experiment.attribution import divided
from testbed.experiment.causes import readiness_cause, rollout_cause
from testbed.experiment.durations import say_duration
from testbed.experiment.exactness import Exactness
from testbed.experiment.observations import DeploymentSeen, Evidence
from testbed.experiment.result import Gap, Marks
from testbed.experiment.rollout_path import RolloutPath
from testbed.experiment.scene import Group, Scene, first
from testbed.experiment.segments import explained


def rollout_marks(
    evidence: Evidence, deployment: str, generation: int, *, injected: float, until: float, scaled: bool = False,
    attribution: tuple[Profile, Exactness] | None = None,
) -> tuple[Marks, tuple[Gap, ...]]:
    """Marks and gaps of one change of ``deployment`` (its key), which made ``generation`` of it. ``scaled``: only the
    number of its pods was changed. ``attribution``: what the gaps are divided with; None leaves them whole."""
    scene = Scene(Group(evidence, (deployment,)), injected, until)
    states = [item for item in evidence.deployments
              if item.key == deployment and injected <= item.at <= until and item.generation >= generation]
    detected = first(item.at for item in states if item.observed_generation >= generation)
    fresh = scene.new_pods()
    acted = first([*(pod.at for pod in fresh), *_removals(scene)])
    running, ready, rotation, key = _first_new(scene, [pod.key for pod in fresh])
    stalled = first(item.at for item in states if item.stalled)
    restored = _complete(states, generation)
    marks = Marks(injected=injected, detected=detected if acted is None or detected is None else min(detected, acted),
                  acted=acted, running=running, ready=ready, in_rotation=rotation,
                  restored=restored, stalled=stalled if restored is None else None)
    pods = (*scene.before.values(), *fresh)
    supervisor = next((name for pod in pods if (name := evidence.supervisor_of(pod.key))), "")
    gaps = _gaps(evidence, deployment, marks, key, scaled, supervisor)
    if attribution is None:
        return marks, gaps
    profile, exactness = attribution
    path = RolloutPath(scene, evidence.deployment_json.get(deployment, {}), profile, exactness, marks, key)
    segments = explained(path.segments(), evidence.away)
    return marks, tuple(divided(gap, segments, exactness) for gap in gaps)


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


def _gaps(
    evidence: Evidence, deployment: str, marks: Marks, key: str, scaled: bool, supervisor: str
) -> tuple[Gap, ...]:
    spec = evidence.pod_spec(key) if key else {}
    body = evidence.deployment_json.get(deployment, {})
    deadline = (body.get("spec") or {}).get("progressDeadlineSeconds", 600)

    def cause(name: str, seconds: float) -> str:
        return {
            "detected": f"{supervisor or 'the Deployment controller'} saw the change",
            "acted": f"{supervisor} made the first container" if supervisor else "ReplicaSet scaled, first pod created",
            "running": f"{supervisor} started it after {say_duration(seconds)}" if supervisor else
                       f"new pod: scheduled, sandbox and image start {say_duration(seconds)}",
            "ready": readiness_cause(spec),
            "in_rotation": f"EndpointSlice written and gateway programmed in {say_duration(seconds)}",
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
