"""Who saw each mark, and when by it: the cluster's API, the container engine, the clients, the injector itself. Pure.

Witnesses of the same thing (an end, a start) that are farther apart than both are uncertain by contradict each other:
that is told, because then one of them is wrong. A first failed request is another thing than the cluster's noticing:
the two are set side by side, and their distance is a result.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.experiment.clients import Clients
from testbed.experiment.durations import say_duration
from testbed.experiment.exactness import SAME_S, Exactness, event_u
from testbed.experiment.fault_marks import Story
from testbed.experiment.observations import ENGINE_LAG_S, EngineSeen, EventSeen
from testbed.experiment.result import Disruption, Marks
from testbed.experiment.result.timeline import Sighting

MARKS = ("injected", "detected", "isolated", "acted", "running", "ready", "in_rotation", "restored", "undone",
         "stalled")
LATE_S = 0.5  # the engine tells of an end, and an agent of a start, only when its turn comes on a busy machine
ENDS = ("die", "oom")
_SLACK_S = 0.1  # what a fault brings about may carry a moment before the one at which it was told to be in force


def mark_uncertainties(marks: Marks, exactness: Exactness) -> dict[str, float]:
    """Of every mark of the cluster that was seen."""
    return {name: exactness.of(at) for name in MARKS if (at := marks.get(name)) is not None}


def witnessed(found: Disruption, story: Story, exactness: Exactness) -> Disruption:
    """``found`` with its marks' uncertainties, with what the API and the engine saw of them, and with a note where
    these contradict each other."""
    marks, evidence = story.marks, story.scene.evidence
    uncertain = mark_uncertainties(marks, exactness)
    sightings = [
        Sighting(mark=name, witness="injector" if name in ("injected", "undone") and found.kind == "fault" else "api",
                 at_s=at, uncertainty_s=uncertain[name],
                 what=story.first_sign.partition(":")[0] if name == "detected" else "")
        for name in MARKS if (at := marks.get(name)) is not None and not (name == "injected" and
                                                                          found.kind == "uninvited")
    ]
    notes: list[str] = []
    # What came before is another disruption's, however near: a pod that died twice did not contradict itself.
    begin_s, end_s = story.scene.since - _SLACK_S, story.scene.until
    engine = [seen for seen in evidence.engine if begin_s <= seen.at <= end_s]
    agents = [event for event in evidence.events if begin_s <= event.at <= end_s]
    ended = next((seen for seen in engine if seen.action in ENDS and seen.pod in story.victims.keys), None)
    if ended is not None and (marks.detected is None or ended.at <= marks.detected + SAME_S):
        sightings.append(_of_engine("detected", ended))
        died = [event for event in agents if event.reason == "ContainerDied"]
        notes += _contradiction("ended", ended, died)
    if marks.running is not None:
        started = next((seen for seen in engine if seen.action == "start" and seen.pod == story.replacement
                        and abs(seen.at - marks.running) <= SAME_S), None)
        if started is not None:
            sightings.append(_of_engine("running", started))
            told = [event for event in agents if event.reason == "Started"]
            notes += _contradiction("started", started, told)
    return found.model_copy(update={
        "mark_uncertainties": uncertain, "sightings": tuple(sightings), "notes": (*found.notes, *notes)})


def seen_by_clients(found: Disruption, clients: Clients) -> Disruption:
    """``found`` with what the clients saw: its beginning by the first failed request, its isolation by the last one."""
    marks, resolution_s = found.marks, 1 / clients.rate
    seen = [Sighting(mark=mark, witness="clients", at_s=at, uncertainty_s=resolution_s, what=what)
            for mark, at, what in (("detected", marks.first_failed, "first failed request"),
                                   ("isolated", marks.last_failed, "last failed request")) if at is not None]
    notes = found.notes
    if marks.last_failed is not None and marks.isolated is not None:
        later_s = marks.last_failed - marks.isolated
        known_s = resolution_s + found.mark_uncertainties.get("isolated", 0.0)
        if later_s > known_s:
            notes += (f"clients went on failing for {say_duration(later_s, known_s)} after the victim was isolated",)
    return found.model_copy(update={"sightings": (*found.sightings, *seen), "notes": notes})


def _of_engine(mark: str, seen: EngineSeen) -> Sighting:
    code = f", exit code {seen.exit_code}" if seen.exit_code is not None else ""
    return Sighting(mark=mark, witness="engine", at_s=seen.at, uncertainty_s=ENGINE_LAG_S,
                    what=f"{seen.action} {seen.container}{code}")


def _contradiction(what: str, seen: EngineSeen, told: Iterable[EventSeen]) -> list[str]:
    """What the agent's word for the same thing is farther away than both are uncertain by."""
    own = [event for event in told if event.about == f"Pod/{seen.pod}"]
    nearest = min(own, key=lambda event: abs(event.at - seen.at), default=None)
    if nearest is None or abs(nearest.at - seen.at) > SAME_S:
        return []
    known_s, apart_s = event_u(nearest) + ENGINE_LAG_S, seen.at - nearest.at
    early_s, late_s = (known_s, LATE_S) if what == "ended" else (LATE_S, known_s)
    if -early_s <= apart_s <= late_s:
        return []
    return [f"witnesses contradict each other: the engine says that {seen.pod} {what} {say_duration(abs(apart_s))} "
            f"{'after' if apart_s > 0 else 'before'} its agent says so"]
