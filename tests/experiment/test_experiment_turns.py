"""Repetitions of several variants: in turns, each from a clean start, and what a bad one does to the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from runner_world import RunnerWorld, quicken, write_experiment

from testbed.api.resources import DEPLOYMENTS
from testbed.errors import ApiUnavailable, EnvironmentProblem
from testbed.experiment import phases, runner, variant_run
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import run_result
from testbed.experiment.result import RunResult, Verdict
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.saving import read_result, read_study
from testbed.experiment.schema import EXPERIMENTS
from testbed.experiment.statistics import over_runs
from testbed.experiment.turns import Repetitions
from testbed.experiment.variants import Variant, variants_of

TWO = "  matrix: {replicas: [2, 3]}\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, baseline_s=0.1)


def job(world: RunnerWorld, more: str = TWO, **options: Any) -> ExperimentRun:
    loaded = write_experiment(world.folder, more=more)
    return ExperimentRun(variants_of(loaded), lambda platform: world.open, world.folder / "runs", world.said.append,
                         **options)


async def test_variants_run_in_turns_and_each_has_its_result(world: RunnerWorld) -> None:
    run = job(world, TWO + "  runs: 2\n")
    study = await run.run()
    assert study.exit_code == 0 and study.alone is None
    assert [item.name for item in study.variants] == ["replicas=2", "replicas=3"]
    assert [len(item.result.runs) for item in study.variants] == [2, 2]
    assert [turn.number for turn in study.turns] == [1, 1, 2, 2]
    assert {turn.variant for turn in study.turns[:2]} == {"replicas=2", "replicas=3"}
    assert [item.settings for item in study.variants] == [{"replicas": 2}, {"replicas": 3}]
    assert await world.left() == []


async def test_a_study_can_be_read_again(world: RunnerWorld) -> None:
    run = job(world)
    study = await run.run()
    assert read_study(run.folder) == study
    for item in study.variants:
        assert read_result(run.folder / item.folder) == item.result


async def test_each_run_has_its_variants_workload_and_begins_from_nothing(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, str]] = []
    inner = phases.RepetitionRunner.run

    async def looked(self: phases.RepetitionRunner) -> Any:
        found = await world.client.get(DEPLOYMENTS, "web", "default")
        seen.append((found["spec"]["replicas"], found["metadata"]["uid"]))
        return await inner(self)

    monkeypatch.setattr(phases.RepetitionRunner, "run", looked)
    study = await job(world, TWO + "  runs: 2\n").run()
    expected = [int(turn.variant[-1]) for turn in study.turns]
    assert [replicas for replicas, _ in seen] == expected
    assert len({uid for _, uid in seen}) == 4


async def test_keep_leaves_what_the_last_run_brought(world: RunnerWorld) -> None:
    loaded = write_experiment(world.folder, more="  runs: 2\n")
    await world.job(loaded, keep=True).run()
    assert await world.left() == ["web", "web"]


async def test_one_that_does_not_recover_goes_on_with_the_next_run(world: RunnerWorld) -> None:
    """A recovery that never came is a value like others: it is kept, and the next run begins clean."""
    loaded = write_experiment(world.folder, more="  runs: 2\n", within="2s")
    run = world.job(loaded)
    task = asyncio.create_task(run.run())
    await world.daemon.injected.wait()
    world.daemon.ready = False  # the first run never gets back
    await world.waited(lambda: len([line for line in world.said if line.startswith("run ")]) == 2)
    world.daemon.ready = True
    study = await task
    verdicts = [one.verdict for one in study.variants[0].result.runs]
    assert verdicts == [Verdict.NOT_REGAINED, Verdict.PASSED]
    assert (study.verdict, study.exit_code) == (Verdict.NOT_REGAINED, 7)
    assert study.reason.startswith("run 1: ")


async def test_a_fault_without_effect_is_not_tried_again(world: RunnerWorld) -> None:
    world.daemon.effect = "refused"
    study = await job(world, TWO + "  runs: 3\n").run()
    assert [len(item.result.runs) for item in study.variants] == [1, 1]
    assert study.verdict is Verdict.NO_EFFECT


async def test_void_runs_are_made_up_for(world: RunnerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def void_at_first(repetition: Any) -> RunResult:
        result = run_result(repetition)
        return result.model_copy(update={"void_reason": "stolen from"}) if result.number == 1 else result

    monkeypatch.setattr(variant_run, "run_result", void_at_first)
    result = await world.job(write_experiment(world.folder, more="  runs: 2\n")).run_alone()
    assert [bool(run.void_reason) for run in result.runs] == [True, False, False]
    assert all(item.n + item.censored == 2 for item in result.statistics)


async def test_a_run_that_was_broken_off_is_made_up_for_and_said(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost_once(repetition: Any) -> RunResult:
        result = run_result(repetition)
        return result.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": "the API was lost"}) \
            if result.number == 2 else result

    monkeypatch.setattr(variant_run, "run_result", lost_once)
    result = await world.job(write_experiment(world.folder, more="  runs: 3\n")).run_alone()
    assert [run.trusted for run in result.runs] == [True, False, True, True]
    assert result.statistics and all(item.n + item.censored == 3 for item in result.statistics)
    assert (result.exit_code, result.reason) == (9, "run 2: the API was lost")


async def test_a_bug_of_ours_costs_no_run_before_it(world: RunnerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(repetition: Any) -> RunResult:
        if repetition.number == 2:
            raise KeyError("web-1")
        return run_result(repetition)

    monkeypatch.setattr(variant_run, "run_result", broken)
    run = world.job(write_experiment(world.folder, more="  runs: 3\n"))
    result = await run.run_alone()
    assert [one.verdict for one in result.runs] == [Verdict.PASSED, Verdict.BUG]
    assert (result.exit_code, result.reason) == (70, "run 2: a bug of ours: KeyError('web-1')")
    assert read_result(run.folder) == result and await world.left() == []


async def test_a_bug_between_two_runs_costs_none_before_it(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner, calls = variant_run.apply, []

    async def broken_at_last(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("spec")
        await inner(*arguments)

    monkeypatch.setattr(variant_run, "apply", broken_at_last)
    run = world.job(write_experiment(world.folder, more="  runs: 3\n"))
    study = await run.run()
    result = study.variants[0].result
    assert [one.verdict for one in result.runs] == [Verdict.PASSED]
    assert result.exit_code == 70 and "no run 2: a bug of ours: KeyError('spec')" in result.reason
    assert read_result(run.folder) == result
    assert [turn.number for turn in study.turns] == [1], "only of runs that took place"


async def test_a_bug_in_one_variants_end_costs_no_other_variant(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def broken_first(runs: Any, seed: int) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("float division by zero")
        return over_runs(runs, seed)

    monkeypatch.setattr(variant_run, "over_runs", broken_first)
    run = job(world)
    study = await run.run()
    assert [item.result.verdict for item in study.variants] == [Verdict.BUG, Verdict.PASSED]
    assert [len(item.result.runs) for item in study.variants] == [1, 1] and study.exit_code == 70
    assert read_study(run.folder) == study


async def test_a_bug_in_the_comparison_costs_no_result(world: RunnerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **more: Any) -> Any:
        raise ValueError("no quantity")

    monkeypatch.setattr(runner, "compare_runs", broken)
    run = job(world)
    study = await run.run()
    assert [item.result.verdict for item in study.variants] == [Verdict.PASSED] * 2
    assert study.exit_code == 70 and "comparison" in study.reason and read_study(run.folder) == study


async def test_a_result_that_cannot_be_written_costs_no_other_variants(world: RunnerWorld) -> None:
    run = job(world)
    place = run.folder / "1-replicas-2" / "result.json.new"

    def tell(text: str) -> None:
        world.said.append(text)
        if text.startswith("replicas="):
            place.mkdir(exist_ok=True)  # what stands for a disk that takes nothing more

    run.tell = tell
    study = await run.run()
    assert [item.result.verdict for item in study.variants] == [Verdict.ENVIRONMENT, Verdict.PASSED]
    assert [len(item.result.runs) for item in study.variants] == [1, 1]
    assert study.exit_code == 4 and "result.json cannot be written" in study.reason
    assert any("result.json cannot be written" in line for line in world.said)
    assert read_result(run.folder / "2-replicas-3") == study.variants[1].result


async def test_a_full_disk_does_not_keep_a_run_from_its_undo(world: RunnerWorld) -> None:
    run = world.job(write_experiment(world.folder, more="  runs: 2\n"))
    task = asyncio.create_task(run.run_alone())
    await world.daemon.injected.wait()
    (run.folder / "journal.json.new").mkdir()  # what stands for a disk that takes nothing more
    result = await task
    assert len(world.daemon.undone) == 1 and await world.left() == []
    assert result.runs[0].verdict is Verdict.PASSED and result.exit_code == 4
    assert "journal.json cannot be written" in result.reason


async def test_void_runs_end_somewhere(world: RunnerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant_run, "run_result", lambda repetition: run_result(repetition).model_copy(
        update={"void_reason": "always"}))
    result = await world.job(write_experiment(world.folder, more="  runs: 2\n")).run_alone()
    assert len(result.runs) == 3 and result.verdict is Verdict.INCONCLUSIVE


def repaired_after(seconds: float, result: RunResult) -> RunResult:
    item = result.disruptions[0]
    begin = item.marks.injected or 0.0
    marks = item.marks.model_copy(update={"detected": begin, "isolated": begin + seconds, "restored": begin + seconds})
    return result.model_copy(update={"disruptions": (item.model_copy(update={"marks": marks, "disrupted": True}),)})


@pytest.mark.parametrize(("repairs", "most", "runs", "told"), [
    # as many as may be: the interval stays wide
    ((1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0), 7, 7, ".isolation still ±75% after 7 runs; --max-runs is 7"),
    ((1.0, 9.0, 2.0), 3, 3, ".isolation after 3 runs: it takes 5; --max-runs is 3"),
    ((5.0, 5.1, 5.0, 5.1, 5.0, 5.1, 5.0), 7, 5, ""),  # as few as an interval needs
])
async def test_until_ci_ends_when_enough_is_known_or_at_its_cap_and_says_so(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch, repairs: tuple[float, ...], most: int, runs: int, told: str,
) -> None:
    monkeypatch.setattr(variant_run, "run_result", lambda repetition: repaired_after(
        repairs[repetition.number - 1], run_result(repetition)))
    result = await world.job(write_experiment(world.folder), repetitions=Repetitions(2, 0.1, most)).run_alone()
    assert len(result.runs) == runs
    notes = [note for note in result.notes if "--until-ci 10% was not reached" in note]
    assert [note.endswith(told) for note in notes] == ([True] if told else []), notes


@pytest.mark.parametrize(("slow", "fail_on", "exit_code"), [
    ("mine", ("worse",), 1), pytest.param("main", ("worse",), 0, marks=pytest.mark.long),
    pytest.param("mine", (), 0, marks=pytest.mark.long)])
async def test_a_file_is_held_against_another_and_decides(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch, slow: str, fail_on: tuple[str, ...], exit_code: int,
) -> None:
    """Pull requests are gated so: what was typed first is judged, and the other is only what it is held against."""
    for name in ("main", "mine"):
        (world.folder / name).mkdir()
    main, mine = (write_experiment(world.folder / name) for name in ("main", "mine"))
    variants = variants_of(mine, against=main)
    run = ExperimentRun(variants, lambda platform: world.open, world.folder / "runs", world.said.append,
                        repetitions=Repetitions(6), decides=1, fail_on=fail_on)
    names = [variant.name for variant in variants]
    real = variant_run.VariantRun._result_of

    def result_of(self: variant_run.VariantRun, repetition: Any) -> Any:
        factor = 3 if slow in self.variant.name else 1
        return repaired_after(factor + repetition.number / 100, real(self, repetition))

    monkeypatch.setattr(variant_run.VariantRun, "_result_of", result_of)
    study = await run.run()
    assert (study.exit_code, study.decides) == (exit_code, 1)
    assert [item.result.verdict for item in study.variants] == [Verdict.PASSED, Verdict.PASSED]
    assert study.gated is not None and [study.gated.a, study.gated.b] == names
    assert study.gated.verdict == ("worse" if slow == "mine" else "improved") and study.gated.fail_on == fail_on
    assert study.reason == (f"is worse than {names[0]}: {study.gated.reason}" if exit_code else "")
    assert await world.left() == []


async def test_platforms_are_all_there_before_anything_is_applied(world: RunnerWorld) -> None:
    loaded = write_experiment(world.folder)

    @asynccontextmanager
    async def missing(spec: ClusterSpec) -> AsyncIterator[Platform]:
        raise EnvironmentProblem("there is no such cluster")
        yield world.platform

    sources = {"here": world.open, "missing": missing}
    variants = [Variant("a", loaded, "here"), Variant("b", loaded, "missing")]
    run = ExperimentRun(variants, sources.__getitem__, world.folder / "runs", world.said.append)
    with pytest.raises(EnvironmentProblem):
        await run.run()
    assert not world.daemon.seen and await world.left() == [] and run.turns == []
    shown = (await world.client.list(EXPERIMENTS)).items
    assert [(item["status"]["phase"], item["status"]["reason"]) for item in shown] == [
        ("Finished", "there is no such cluster")], "nothing goes on saying that it runs"
    journals = [json.loads(path.read_text()) for path in sorted(run.folder.glob("*/journal.json"))]
    assert [journal["exitCode"] for journal in journals] == [4, 4]


async def test_what_was_measured_before_the_api_was_lost_is_kept(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner, calls = variant_run.apply, []

    async def lost_at_last(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise ApiUnavailable("the API does not answer")
        await inner(*arguments)

    monkeypatch.setattr(variant_run, "apply", lost_at_last)
    result = await world.job(write_experiment(world.folder, more="  runs: 3\n")).run_alone()
    assert len(result.runs) == 2
    assert result.exit_code == 9 and "run 3 could not begin, the API was lost" in result.reason


async def test_the_first_variant_is_judged_and_the_others_are_shown(world: RunnerWorld) -> None:
    loaded = write_experiment(world.folder, objectives='"hang.restarts > 0"')
    strict = replace(loaded)
    lenient = write_experiment(world.folder, objectives='"hang.restarts == 0"')
    run = ExperimentRun([Variant("lenient", lenient), Variant("strict", strict)], lambda platform: world.open,
                        world.folder / "runs", world.said.append)
    study = await run.run()
    assert [item.result.verdict for item in study.variants] == [Verdict.PASSED, Verdict.OBJECTIVE_MISSED]
    assert study.exit_code == 0


async def test_a_later_variant_that_measured_nothing_is_no_success(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = variant_run.VariantRun.once

    async def once(self: variant_run.VariantRun) -> None:
        await inner(self)
        if self.variant.name == "b":
            self.runs[-1] = self.runs[-1].model_copy(
                update={"verdict": Verdict.STEADY_STATE_NOT_MET, "reason": "web: no pod is ready"})

    monkeypatch.setattr(variant_run.VariantRun, "once", once)
    loaded = write_experiment(world.folder)
    run = ExperimentRun([Variant("a", loaded), Variant("b", loaded)], lambda platform: world.open,
                        world.folder / "runs", world.said.append)
    study = await run.run()
    assert [item.result.verdict for item in study.variants] == [Verdict.PASSED, Verdict.STEADY_STATE_NOT_MET]
    assert (study.exit_code, study.reason) == (5, "b: web: no pod is ready")


async def test_a_cluster_that_cannot_be_taken_down_does_not_take_the_result_with_it(world: RunnerWorld) -> None:
    loaded = write_experiment(world.folder)

    @asynccontextmanager
    async def stays(spec: ClusterSpec) -> AsyncIterator[Platform]:
        yield world.platform
        raise EnvironmentProblem("the container engine did not answer in time")

    run = ExperimentRun([Variant("a", loaded)], lambda platform: stays, world.folder / "runs", world.said.append)
    result = await run.run_alone()
    assert result.verdict is Verdict.PASSED and read_result(run.folder) == result
    assert any("did not answer in time" in line for line in world.said)


async def test_several_variants_leave_nothing_for_each_other(world: RunnerWorld) -> None:
    """What one left standing would be changed, not made, by the next one: its run would not begin clean."""
    await job(world, keep=True).run()
    assert await world.left() == []
