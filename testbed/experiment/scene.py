"""Questions to the evidence about one group of pods: who was in it, ready, in rotation, started, and when. Pure.

A group is the pods of one or more Deployments (or single pods that no Deployment owns). Both kinds of timeline, of
faults and of rollouts, ask here.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from testbed.experiment.observations import DeploymentSeen, EventSeen, Evidence, PodSeen

PROGRAMMED = "EndpointsProgrammed"
# A watch tells of an EndpointSlice some milliseconds after it was written; the gateway may have applied it before.
WATCH_LAG_S = 0.15


@dataclass
class Group:
    """Pods of these Deployments (keys), or, without any, the pods with these keys."""

    evidence: Evidence
    deployments: tuple[str, ...]
    pod_keys: frozenset[str] = frozenset()
    _uids: dict[str, bool] = field(default_factory=dict)

    def has(self, pod: PodSeen) -> bool:
        known = self._uids.get(pod.uid)
        if known is None:
            owner = self.evidence.deployment_of(pod.uid)
            known = owner in self.deployments if owner else pod.key in self.pod_keys
            self._uids[pod.uid] = known
        return known

    def pods(self) -> list[PodSeen]:
        """All sightings of pods of this group, by arrival."""
        return [pod for pod in self.evidence.pods if self.has(pod)]

    def keys(self) -> frozenset[str]:
        return frozenset(pod.key for pod in self.pods()) | self.pod_keys


def first(values: Iterable[float | None]) -> float | None:
    """The earliest that is known."""
    return min((value for value in values if value is not None), default=None)


def last(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def state_at(pods: Sequence[PodSeen], at: float) -> dict[str, PodSeen]:
    """The last sighting of each pod (by uid) up to ``at``; pods that are gone are left out."""
    current: dict[str, PodSeen] = {}
    for pod in pods:
        if pod.at > at:
            break
        if pod.gone:
            current.pop(pod.uid, None)
        else:
            current[pod.uid] = pod
    return current


def ready_steps(pods: Sequence[PodSeen]) -> list[tuple[float, int]]:
    """(moment, ready pods from then on). A pod that is being deleted no longer counts (kubernetes: IsPodActive)."""
    steps: list[tuple[float, int]] = []
    ready: dict[str, bool] = {}
    for pod in pods:
        ready[pod.uid] = pod.ready and not pod.deleting and not pod.gone
        count = sum(ready.values())
        if not steps or steps[-1][1] != count:
            steps.append((pod.at, count))
    return steps


def desired_steps(deployments: Sequence[DeploymentSeen], keys: Sequence[str]) -> list[tuple[float, int]]:
    """(moment, desired pods from then on) of these Deployments together."""
    steps: list[tuple[float, int]] = []
    desired: dict[str, int] = {}
    for item in deployments:
        if item.key in keys:
            desired[item.key] = item.desired
            total = sum(desired.values())
            if not steps or steps[-1][1] != total:
                steps.append((item.at, total))
    return steps


def value_at(steps: Sequence[tuple[float, int]], at: float, default: int | None = None) -> int | None:
    """The value that holds at ``at``."""
    position = bisect.bisect_right(steps, at, key=lambda step: step[0])
    return steps[position - 1][1] if position else default


class Scene:
    """The evidence about one group, from ``since`` to ``until`` (moments of the run)."""

    def __init__(self, group: Group, since: float, until: float) -> None:
        self.group, self.since, self.until = group, since, until
        self.evidence = group.evidence
        self.pods = [pod for pod in group.pods() if pod.at <= until]
        self.before = state_at(self.pods, since)
        keys = group.keys()
        self.events = sorted(
            (event for event in self.evidence.events
             if since - 0.001 <= event.at <= until and self._concerns(event, keys)), key=lambda event: event.at)
        self.services = self._services(keys)

    @staticmethod
    def _concerns(event: EventSeen, keys: frozenset[str]) -> bool:
        kind, _, key = event.about.partition("/")
        return kind == "Pod" and key in keys

    def _services(self, keys: frozenset[str]) -> frozenset[str]:
        return frozenset(item.service for item in self.evidence.endpoints if item.pods & keys)

    # --- sightings

    def after(self, at: float) -> list[PodSeen]:
        return [pod for pod in self.pods if pod.at >= at]

    def first_sighting(self, test: Callable[[PodSeen], bool], at: float) -> PodSeen | None:
        return next((pod for pod in self.pods if pod.at >= at and test(pod)), None)

    def new_pods(self) -> list[PodSeen]:
        """The first sighting of each pod that came after the disruption."""
        known = set(self.before)
        fresh: list[PodSeen] = []
        for pod in self.pods:
            if pod.at >= self.since and pod.uid not in known and not pod.gone:
                known.add(pod.uid)
                fresh.append(pod)
        return fresh

    def pod_events(self, keys: Iterable[str], *reasons: str) -> list[EventSeen]:
        wanted = {f"Pod/{key}" for key in keys}
        return [event for event in self.events if event.about in wanted and (not reasons or event.reason in reasons)]

    # --- rotation

    def _rotations(self, pod: str) -> list[tuple[float, bool]]:
        """(moment, whether this pod got requests from then on), as the gateway told it; [] where it tells nothing."""
        address = self.evidence.pod_address(pod)
        wanted = {f"Service/{service}" for service in self.services}
        return sorted((event.at, address in event.addresses) for event in self.evidence.events
                      if address and event.addresses is not None and event.about in wanted and event.at <= self.until)

    def in_rotation_before(self, pods: Iterable[str]) -> frozenset[str]:
        """Which of these pods got requests when the disruption began."""
        wanted = set(pods)
        found: set[str] = set()
        latest: dict[str, frozenset[str]] = {}
        for item in self.evidence.endpoints:
            if item.at > self.since:
                break
            latest[item.slice] = item.pods
        for keys in latest.values():
            found |= keys & wanted
        return frozenset(found)

    def taken_out(self, pod: str) -> float | None:
        """When no new request could reach this pod any more: withdrawn from every slice, and the gateway knew it."""
        told = self._rotations(pod)
        if told:
            return next((at for at, inside in told if at >= self.since and not inside), None)
        holding = {item.slice for item in self.evidence.endpoints if item.at <= self.since and pod in item.pods}
        moment: float | None = None
        for item in self.evidence.endpoints:
            if not self.since <= item.at <= self.until:
                continue
            if pod in item.pods:
                holding.add(item.slice)
            elif item.slice in holding:
                holding.discard(item.slice)
                moment = item.at
            if not holding and moment is not None:
                return self.programmed(moment)
        return None

    def put_in(self, pod: str, at: float) -> float | None:
        """When requests could reach this pod (again), not before ``at``."""
        told = self._rotations(pod)
        if told:
            before = [inside for moment, inside in told if moment < at]
            return at if before and before[-1] else next((moment for moment, inside in told
                                                          if moment >= at and inside), None)
        out: set[str] = set()
        holding: set[str] = set()
        for item in self.evidence.endpoints:
            if item.at > self.until:
                break
            if pod in item.pods:
                fresh = item.slice not in holding
                holding.add(item.slice)
                if item.at >= at and fresh and (item.slice in out or item.at >= self.since):
                    return self.programmed(item.at)
            elif item.slice in holding:
                holding.discard(item.slice)
                out.add(item.slice)
        return None

    def programmed(self, slice_seen_at: float) -> float:
        """When the gateway had applied a change of endpoints that a watch told of at ``slice_seen_at``.

        A platform that tells nothing of it (kube-proxy) is taken at the slice's word.
        """
        wanted = {f"Service/{service}" for service in self.services}
        moments = sorted(event.at for event in self.evidence.events
                         if event.reason == PROGRAMMED and event.about in wanted)
        position = bisect.bisect_left(moments, slice_seen_at - WATCH_LAG_S)
        if position == len(moments) or moments[position] > slice_seen_at + 2.0:
            return slice_seen_at
        return moments[position]

    # --- readiness

    def lost_at(self, uid: str) -> float | None:
        """When this pod stopped counting as ready."""
        return next((pod.at for pod in self.pods if pod.uid == uid and pod.at >= self.since
                     and (not pod.ready or pod.deleting or pod.gone)), None)

    def ready_at(self, key: str, at: float) -> float | None:
        """When this pod was ready, not before ``at``: by its Event, or else by the watch."""
        told = first(event.at for event in self.pod_events([key], "ContainerReady") if event.at >= at)
        seen = next((pod.at for pod in self.pods if pod.key == key and pod.at >= at and pod.ready), None)
        return first([told, seen])

    def enough_ready(self, at: float) -> float | None:
        """The first moment from ``at`` on at which as many pods are ready as are desired."""
        steps = ready_steps(self.pods)
        wanted = desired_steps(self.evidence.deployments, self.group.deployments)
        fallback = sum(1 for pod in self.before.values() if pod.ready)
        moments = sorted({at, *(moment for moment, _ in steps if moment >= at),
                          *(moment for moment, _ in wanted if moment >= at)})
        for moment in moments:
            desired = value_at(wanted, moment, fallback)
            if moment <= self.until and (value_at(steps, moment, 0) or 0) >= (desired or 0):
                return moment
        return None
