"""Experiments in virtual time: the platform, its process, and that the same seed has the same result."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import EnvironmentProblem, InvalidInput, TestbedError, UsageError
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.platforms.protocol import RunsAlone
from testbed.experiment.platforms.simulation import (
    PREDICTED,
    SimulationPlatform,
    error_of,
    job_of,
    simulation_source,
)
from testbed.experiment.result import Result, RunResult, Verdict
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.timeline import REPAIR
from testbed.experiment.variants import variants_of
from testbed.simulation.experiment import answer
from testbed.simulation.playing import DRAIN_S, START_S, is_foreign, played_manifests

Json = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"


def job(loaded: LoadedExperiment, folder: Path, number: int = 1) -> Json:
    folder.mkdir(exist_ok=True)
    return {"do": "run", "runId": "r", "number": number, "folder": str(folder), **job_of(loaded)}


def run(loaded: LoadedExperiment, folder: Path, number: int = 1) -> Json:
    answered = answer(job(loaded, folder, number))
    assert "run" in answered, answered
    found: Json = answered["run"]
    del found["startedAt"]
    return found


@pytest.fixture(scope="module")
def crash() -> LoadedExperiment:
    return load_experiment(EXAMPLES / "crash.yaml")


def test_the_same_seed_has_the_same_result(crash: LoadedExperiment, tmp_path: Path) -> None:
    one, two = run(crash, tmp_path / "one"), run(crash, tmp_path / "two")
    assert one == two
    assert (tmp_path / "one" / "pulse-1.csv").read_text() == (tmp_path / "two" / "pulse-1.csv").read_text()
    third = run(crash, tmp_path / "three", number=2)
    assert third["disruptions"] != one["disruptions"]


def test_a_crash_is_predicted_by_the_runner_that_measures(crash: LoadedExperiment, tmp_path: Path) -> None:
    found = RunResult.model_validate({**run(crash, tmp_path / "run"), "startedAt": "2030-01-01T00:00:00Z"})
    (disruption,) = found.disruptions
    marks = disruption.marks
    assert found.verdict is Verdict.PASSED and found.void_reason == "" and found.requests.due > 500
    assert marks.injected is not None and marks.isolated is not None and marks.restored is not None
    # Its readiness probe has a period of 1 s: it cannot be ready before the first look.
    assert 0 < marks.isolated - marks.injected < 0.1 < 1.0 <= marks.restored - marks.injected < 3.0


async def test_the_platform_and_its_process(crash: LoadedExperiment, tmp_path: Path) -> None:
    said: list[str] = []
    source = simulation_source(said.append)
    two = LoadedExperiment(**{**vars(crash), "experiment": crash.experiment.model_copy(
        update={"spec": crash.experiment.spec.model_copy(update={"runs": 2})})})
    result: Result = await ExperimentRun(variants_of(two, platforms=("simulation",)), lambda platform: source,
                                         tmp_path, said.append).run_alone()
    assert result.verdict in (Verdict.PASSED, Verdict.INCONCLUSIVE), result.reason  # two runs are few for a median
    assert [run.verdict for run in result.runs] == [Verdict.PASSED] * 2
    assert PREDICTED in result.notes and result.environment.platform == "simulation"
    assert (tmp_path / result.run_id / "journal.json").exists()


@pytest.mark.parametrize(("nodes", "words"), [(1, "a cluster of 1 node in"), (2, "a cluster of 2 nodes in")])
async def test_its_size_is_told(nodes: int, words: str) -> None:
    said: list[str] = []
    async with simulation_source(said.append)(ClusterSpec(nodes=nodes)):
        assert words in said[0]


async def test_a_simulation_that_ends_is_told(crash: LoadedExperiment, tmp_path: Path) -> None:
    async with simulation_source(lambda words: None)(ClusterSpec()) as platform:
        assert isinstance(platform, SimulationPlatform) and isinstance(platform, RunsAlone)
        with pytest.raises(EnvironmentProblem, match="cannot be reached"):
            _ = platform.client
        waiting = asyncio.create_task(platform.repetition(crash, run_id="r", number=1, folder=tmp_path))
        await asyncio.sleep(0)
        platform.process.kill()
        with pytest.raises(EnvironmentProblem, match="the simulation ended"):
            await waiting


async def test_what_is_wrong_in_the_input_is_told_as_that(crash: LoadedExperiment, tmp_path: Path) -> None:
    other = LoadedExperiment(**{**vars(crash), "manifests": [deployment("sample:v1", imagePullPolicy="Sometimes")]})
    async with simulation_source(lambda words: None)(ClusterSpec()) as platform:
        assert isinstance(platform, SimulationPlatform)
        with pytest.raises(TestbedError) as raised:
            await platform.repetition(other, run_id="r", number=1, folder=tmp_path)
    assert raised.value.exit_code == 3 and "Sometimes" in str(raised.value), raised.value


@pytest.mark.parametrize("error", [
    InvalidInput("no", hint="so"), UsageError("no", hint="so"), EnvironmentProblem("no", hint="so"),
    TestbedError("no", hint="so")])
def test_an_error_keeps_its_kind_between_processes(error: TestbedError) -> None:
    found = error_of({"error": error.message, "hint": error.hint, "exitCode": error.exit_code})
    assert type(found) is type(error) and found.exit_code == error.exit_code
    assert found.hint == "so" and found.message == "simulation: no"


# --- what is played, and how


def deployment(image: str, annotations: Json | None = None, **container: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {
        "metadata": {"annotations": annotations or {}},
        "spec": {"containers": [{"name": "a", "image": image, **container}]}}}}


def container_of(manifest: Json) -> Json:
    found: Json = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(("image", "foreign"), [
    ("sample:v1", False), ("sample:v9", False), ("nginx", True), ("nginx:1.25", True), ("reg:5000/shop/web:v2", True),
    ("nginx@sha256:0", True)])
def test_foreign_images(image: str, foreign: bool) -> None:
    assert is_foreign(image) is foreign


def test_a_foreign_image_plays_the_sample_on_its_own_port() -> None:
    given = deployment("nginx:1.25", command=["nginx"], ports=[{"containerPort": 80}])
    (played,) = played_manifests([given])
    assert container_of(played)["env"] == [{"name": "PORT", "value": "80"}] and "command" not in container_of(played)
    assert container_of(given)["command"] == ["nginx"]  # what was given is as it was


def test_ours_is_as_it_was_but_for_what_annotations_say() -> None:
    given = deployment("sample:v1", {START_S: "3", DRAIN_S: "0.5"}, env=[{"name": "DRAIN_S", "value": "2"}])
    (played,) = played_manifests([given])
    assert container_of(played)["env"] == [{"name": "START_DELAY_S", "value": "3"}, {"name": "DRAIN_S", "value": "0.5"}]


def test_what_has_no_twin_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text((EXAMPLES / "web.yaml").read_text().replace("sample:v1", "shop/web:v1"))
    (tmp_path / "locustfile.py").write_text((EXAMPLES / "locustfile.py").read_text())
    text = (EXAMPLES / "crash.yaml").read_text()
    text = text.replace("  method:", "    locust: {file: locustfile.py, users: 5}\n  method:")
    text = text.replace("    - ready:", "    - promql: {query: up}\n    - ready:")
    (tmp_path / "crash.yaml").write_text(text)
    loaded = load_experiment(tmp_path / "crash.yaml")
    notes = " ".join(answer({"do": "look", **job_of(loaded)})["notes"])
    assert "Locust has no simulated twin" in notes and "promql conditions are left out" in notes
    assert "shop/web:v1: played by the sample application" in notes
    assert run(loaded, tmp_path / "run")["verdict"] == Verdict.PASSED.value


@pytest.mark.parametrize("name", ["hang", "node-kill", "rolling-update", "zone-loss"])
def test_examples_in_virtual_time(name: str, tmp_path: Path) -> None:
    found = run(load_experiment(EXAMPLES / f"{name}.yaml"), tmp_path / "run")
    assert found["verdict"] == Verdict.PASSED.value, found["reason"]
    assert all(item["marks"]["restored"] is not None for item in found["disruptions"])


@pytest.mark.parametrize("name", ["canary", "recreate"])
def test_a_changes_marks_go_forward_and_its_gaps_and_parts_add_up(name: str, tmp_path: Path) -> None:
    found = RunResult.model_validate({**run(load_experiment(EXAMPLES / f"{name}.yaml"), tmp_path / "run"),
                                      "startedAt": "2030-01-01T00:00:00Z"})
    assert found.disruptions
    for item in found.disruptions:
        moments = [at for mark in REPAIR if (at := item.marks.get(mark)) is not None]
        assert moments == sorted(moments), item.name
        assert sum(gap.seconds for gap in item.gaps) == pytest.approx(item.repair_s), item.name
        for gap in item.gaps:
            assert sum(part.seconds for part in gap.parts) == pytest.approx(gap.seconds, abs=1e-9), (item.name, gap)
