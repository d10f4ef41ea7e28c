"""How exact each moment of the evidence is, in seconds. Pure.

A moment that the one who acted wrote down is exact to its scheduling; what a watch told is late by the watch's lag,
which is learnt from the Events of the same run that carry their moments; what a relist found happened at some time in
the silence before it; a foreign API's stamps have whole seconds; the engine tells of an end some milliseconds late.
"""

from __future__ import annotations

from testbed.experiment.observations import (
    ENGINE_LAG_S,
    EXACT_S,
    STAMP_S,
    DeploymentSeen,
    EndpointsSeen,
    EventSeen,
    Evidence,
    NodeSeen,
    PodSeen,
)


def event_u(event: EventSeen) -> float:
    """Of one Event."""
    return EXACT_S if event.exact else STAMP_S + event.late_s


class Exactness:
    """Uncertainty of a mark by the evidence that it was taken from: marks are moments of evidence, unchanged."""

    def __init__(self, evidence: Evidence) -> None:
        self._lag_s = evidence.watch_lag_s
        self._known: dict[float, float] = dict(evidence.bounded)
        for event in evidence.events:
            self._note(event.at, event_u(event))
        for told in evidence.engine:
            self._note(told.at, ENGINE_LAG_S)
        watched: list[PodSeen | NodeSeen | EndpointsSeen | DeploymentSeen] = [
            *evidence.pods, *evidence.nodes, *evidence.endpoints, *evidence.deployments]
        for seen in watched:
            self._note(seen.at, self._lag_s + seen.late_s)

    def _note(self, at: float, uncertainty_s: float) -> None:
        self._known[at] = min(uncertainty_s, self._known.get(at, uncertainty_s))

    def of(self, at: float) -> float:
        """Of a moment that no evidence has (something that we did ourselves): exact."""
        return self._known.get(at, EXACT_S)
