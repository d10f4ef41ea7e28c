"""How exact each moment of the evidence is, in seconds. Pure.

A moment that the one who acted wrote down is exact to its scheduling; what a watch told is late by the watch's lag,
which is learnt from the Events of the same run that carry their moments; what a relist found happened at some time in
the silence before it; a foreign API's stamps have whole seconds; the engine tells of an end some milliseconds late.
Where the engine saw a thing before its agent told it, the agent's moment is known no better than that.
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

SAME_THING = {"start": "Started", "die": "ContainerDied"}  # the engine's word and the agent's
SAME_S = 2.0  # words of two witnesses that are farther apart are of two things


def event_u(event: EventSeen) -> float:
    """Of one Event."""
    return EXACT_S if event.exact else STAMP_S + event.late_s


class Exactness:
    """Uncertainty of a mark by the evidence that it was taken from: marks are moments of evidence, unchanged."""

    def __init__(self, evidence: Evidence) -> None:
        self._lag_s = evidence.watch_lag_s
        self._known: dict[float, float] = dict(evidence.bounded)
        by_engine = _starts_and_ends(evidence)
        for event in evidence.events:
            self._note(event.at, max(event_u(event), _earlier_s(event, by_engine)))
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


def _starts_and_ends(evidence: Evidence) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for seen in evidence.engine:
        reason = SAME_THING.get(seen.action)
        if reason is not None:
            found.setdefault((reason, f"Pod/{seen.pod}"), []).append(seen.at)
    return found


def _earlier_s(event: EventSeen, by_engine: dict[tuple[str, str], list[float]]) -> float:
    """How much earlier the engine saw the same thing; 0 when it did not."""
    near = [event.at - at for at in by_engine.get((event.reason, event.about), ()) if 0 < event.at - at <= SAME_S]
    return min(near, default=0.0)
