"""How a run goes: its verdicts, and that what was injected is undone whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from runner_world import RunnerWorld, quicken, write_experiment

from testbed.errors import TestbedError
from testbed.experiment import repetition
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import Result, Verdict
from testbed.experiment.saving import read_result
from testbed.experiment.schema import EXPERIMENTS

PULSE = "  load:\n    pulse: {service: web, rate: 50}\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, baseline_s=0.3)


def journal(world: RunnerWorld, result: Result) -> dict[str, object]:
    found: dict[str, object] = json.loads((world.folder / "runs" / result.run_id / "journal.json").read_text())
    return found


async def test_a_run_passes_and_leaves_nothing_behind(world: RunnerWorld, tmp_path: Path) -> None:
    result = await world.job(write_experiment(tmp_path, load=PULSE, objectives='"requests.failed == 0"')).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.PASSED, 0), result.reason
    run = result.runs[0]
    assert [phase.name for phase in run.phases] == [
        "steady", "inject", "verify", "observe", "undo", "converge"]
    assert [state.when for state in run.steady_states] == ["before", "after"]
    assert run.requests.due > 20 and run.requests.failed == 0
    assert run.disruptions[0].targets == ("default/web-1",)
    assert await world.left() == []
    assert world.closed and len(world.daemon.undone) == 1


async def test_its_files_can_be_read_again(world: RunnerWorld, tmp_path: Path) -> None:
    result = await world.job(write_experiment(tmp_path)).run_alone()
    folder = tmp_path / "runs" / result.run_id
    assert read_result(folder) == result
    assert sorted(path.name for path in (folder / "manifests").iterdir()) == ["small.yaml", "web.yaml"]
    assert journal(world, result)["state"] == "finished"
    faults = journal(world, result)["faults"]
    assert isinstance(faults, list) and faults[0]["step"] == "hang" and faults[0]["undoneAt"]


async def test_keep_leaves_the_workload_but_no_fault(world: RunnerWorld, tmp_path: Path) -> None:
    await world.job(write_experiment(tmp_path), keep=True).run_alone()
    assert await world.left() == ["web", "web"]


async def test_nothing_is_injected_into_a_system_that_is_not_well(world: RunnerWorld, tmp_path: Path) -> None:
    world.daemon.ready = False
    result = await world.job(write_experiment(tmp_path, within="1s")).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.STEADY_STATE_NOT_MET, 5)
    assert "0 of 4 ready" in result.reason
    assert not world.daemon.injected.is_set() and await world.left() == []


@pytest.mark.parametrize(("effect", "part"), [
    ("refused", "no pod matches"), ("silent", "did not report"), ("not in effect", "not frozen")])
async def test_a_fault_without_effect(world: RunnerWorld, tmp_path: Path, effect: str, part: str) -> None:
    world.daemon.effect = effect
    result = await world.job(write_experiment(tmp_path)).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.NO_EFFECT, 6)
    assert part in result.reason and await world.left() == []


async def test_an_undo_that_does_not_end(world: RunnerWorld, tmp_path: Path) -> None:
    world.daemon.stuck = True
    result = await world.job(write_experiment(tmp_path)).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.UNDO_FAILED, 8)
    assert "still in force" in result.reason
    faults = journal(world, result)["faults"]
    assert isinstance(faults, list) and "undoneAt" not in faults[0]


async def test_a_steady_state_that_does_not_come_back(world: RunnerWorld, tmp_path: Path) -> None:
    job = asyncio.create_task(world.job(write_experiment(tmp_path, within="1s")).run_alone())
    await world.daemon.injected.wait()
    world.daemon.ready = False
    result = await job
    assert (result.verdict, result.exit_code) == (Verdict.NOT_REGAINED, 7)


async def test_a_missed_objective(world: RunnerWorld, tmp_path: Path) -> None:
    result = await world.job(write_experiment(tmp_path, objectives='"restarts > 0"')).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.OBJECTIVE_MISSED, 1)
    assert "restarts > 0" in result.reason


async def test_a_run_whose_pulse_cannot_be_trusted_is_void(
    world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "LATENESS_LIMIT_S", -1.0)
    result = await world.job(write_experiment(tmp_path, load=PULSE, objectives='"requests.failed == 0"')).run_alone()
    assert (result.verdict, result.exit_code) == (Verdict.INCONCLUSIVE, 9)
    assert "sent late" in result.runs[0].void_reason and result.objectives[0].met is None


@pytest.mark.parametrize(("budget", "says"), [
    ("failedRequests: 5", "the budget is 5"), ("failedRatio: 1%", "the budget is 1.0%"),
    ("outage: 0.5s", "the budget is 0.5 s"),
])
async def test_users_who_are_hurt_too_much_end_the_run(
    world: RunnerWorld, tmp_path: Path, budget: str, says: str
) -> None:
    loaded = write_experiment(tmp_path, load=PULSE, more=f"  budget: {{{budget}}}\n")
    long = loaded.experiment.spec.method[0].model_copy(update={"timeout": 30.0})
    spec = loaded.experiment.spec.model_copy(update={"method": (long,)})
    experiment = loaded.experiment.model_copy(update={"spec": spec})
    object.__setattr__(loaded, "experiment", experiment)
    job = asyncio.create_task(world.job(loaded).run_alone())
    await world.daemon.injected.wait()
    world.status = 500
    result = await asyncio.wait_for(job, 20)
    assert (result.verdict, result.exit_code) == (Verdict.ABORTED, 10)
    assert says in result.reason and await world.left() == []
    assert [phase.name for phase in result.runs[0].phases][-2:] == ["undo", "converge"]


async def test_fault_objects_carry_the_experiments_blast_radius_and_a_seed_of_the_run(
    world: RunnerWorld, tmp_path: Path
) -> None:
    await world.job(write_experiment(tmp_path, more="  blastRadius: {pods: 100%, nodes: 2}\n  seed: 7\n")).run_alone()
    notes = world.daemon.seen[0]["metadata"]["annotations"]
    assert notes == {"testbed.io/max-pods": "100%", "testbed.io/max-nodes": "2", "testbed.io/seed": "7 1 hang"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_undoes_everything_and_still_writes(
    world: RunnerWorld, tmp_path: Path, number: signal.Signals
) -> None:
    loaded = write_experiment(tmp_path)
    slow = loaded.experiment.spec.method[0].model_copy(update={"timeout": 60.0})
    object.__setattr__(loaded, "experiment", loaded.experiment.model_copy(
        update={"spec": loaded.experiment.spec.model_copy(update={"method": (slow,)})}))
    job = asyncio.create_task(world.job(loaded).run_alone())
    await world.daemon.injected.wait()
    os.kill(os.getpid(), number)
    result = await asyncio.wait_for(job, 20)
    assert (result.verdict, result.exit_code) == (Verdict.INTERRUPTED, 130)
    assert len(world.daemon.undone) == 1 and await world.left() == []
    assert journal(world, result)["exitCode"] == 130
    assert read_result(tmp_path / "runs" / result.run_id).verdict is Verdict.INTERRUPTED


@pytest.mark.parametrize("moment", ["steady state", "load runs", "undoing", "steady state again"])
async def test_an_interrupt_at_any_phase_ends_with_a_result(
    world: RunnerWorld, tmp_path: Path, moment: str
) -> None:
    objectives = '"hang.repair.max < 9s", "hang.requests.failed == 0", "requests.failed.ratio < 1%", "latency.p99 < 9s"'
    loaded = write_experiment(tmp_path, load=PULSE, objectives=objectives)
    job = world.job(loaded)

    def tell(text: str) -> None:
        if text == moment:
            os.kill(os.getpid(), signal.SIGINT)

    job.tell = tell
    result = await asyncio.wait_for(job.run_alone(), 20)
    assert result.exit_code in ((0, 130) if moment == "undoing" else (130,))
    assert read_result(tmp_path / "runs" / result.run_id) == result
    assert await world.left() == []


async def test_a_run_is_an_object_of_its_kind(world: RunnerWorld, tmp_path: Path) -> None:
    result = await world.job(write_experiment(tmp_path)).run_alone()
    shown = await world.client.get(EXPERIMENTS, result.run_id, "default")
    assert (shown["status"]["phase"], shown["status"]["verdict"]) == ("Finished", "passed")
    assert shown["spec"]["method"][0]["name"] == "hang"


async def test_several_runs_have_statistics(world: RunnerWorld, tmp_path: Path) -> None:
    result = await world.job(write_experiment(tmp_path, more="  runs: 2\n")).run_alone()
    assert [run.number for run in result.runs] == [1, 2]
    over = {item.quantity: item.n for item in result.statistics}
    assert over["restarts"] == 2 and "repair" not in over, "the pods went on: there was nothing to recover from"


async def test_what_goes_wrong_before_the_first_run_is_told_as_it_is(world: RunnerWorld, tmp_path: Path) -> None:
    loaded = write_experiment(tmp_path)
    broken = dict(loaded.manifests[1])
    broken["spec"] = {**broken["spec"], "replicas": -1}
    object.__setattr__(loaded, "manifests", (loaded.manifests[0], broken))
    with pytest.raises(TestbedError) as caught:
        await world.job(loaded).run_alone()
    assert caught.value.exit_code == 3
    assert world.closed and await world.left() == []


@pytest.mark.parametrize(("after", "verdict"), [("", Verdict.PASSED), ("after: hang, ", Verdict.INCONCLUSIVE)])
async def test_a_step_after_one_that_timed_out_begins_unless_it_needs_the_mark_that_did_not_come(
    world: RunnerWorld, tmp_path: Path, after: str, verdict: Verdict
) -> None:
    write_experiment(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(file.read_text().replace(
        "      timeout: 1s\n", f"      timeout: 1s\n    - {{name: then, {after}wait: 0s}}\n"))
    (run,) = (await world.job(load_experiment(file)).run_alone()).runs
    assert (run.verdict, run.reason) == (verdict, "" if verdict is Verdict.PASSED else "hang.restored did not come")
    assert "hang: not restored within 1 s" in run.notes
