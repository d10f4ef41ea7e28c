"""Baselines and gates: what may be compared, what becomes of the verdict, and where both lie."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from runner_world import RunnerWorld, write_experiment

from testbed.errors import InvalidInput
from testbed.experiment import phases
from testbed.experiment.archive import (
    KeptRun,
    all_folders,
    baseline_path,
    baselines,
    find_baseline,
    find_run,
    glance,
    read_file,
    remove_baseline,
    remove_run,
    run_folders,
    to_remove,
    write_baseline,
)
from testbed.experiment.fingerprint import spec_hash
from testbed.experiment.gate import Gate, check_objectives, check_same_experiment, check_same_results
from testbed.experiment.result import Disruption, Environment, Marks, Result, RunResult, Series, Verdict
from testbed.experiment.saving import write_result

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def result(run_id: str = "small-05010000-aaaa", *, name: str = "small", factor: float = 1.0, runs: int = 20,
           started_at: datetime = NOW, spec: str = "", void: str = "") -> Result:
    made = tuple(RunResult(
        number=number, verdict=Verdict.PASSED, started_at=started_at, duration_s=9, void_reason=void,
        series=Series(due=(1, 2, 3)),
        disruptions=(Disruption(name="hang", kind="fault", marks=Marks(
            injected=1.0, detected=1.1, isolated=1.3, restored=1 + factor * (1 + number / 200))),))
        for number in range(1, runs + 1))
    return Result(run_id=run_id, name=name, started_at=started_at, ended_at=started_at, verdict=Verdict.PASSED,
                  exit_code=0, environment=Environment(cpus=2), runs=made, spec_hash=spec)


def kept(root: Path, run_id: str, **more: object) -> Path:
    folder = root / "default" / "runs" / run_id
    folder.mkdir(parents=True)
    write_result(result(run_id, **more), folder)  # type: ignore[arg-type]
    return folder


# --- the same experiment


def test_how_often_and_what_is_demanded_may_differ(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write_experiment(tmp_path / "a", objectives='"restarts == 0"', more="  runs: 3\n  seed: 4\n")
    other = write_experiment(tmp_path / "b", more="  runs: 9\n")
    assert spec_hash(one.experiment) == spec_hash(other.experiment)


@pytest.mark.parametrize("more", ["  namespace: other\n", "  budget: {failedRequests: 3}\n"])
def test_what_is_run_may_not(more: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    load = "  load:\n    pulse: {service: web, rate: 50}\n"
    one = write_experiment(tmp_path / "a", load=load)
    other = write_experiment(tmp_path / "b", load=load, more=more)
    assert spec_hash(one.experiment) != spec_hash(other.experiment)
    with pytest.raises(InvalidInput, match="another version of 'small'"):
        check_same_experiment(result(spec=spec_hash(one.experiment)), "main", other.experiment)
    check_same_experiment(result(spec=spec_hash(one.experiment)), "main", one.experiment)


def test_a_baseline_of_another_experiment_is_refused(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path).experiment
    with pytest.raises(InvalidInput, match="of experiment 'other', not of 'small'"):
        check_same_experiment(result(name="other"), "main", experiment)
    with pytest.raises(InvalidInput, match="no run that can be trusted"):
        check_same_experiment(result(void="stolen"), "main", experiment)
    with pytest.raises(InvalidInput, match="of experiment 'small'"):
        check_same_results(result(), result(name="other"))
    with pytest.raises(InvalidInput, match="two versions"):
        check_same_results(result(spec="a"), result(spec="b"))


def test_an_objective_that_needs_a_baseline_needs_one(tmp_path: Path) -> None:
    loaded = write_experiment(tmp_path, objectives='"baseline.repair.ratio <= 1.1"')
    with pytest.raises(InvalidInput, match="needs a baseline"):
        check_objectives(loaded.objectives, has_baseline=False)
    check_objectives(loaded.objectives, has_baseline=True)


# --- the gate


@pytest.mark.parametrize(("factor", "fail_on", "missed"), [
    (1.3, ("worse",), True), (1.3, (), False), (1.0, ("worse",), False), (0.7, ("worse",), False),
])
def test_only_what_is_worse_fails(factor: float, fail_on: tuple[str, ...], missed: bool) -> None:
    gate = Gate(result(), "main", fail_on)
    told = gate.missed(gate.compared(result("new", factor=factor)))
    assert bool(told) is missed
    assert not missed or "worse than baseline main: hang.repair" in told


def test_who_wants_to_know_may_fail_on_what_cannot_be_told() -> None:
    gate = Gate(result(), "main", ("worse", "cannot tell"))
    assert "cannot be compared" in gate.missed(gate.compared(result("new", runs=2)))


# --- on disk


def test_a_baseline_is_saved_listed_found_and_removed(tmp_path: Path) -> None:
    write_baseline(result(), baseline_path(tmp_path, "main"))
    assert [item.name for item in baselines(tmp_path)] == ["main"]
    name, found = find_baseline(tmp_path, "main")
    assert name == "main" and found.runs[0].disruptions == result().runs[0].disruptions
    assert found.runs[0].series == Series(), "what only charts need is left out"
    remove_baseline(tmp_path, "main")
    assert baselines(tmp_path) == []
    with pytest.raises(InvalidInput, match="no baseline 'main'"):
        remove_baseline(tmp_path, "main")


@pytest.mark.parametrize("name", ["../../x", "A", "", "a b"])
def test_a_baselines_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be the name"):
        baseline_path(tmp_path, name)


def test_a_file_a_run_and_its_beginning_are_found_too(tmp_path: Path) -> None:
    folder = kept(tmp_path, "small-05010000-aaaa")
    kept(tmp_path, "small-05020000-bbbb")
    write_baseline(result(), tmp_path / "kept.json")
    assert find_baseline(tmp_path, str(tmp_path / "kept.json"))[0] == "kept.json"
    assert find_baseline(tmp_path, "small-0501")[0] == folder.name
    assert find_run(tmp_path, str(folder)) == folder
    for text, says in (("small", "neither a file nor"), ("nothing.json", "no file"), ("x", "neither a file")):
        with pytest.raises(InvalidInput, match=says):
            find_baseline(tmp_path, text)


def test_what_is_no_result_is_told_as_that(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"runId": 3}', "[" * 100_000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InvalidInput, match="not a result of this version"):
            read_file(tmp_path / "bad.json")


@pytest.mark.parametrize(("text", "says"), [
    ("{}", "runId, name, startedAt, endedAt, verdict, exitCode: missing"), ("[]", "the whole: must be a mapping"),
    ('{"runId": 3}', "runId: must be a text")])
def test_what_is_no_result_is_told_by_its_fields(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InvalidInput) as refused:
        read_file(tmp_path / "bad.json")
    assert says in refused.value.message and "Result" not in refused.value.message


def test_a_variant_of_several_is_found_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "default" / "runs" / "small-05010000-cccc"
    for name in ("1-a", "2-b"):
        (folder / name).mkdir(parents=True)
        write_result(result(name), folder / name)
    (folder / "study.json").write_text(json.dumps({"name": "small", "variants": [{}, {}], "turns": [{}] * 4}))
    assert run_folders(tmp_path) == [folder]
    assert (glance(folder).variants, glance(folder).runs) == (2, 4)
    assert find_run(tmp_path, "small-0501/2") == folder / "2-b"
    assert find_baseline(tmp_path, "small-0501/1")[1].run_id == "1-a"
    with pytest.raises(InvalidInput, match="several variants"):
        find_baseline(tmp_path, "small-0501")


# --- the list of runs


def test_a_list_survives_what_cannot_be_read(tmp_path: Path) -> None:
    good = kept(tmp_path, "small-05010000-aaaa")
    (good.parent / "old").mkdir()
    (good.parent / "old" / "result.json").write_text("{}")
    (good.parent / "dead").mkdir()
    (good.parent / "dead" / "journal.json").write_text(json.dumps({"state": "running", "pid": 2**22 + 1}))
    found = {item.folder.name: item for item in map(glance, all_folders(tmp_path))}
    assert found["old"].problem and found["dead"].verdict == "broken off"
    assert (found[good.name].runs, found[good.name].verdict) == (20, "passed")


def test_a_run_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "default" / "runs" / "now"
    folder.mkdir(parents=True)
    (folder / "journal.json").write_text(json.dumps({"state": "running", "pid": os.getpid()}))
    assert glance(folder).running and to_remove([glance(folder)], now=NOW, keep=0) == []
    with pytest.raises(InvalidInput, match="still runs"):
        remove_run(folder)
    assert folder.exists()


@pytest.mark.parametrize(("rule", "left"), [
    ({"keep": 2}, [4, 5]), ({"keep": 9}, [1, 2, 3, 4, 5]), ({"older_than": timedelta(days=3)}, [2, 3, 4, 5]),
    ({"older_than": timedelta(days=1), "keep": 4}, [4, 5]), ({"keep": 0}, [])])
def test_which_runs_are_removed(rule: dict[str, object], left: list[int]) -> None:
    runs = [KeptRun(Path(str(day)), started_at=NOW + timedelta(days=day)) for day in range(1, 6)]
    gone = to_remove(runs, now=NOW + timedelta(days=5), **rule)  # type: ignore[arg-type]
    assert [int(run.folder.name) for run in runs if run not in gone] == left


# --- a run with a gate


@pytest.mark.parametrize(("fail_on", "code", "verdict"), [
    (("cannot tell",), 1, Verdict.OBJECTIVE_MISSED), (("worse",), 0, Verdict.PASSED)])
async def test_a_run_is_held_against_its_baseline(
    fail_on: tuple[str, ...], code: int, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "BASELINE_S", 0.1)
    async with RunnerWorld(tmp_path) as world:
        found = await world.job(write_experiment(tmp_path), gate=Gate(result(), "main", fail_on)).run_alone()
    assert (found.exit_code, found.verdict) == (code, verdict), found.reason
    assert found.comparison is not None and found.comparison.verdict == "cannot tell"
    assert found.comparison.a == "main" and found.comparison.fail_on == fail_on
    assert found.spec_hash and ("baseline main" in found.reason) is bool(code)
    assert read_file(tmp_path / "runs" / found.run_id / "result.json") == found
