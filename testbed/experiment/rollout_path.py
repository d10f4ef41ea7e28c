"""Where the seconds of a rollout went: its critical path, walked backwards from its end. Pure.

A rolling update waits for one thing after the other: a new pod that must come up, its minReadySeconds, an old one that
must end before the next may be made (maxSurge, Recreate). What it ended with is known; what that waited for is the last
thing that happened before it, and so on back to the change itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.core.profile import Profile
from testbed.experiment.causes import PROGRAMMED
from testbed.experiment.exactness import Exactness
from testbed.experiment.observations import STAMP_S, PodSeen
from testbed.experiment.pod_life import CONTROL_S, ENDPOINTS_S, KILL_S, PodLife
from testbed.experiment.pod_probes import grace_of, has_pre_stop, stopping_s
from testbed.experiment.result.timeline import Marks
from testbed.experiment.scene import Scene, first
from testbed.experiment.segments import Segment, Track

Json = Mapping[str, Any]
MAX_STEPS = 500  # of the walk: far more than a Deployment has pods
SAME_S = 0.05  # moments this close belong to one turn of the controller


@dataclass(frozen=True)
class Step:
    """One pod that was waited for: made (or told to end) at ``begun``, there (or gone) at ``done``."""

    pod: PodSeen
    begun: float
    done: float
    leaving: bool


class RolloutPath:
    """Of one change of one Deployment. ``deployment``: its JSON."""

    def __init__(
        self, scene: Scene, deployment: Json, profile: Profile, exactness: Exactness, marks: Marks, first_pod: str
    ) -> None:
        self.scene, self.profile, self.exactness, self.marks, self.first_pod = (
            scene, profile, exactness, marks, first_pod)
        spec = deployment.get("spec") or {}
        self.min_ready_s = float(spec.get("minReadySeconds") or 0)
        self.recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        self._coming = self._came()
        self._leaving = self._left()

    def segments(self) -> list[Segment]:
        """From the change until it was complete, or gave up, or until we looked no more."""
        marks = self.marks
        track = Track(marks.injected if marks.injected is not None else self.scene.since)
        for at, words in ((marks.detected, "the Deployment controller saw the change"),
                          (marks.acted, "ReplicaSet scaled, first pod made or told to end")):
            if at is not None and not (self.recreate and at == marks.acted and self._leaving):
                track.to(at, "control", words, limit_s=CONTROL_S, u=self.exactness.of(at))
        if marks.stalled is not None:
            track.follow(self._stalled(track.at, marks.stalled))
            return track.segments
        end = self.scene.until if marks.restored is None else marks.restored
        steps = self._walk(end, track.at)
        for step, until in steps:
            self._take(track, step, until, last=until == end)
        return track.segments

    def _walk(self, end: float, start: float) -> list[tuple[Step, float]]:
        """Steps in the order of time, each with the moment until which what followed it waited."""
        found: list[tuple[Step, float]] = []
        until = end
        for _ in range(MAX_STEPS):
            step = self._last_done(until + SAME_S if not found else until)
            if step is None or step.done <= start:
                break
            found.append((step, until))
            if step.begun <= start + SAME_S or step.begun >= until:
                break
            until = step.begun
        return found[::-1]

    def _last_done(self, until: float) -> Step | None:
        """What was done last before this moment: only that can have been waited for. Old pods that are told to end are
        not counted on any more (kubernetes: IsPodActive), so only Recreate waits for their end."""
        steps = [step for step in (*self._coming, *(self._leaving if self.recreate else ()))
                 if self._counts_from(step) <= until and step.begun < until - SAME_S]
        return max(steps, key=self._counts_from, default=None)

    def _counts_from(self, step: Step) -> float:
        """The earliest moment from which it counted: minReadySeconds run from a stamp of whole seconds."""
        return step.done if step.leaving else step.done + max(0.0, self.min_ready_s - STAMP_S)

    def _take(self, track: Track, step: Step, until: float, *, last: bool) -> None:
        if step.leaving:
            spec = self.scene.evidence.pod_spec(step.pod.key)
            grace_s = grace_of(spec)
            hook = " with its preStop hook" if has_pre_stop(spec) else ""
            track.to(step.begun, "control", "an old pod told to end", limit_s=CONTROL_S)
            track.to(step.done, "draining", f"an old pod ends{hook} (terminationGracePeriodSeconds {grace_s:g})",
                     limit_s=stopping_s(grace_s) + KILL_S, u=self.exactness.of(step.done))
        else:
            track.to(step.begun, "control", "the next pod made", limit_s=CONTROL_S, u=self.exactness.of(step.begun))
            ready = step.done
            track.follow(PodLife(self.scene, step.pod.key, self.profile, self.exactness).segments(track.at, ready))
            if self.min_ready_s:
                track.to(min(ready + self.min_ready_s, until), "min-ready", f"minReadySeconds {self.min_ready_s:g}")
        if last and until == self.marks.in_rotation:  # the Deployment had been complete before
            track.to(until, "endpoints", PROGRAMMED, limit_s=ENDPOINTS_S, u=self.exactness.of(until))
        track.to(until, "control", "status written, and what it allows begun", limit_s=CONTROL_S,
                 u=self.exactness.of(until))

    def _stalled(self, start: float, until: float) -> list[Segment]:
        key = self.first_pod or next((step.key for step in self.scene.new_pods()), "")
        return PodLife(self.scene, key, self.profile, self.exactness).segments(start, until) if key else []

    # --- who came and who left

    def _came(self) -> list[Step]:
        found = []
        for pod in self.scene.new_pods():
            ready = self.scene.ready_at(pod.key, pod.at)
            if ready is not None:
                found.append(Step(pod, pod.at, ready, leaving=False))
        return found

    def _left(self) -> list[Step]:
        found = []
        for pod in self.scene.before.values():
            later = [item for item in self.scene.after(self.scene.since) if item.uid == pod.uid]
            told = first(item.at for item in later if item.deleting or item.gone)
            gone = first(item.at for item in later if item.gone or (item.deleting and not item.running))
            if told is not None and gone is not None:
                found.append(Step(pod, told, gone, leaving=True))
        return found
