"""What a real run's object said from its beginning to its end, beside what the run itself found."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from runner_world import EXPERIMENT, FakePlatform, RunnerWorld, quicken, write_experiment

from faults.kinds import FREEZE_CHAOS
from testbed.api.experiment_status import PHASES
from testbed.api.resources import EVENTS
from testbed.experiment import publishing
from testbed.experiment.platforms.protocol import folder_in
from testbed.experiment.result import Verdict
from testbed.experiment.schema import EXPERIMENTS, experiment_definition
from testbed.server.metrics_experiments import counts_of

Json = dict[str, Any]
PULSE = "  load: {pulse: {service: web, rate: 100}}\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, baseline_s=0.6)


def watched(world: RunnerWorld) -> list[Json]:
    """Every status of the run's object, as the API had it."""
    inner, found = world.client.patch, list[Json]()

    async def patch(resource: Any, *args: Any, **more: Any) -> Json:
        obj = await inner(resource, *args, **more)
        if resource == EXPERIMENTS:
            found.append(obj["status"])
        return obj

    world.client.patch = patch  # type: ignore[method-assign]
    return found


async def test_a_run_tells_of_itself_from_its_beginning_to_its_end(
    world: RunnerWorld, tmp_path: Path, quick: None,
) -> None:
    seen = watched(world)
    loaded = write_experiment(tmp_path, objectives='"restarts == 0"', more="  runs: 2\n")
    result = await world.job(loaded).run_alone()
    phases = [status["run"]["phase"] for status in seen]
    assert {"steady", "observe"} <= set(phases) <= set(PHASES), "the shortest ones may go with the next"
    assert "hang" in {status["run"]["step"] for status in seen}
    assert {status["run"]["number"] for status in seen[1:]} >= {1, 2} and seen[-1]["run"]["of"] == 2
    last = seen[-1]
    assert (last["phase"], last["verdict"], last["exitCode"]) == ("Finished", "passed", 0)
    assert last["verdicts"] == {"passed": 2} and last["objectives"] == [
        {"text": "restarts == 0", "met": True, "measured": "0"}]
    assert result.verdict is Verdict.PASSED
    assert [(item["run"], item["step"], item["fault"], item["target"]) for item in last["disruptions"]] == [
        (number, "hang", "FreezeChaos", "default/web-1") for number in (1, 2)]


async def test_load_in_the_object_is_that_of_the_report(world: RunnerWorld, tmp_path: Path, quick: None) -> None:
    seen = watched(world)
    result = await world.job(write_experiment(tmp_path, load=PULSE, more="  runs: 2\n")).run_alone()
    (load,) = seen[-1]["load"]
    due, ok, late, failed = (sum(getattr(run.requests, name) for run in result.runs)
                             for name in ("due", "ok", "late", "failed"))
    assert (load["target"], load["rate"], load["ok"], load["late"]) == ("web", 100, ok, late)
    assert load["sent"] + load["unsent"] == due > 100 and load["failed"] + load["unsent"] == failed
    assert load["latency"]["buckets"]["+Inf"] == ok + late
    counted = counts_of(seen[-1])
    assert counted["testbed_requests_total", "", ("small", "web", "ok")] == ok, "and so /metrics has it"
    assert counted["testbed_request_duration_seconds", "_count", ("small", "web")] == ok + late
    grown = [status["load"][0]["sent"] for status in seen if status["load"]]
    assert grown == sorted(grown) and len(set(grown)) > 2, "it grows while the run goes on, and never falls"


async def test_marks_come_while_the_disruption_goes_on(world: RunnerWorld, tmp_path: Path, quick: None) -> None:
    seen = watched(world)

    async def page() -> None:
        await world.daemon.injected.wait()
        stamp = str(int(asyncio.get_running_loop().time() * 1e9))
        await world.client.create(EVENTS, {
            "metadata": {"name": "web.page", "annotations": {"testbed.io/monotonic-ns": stamp}},
            "involvedObject": {"kind": "Namespace", "name": "default"}, "reason": "AlertFiring",
            "type": "Warning", "message": "PodDown: it hangs", "eventTime": "2026-11-29T12:00:00.000000Z",
            "lastTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}, "default")

    paging = asyncio.create_task(page())
    result = await world.job(write_experiment(tmp_path, load=PULSE)).run_alone()
    await paging
    (item,) = result.runs[0].disruptions
    assert item.pager_s and item.marks.alerted is not None and item.alerts[0].name == "PodDown"
    live = [status["disruptions"] for status in seen if status["phase"] == "Running" and status["disruptions"]]
    assert any("alerted" in found[0]["marks"] and not found[0]["counted"] for found in live)
    assert seen[-1]["disruptions"][0]["marks"]["alerted"] == pytest.approx(
        item.marks.alerted - (item.marks.injected or 0.0), abs=0.001)
    (event,) = [event for event in result.runs[0].events if event.kind == "AlertFiring"]
    assert event.object == "namespace default" and event.level == "warning"


async def test_an_api_that_takes_no_status_changes_nothing_of_a_run(
    world: RunnerWorld, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "FINAL_S", 0.3)
    inner = world.client.patch

    async def patch(resource: Any, *args: Any, **more: Any) -> Json:
        if resource == EXPERIMENTS:
            await asyncio.Event().wait()
        return await inner(resource, *args, **more)

    world.client.patch = patch  # type: ignore[method-assign]
    result = await asyncio.wait_for(world.job(write_experiment(tmp_path, load=PULSE)).run_alone(), 30)
    assert (result.verdict, len(result.runs)) == (Verdict.PASSED, 1) and await world.left() == []


async def test_a_run_of_which_nothing_was_measured_says_why(world: RunnerWorld, tmp_path: Path, quick: None) -> None:
    seen = watched(world)
    world.daemon.effect = "refused"
    await world.job(write_experiment(tmp_path)).run_alone()
    assert seen[-1]["phase"] == "Finished" and seen[-1]["reason"] == "hang: no pod matches"
    assert seen[-1]["exitCode"] == 6 and (await world.client.list(FREEZE_CHAOS)).items == ()


def test_a_run_s_folder_is_named_where_the_cluster_can_show_it(tmp_path: Path) -> None:
    class Keeps(FakePlatform):
        runs_folder = tmp_path / "default" / "runs"

    here, elsewhere = Keeps(None), FakePlatform(None)  # type: ignore[arg-type]
    assert folder_in(here, tmp_path / "default" / "runs" / "crash-1") == "crash-1"
    assert folder_in(here, tmp_path / "default" / "runs" / "crash-1" / "2-b") == "crash-1/2-b"
    assert folder_in(here, tmp_path / "other" / "crash-1") == ""
    assert folder_in(elsewhere, tmp_path / "default" / "runs" / "crash-1") == ""


def test_kubectl_shows_where_a_run_is() -> None:
    (version,) = experiment_definition()["spec"]["versions"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Phase", "Verdict", "Run", "Step", "Age"]
    assert "small" in EXPERIMENT and json.dumps(version)
