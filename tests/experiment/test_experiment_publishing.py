"""A run's object tells of it while it goes on: when it is written, and how much of the run's own time that may take."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

from publishing_world import STARTED, Runner, Scene, virtual

from testbed.api.experiment_status import EVERY_S, SILENT_S
from testbed.api.meta import format_time
from testbed.experiment.publishing import KEPT, SOONEST_S
from testbed.experiment.run_picture import MOST_SLICES
from testbed.load.records import FRESH, Outcome, Record

Json = dict[str, Any]


def test_it_is_written_once_a_second_with_what_changed() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(10.05)
        times = [at - scene.began_s for at, _ in scene.api.patches]
        assert len(times) == 11
        assert all(abs(later - at - EVERY_S) < 0.01 for at, later in itertools.pairwise(times))
        assert all(set(patch) == {"updatedAt"} for _, patch in scene.api.patches[1:]), "nothing else changed"
        assert scene.api.status["phase"] == "Running"

    virtual(story)


def test_another_phase_is_told_soon_and_many_of_them_together() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        runner = Runner()
        scene.run.follow(runner)  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        runner.repetition.enter("inject", "crash")
        await asyncio.sleep(0.01)
        assert scene.api.status["run"] == {"number": 1, "of": 2, "phase": "inject", "step": "crash"}
        before = len(scene.api.patches)
        for number in range(100):
            runner.repetition.enter("inject", f"step-{number}")
            await asyncio.sleep(0.01)
        assert len(scene.api.patches) - before <= 1 / SOONEST_S + 1
        await asyncio.sleep(SOONEST_S)
        assert scene.api.status["run"]["step"] == "step-99"

    virtual(story)


def test_load_is_counted_over_all_repetitions() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        for _ in range(2):
            runner = Runner()
            scene.run.follow(runner)  # type: ignore[arg-type]
            zero = runner.repetition.start_ns
            dues = [zero + index * 10**7 for index in range(150)]
            runner.pulse.coming = [Record(0, FRESH, due, due, due + 10**6, Outcome.OK) for due in dues]
            await asyncio.sleep(2.0)
        (load,) = scene.api.status["load"]
        assert (load["target"], load["ok"], load["sent"], load["rate"]) == ("web", 300, 300, 100)
        assert load["latency"]["buckets"]["+Inf"] == 300

    virtual(story)


def test_one_look_reads_no_more_than_its_share_however_much_there_is() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        runner = Runner()
        scene.run.follow(runner)  # type: ignore[arg-type]
        runner.pulse.coming = [Record(0, FRESH, 0, 0, 1, Outcome.OK)] * 3000
        await asyncio.sleep(0.5)
        assert len(runner.pulse.data.records) == 100 * MOST_SLICES
        await asyncio.sleep(4.0)
        assert scene.api.status["load"][0]["sent"] == 3000, "the rest comes later, and nothing is left out"

    virtual(story)


def test_nothing_comes_after_the_end() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(0.5)
        await scene.run.end("passed", "", 0)
        before = len(scene.api.patches)
        await scene.run.end("inconclusive", "again", 9)
        await asyncio.sleep(5.0)
        assert len(scene.api.patches) == before and scene.api.status["verdict"] == "passed"

    virtual(story)


def test_a_run_that_ends_before_it_could_be_shown_is_shown_as_ended() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await scene.run.end("environment", "there is no such cluster", 4)
        assert (scene.api.status["phase"], scene.api.status["reason"]) == ("Finished", "there is no such cluster")
        assert scene.api.status["startedAt"], "all of it is there"

    virtual(story)


def test_objects_of_old_runs_are_removed_and_those_that_run_are_not() -> None:
    async def story(scene: Scene) -> None:
        for number in range(KEPT + 10):
            scene.api.objects[f"old-{number}"] = {
                "metadata": {"name": f"old-{number}", "uid": "u", "creationTimestamp": f"2026-11-{number:04}"},
                "status": {"phase": "Running" if number == 0 else "Finished"}}
        scene.run.begin()
        await asyncio.sleep(1.5)
        names = set(scene.api.objects)
        assert {"small-1", "old-0", "old-59", "old-10"} <= names and "old-9" not in names
        assert len(names) == KEPT + 2

    virtual(story)


def test_objects_of_runs_that_lost_their_runner_are_removed_too_and_those_without_a_status_are_not() -> None:
    async def story(scene: Scene) -> None:
        def old(number: int, status: Json) -> None:
            scene.api.objects[f"old-{number}"] = {
                "metadata": {"name": f"old-{number}", "uid": "u", "creationTimestamp": f"2026-11-{number:04}"},
                "status": status}

        silent = format_time(STARTED - timedelta(seconds=SILENT_S + 1), micro=True)
        speaking = format_time(STARTED - timedelta(seconds=1), micro=True)
        old(0, {"phase": "Running", "updatedAt": silent})
        old(1, {"phase": "Running", "updatedAt": speaking})
        old(2, {})
        for number in range(3, KEPT + 3):
            old(number, {"phase": "Finished"})
        scene.run.begin()
        await asyncio.sleep(1.5)
        assert "old-0" not in scene.api.objects
        assert {"small-1", *(f"old-{number}" for number in range(1, KEPT + 3))} == set(scene.api.objects)

    virtual(story)


def test_a_bug_in_the_picture_is_noted_once_and_costs_the_run_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        runner = Runner()

        def broken() -> list[Any]:
            raise ZeroDivisionError

        runner.method.so_far = broken
        scene.run.follow(runner)  # type: ignore[arg-type]
        scene.run.measured(None, ())  # type: ignore[arg-type]
        await asyncio.sleep(5.0)
        await scene.run.end("passed", "", 0)
        assert len(scene.notes) == 1 and "bug of ours" in scene.notes[0]
        assert scene.api.status["phase"] == "Finished"

    virtual(story)


def test_records_that_cannot_be_read_are_for_whoever_measures_with_them_to_tell() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        runner = Runner()
        runner.pulse.broken = True
        scene.run.follow(runner)  # type: ignore[arg-type]
        await asyncio.sleep(3.0)
        assert scene.notes == [] and scene.api.status["run"]["number"] == 1

    virtual(story)
