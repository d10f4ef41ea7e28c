"""What a run publishes of itself: bounded whatever the run is, and nothing that counts is lost."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_records import STARTED, UNIX_S, WALL_NS, record

from testbed.api.experiment_status import RECOVERY_BOUNDS_S, recovery_seconds
from testbed.experiment.published_load import LoadTally
from testbed.experiment.published_status import (
    MOST_BYTES,
    MOST_DISRUPTIONS,
    MOST_FAULTS,
    Heading,
    Place,
    Told,
    changed,
    disruption_told,
    finished,
    folded,
    rows_each,
    running,
    verdicts_of,
)
from testbed.experiment.result import Disruption, Marks, ObjectiveResult, Outage, Requests, RunResult, Verdict

Json = dict[str, Any]


# --- disruptions


def crash(**more: Any) -> Disruption:
    return Disruption.model_validate({
        "name": "crash", "kind": "fault", "what": "PodChaos container-kill", "targets": ["default/web-1/web", "x/y"],
        "marks": Marks(injected=10.0, detected=10.12, restored=11.5, alerted=14.0), "requests": Requests(due=9),
        **more})


def over(trusted: bool = True) -> RunResult:
    return RunResult(number=3, verdict=Verdict.PASSED, started_at=STARTED, duration_s=60,
                     void_reason="" if trusted else "stolen")


def test_a_disruption_is_told_with_its_marks_since_the_injection() -> None:
    item = crash(outages=[Outage(start_s=10, end_s=10.25)], requests=Requests(due=100, failed=7))
    assert disruption_told(item, 3, STARTED, over=over()) == {
        "run": 3, "step": "crash", "fault": "PodChaos/container-kill", "target": "default/web-1/web", "targets": 2,
        "injectedAt": "2026-11-29T12:00:10.000000Z", "marks": {"detected": 0.12, "restored": 1.5, "alerted": 4.0},
        "restored": True, "outage_s": 0.25, "failed": 7, "counted": True}


def test_while_it_goes_on_only_what_is_known_is_told_and_nothing_counts_yet() -> None:
    told = disruption_told(crash(), 3, STARTED, failed=4)
    assert told is not None and (told["outage_s"], told["failed"], told["counted"]) == (None, 4, False)
    assert disruption_told(crash(marks=Marks()), 3, STARTED) is None, "it was not injected yet"


@pytest.mark.parametrize("why", [{"noise": True}, {"disrupted": False}])
def test_what_is_no_recovery_does_not_count_as_one(why: Json) -> None:
    told = disruption_told(crash(**why), 3, STARTED, over=over())
    assert told is not None and told["counted"] is False
    void = disruption_told(crash(), 3, STARTED, over=over(trusted=False))
    assert void is not None and void["counted"] is False, "nor what a void run measured"


def test_without_a_pulse_there_is_no_outage() -> None:
    told = disruption_told(crash(requests=Requests()), 3, STARTED, over=over())
    assert told is not None and told["outage_s"] is None and told["failed"] is None


def test_a_change_is_called_by_its_kind() -> None:
    told = disruption_told(crash(kind="rollout", what="rollout of web to sample:v2"), 1, STARTED)
    assert told is not None and told["fault"] == "rollout"


def published(number: int, fault: str = "PodChaos/pod-kill", step: str = "crash", **marks: float) -> Json:
    return {"run": number, "step": step, "fault": fault, "target": "default/web-1", "targets": 1,
            "injectedAt": "2026-11-29T12:00:10.000000Z", "marks": marks or {"detected": 0.2, "restored": 3.0},
            "restored": True, "outage_s": 0.7, "failed": 1, "counted": True}


def totals(told: Told) -> Counter[tuple[str, str]]:
    """How many values there are of each fault and mark, told one by one or counted."""
    found: Counter[tuple[str, str]] = Counter()
    for fault, marks in told.seconds.items():
        for mark, value in marks.items():
            found[fault, mark] += sum(value["counts"])
    for item in told.newest:
        for mark, _ in recovery_seconds(item) if item["counted"] else ():
            found[item["fault"], mark] += 1
    return found


def test_older_disruptions_become_counts_by_how_long_each_mark_took() -> None:
    told = folded(Told(), [published(number) for number in range(1, 5)], most=1)
    assert [item["run"] for item in told.newest] == [4] and told.count == 3
    counts = told.earlier["seconds"]["PodChaos/pod-kill"]
    assert set(counts) == {"detected", "restored", "outage"}
    assert counts["detected"] == {"counts": [0, 3, *[0] * (len(RECOVERY_BOUNDS_S) - 1)], "sum_s": 0.6}
    assert counts["restored"]["counts"][RECOVERY_BOUNDS_S.index(5.0)] == 3


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.floats(0, 500)), max_size=80),
       st.integers(0, 20), st.integers(600, 9000))
def test_whatever_is_folded_nothing_that_counts_is_lost_and_it_stays_within_its_bytes(
    drawn: list[tuple[int, bool, float]], most: int, most_bytes: int
) -> None:
    items = [published(number, f"Kind/{fault % 15}", restored=seconds) | {"counted": counted}
             for number, (fault, counted, seconds) in enumerate(drawn)]
    told = Told()
    for start in range(0, len(items), 7):
        told = folded(told, items[start:start + 7], most=most, most_bytes=most_bytes)
    assert totals(told) == totals(Told(newest=tuple(items)))
    assert told.count + len(told.newest) == len(items) and len(told.newest) <= most
    assert not told.newest or len(json.dumps(told.newest)) <= most_bytes
    assert tuple(items[len(items) - len(told.newest):]) == told.newest, "the newest are told one by one, in their order"


def test_more_kinds_of_fault_than_there_is_room_for_are_counted_together() -> None:
    told = folded(Told(), [published(number, f"Kind/{number}") for number in range(3 * MOST_FAULTS)], most=0)
    assert len(told.seconds) == MOST_FAULTS + 1
    assert sum(sum(marks["restored"]["counts"]) for marks in told.seconds.values()) == 3 * MOST_FAULTS


# --- the whole

HEADING = Heading("crash", "testbed", "crash-1", STARTED)
MISSED = ObjectiveResult(text="crash.repair.max < 1s", met=False, measured=1.234, limit=1.0, unit="s")


def whole(**more: Any) -> Json:
    given: Json = {"at": STARTED, "load": [], "told": Told(), "fresh": [], "objectives": [MISSED], "verdicts": {}}
    return running(HEADING, Place(2, 10, "inject", "crash"), **{**given, **more})


def test_a_running_status_says_where_the_run_is() -> None:
    found = whole(verdicts={"passed": 1})
    assert (found["phase"], found["run"]) == ("Running", {"number": 2, "of": 10, "phase": "inject", "step": "crash"})
    assert (found["experiment"], found["platform"], found["folder"]) == ("crash", "testbed", "crash-1")
    assert found["startedAt"] == found["updatedAt"] == "2026-11-29T12:00:00.000000Z"
    assert found["objectives"] == [{"text": "crash.repair.max < 1s", "met": False, "measured": "1.23 s"}]
    assert found["verdicts"] == {"passed": 1} and found["disruptions"] == []


def test_a_finished_one_keeps_all_that_was_told_and_says_how_it_ended() -> None:
    before = whole(fresh=[published(1)])
    found = finished(before, verdict="passed", reason="", exit_code=0, at=STARTED,
                     objectives=[MISSED.model_copy(update={"met": True})])
    assert (found["phase"], found["verdict"], found["exitCode"]) == ("Finished", "passed", 0)
    assert found["endedAt"] == "2026-11-29T12:00:00.000000Z" and found["objectives"][0]["met"] is True
    assert found["disruptions"] == before["disruptions"] and found["run"] == before["run"]


def test_more_repetitions_than_were_wanted_are_no_nonsense() -> None:
    found = running(HEADING, Place(12, 10), at=STARTED, load=[], told=Told(), fresh=[], objectives=[], verdicts={})
    assert found["run"]["of"] == 12


def test_a_patch_holds_what_changed_and_applying_it_gives_the_next_status() -> None:
    before, after = whole(), whole(verdicts={"passed": 1}, fresh=[published(1)])
    patch = changed(before, after)
    assert set(patch) == {"verdicts", "disruptions"} and {**before, **patch} == after
    assert changed(after, after) == {} and changed({}, after) == after


def test_verdicts_are_counted_and_void_runs_by_themselves() -> None:
    runs = [over(), over(), over(trusted=False)]
    assert verdicts_of(runs) == {"passed": 2, "void": 1}


def test_nothing_makes_a_status_larger_than_its_bound() -> None:
    """Of everything the most that can be, with names as long as they are let."""
    long, marks = "x" * 10_000, dict.fromkeys(set(Marks.model_fields) - {"injected"}, 12.3456)
    load = []
    for _ in range(30):
        one = LoadTally(long[:63])
        one.begin(WALL_NS)
        one.take([record(at + part / 10, 0.123) for at in range(80) for part in range(10)], 1.0)
        load.append(one.told(UNIX_S + 80.0, rows_each(30)))
    fresh = [disruption_told(crash(name=long, targets=[long], what=f"Kind {long}"), number, STARTED, over=over())
             for number in range(500)]
    told = folded(Told(), [published(number, f"Kind/{number}-{long[:60]}") | {"marks": marks}
                            for number in range(2000)])
    assert len(told.newest) <= MOST_DISRUPTIONS
    biggest = finished(
        running(Heading(long, long, "f" * 100, STARTED), Place(10**6, 10**6, "converge", "s" * 63), at=STARTED,
                load=load, told=told, fresh=[item for item in fresh if item is not None],
                objectives=[MISSED.model_copy(update={"text": long})] * 500, verdicts=dict.fromkeys(Verdict, 10**6)),
        verdict=Verdict.ABORTED.value, reason=long, exit_code=10, at=STARTED)
    assert MOST_BYTES / 2 < len(json.dumps(biggest)) < 60_000, "and the room there is, is used"
    assert len(biggest["load"]) == 20
