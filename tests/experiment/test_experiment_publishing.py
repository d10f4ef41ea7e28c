"""A run's object tells of it while it goes on, and whatever the API does meanwhile, the run notices nothing of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runner_world import EXPERIMENT, FakePlatform, RunnerWorld, quicken, write_experiment

from faults.kinds import FREEZE_CHAOS
from testbed.api.experiment_status import EVERY_S, PHASES, SILENT_S
from testbed.api.meta import format_time
from testbed.api.resources import EVENTS
from testbed.errors import ApiError, ApiUnavailable, Conflict, Forbidden, InvalidInput, NotFound, TooManyRequests
from testbed.experiment import publishing
from testbed.experiment.kind import Experiment
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.load_results import Target
from testbed.experiment.objectives import parse_objective
from testbed.experiment.platforms.protocol import folder_in
from testbed.experiment.published_status import Heading
from testbed.experiment.publishing import FINAL_S, KEPT, SOONEST_S, PublishedRun
from testbed.experiment.repetition import Repetition
from testbed.experiment.result import Verdict
from testbed.experiment.run_picture import MOST_SLICES
from testbed.experiment.schema import EXPERIMENTS, experiment_definition
from testbed.load.records import FRESH, Outcome, PulseData, Record
from testbed.server.metrics_experiments import counts_of
from testbed.simulation.loop import run_virtual

Json = dict[str, Any]
STARTED = datetime(2026, 11, 29, 12, tzinfo=UTC)
PULSE = "  load: {pulse: {service: web, rate: 100}}\n"
SPEC: Json = {
    "apiVersion": "testbed.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "small"},
    "spec": {"method": [{"name": "wait", "wait": "1s"}], "load": {"pulse": {"service": "web"}}}}


# --- a run in virtual time, and an API that does as it is told


class Api:
    """What was asked of it, with when; ``behave`` raises, waits or does nothing before each answer."""

    def __init__(self) -> None:
        self.patches: list[tuple[float, Json]] = []
        self.asked: list[str] = []
        self.objects: dict[str, Json] = {}
        self.behave: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.behave is not None:
            await self.behave()

    async def create(self, resource: Any, obj: Json, namespace: str | None = None) -> Json:
        await self._ask(f"create {resource.kind}")
        if resource.kind == "Experiment":
            self.objects[obj["metadata"]["name"]] = obj
        return obj

    async def patch(self, resource: Any, name: str, patch: Json, namespace: str, *, subresource: str) -> Json:
        await self._ask("patch")
        if name not in self.objects:
            raise NotFound("no")
        self.patches.append((asyncio.get_running_loop().time(), patch["status"]))
        found = self.objects[name]
        found["status"] = {**found.get("status", {}), **patch["status"]}
        return found

    async def list(self, resource: Any, namespace: str) -> Any:
        await self._ask("list")
        return SimpleNamespace(items=tuple(self.objects.values()))

    async def delete(self, resource: Any, name: str, namespace: str, *, uid: str) -> None:
        await self._ask("delete")
        del self.objects[name]

    @property
    def status(self) -> Json:
        found: Json = self.objects["small-1"]["status"]
        return found


class Pulse:
    """A pulse whose records come by hand."""

    def __init__(self) -> None:
        self.spec = PulseSpec.model_validate({"service": "web"})
        self.data = PulseData(start={"t0_ns": 0})
        self.coming: list[Record] = []
        self.broken = False

    def read_some(self, most_bytes: int) -> bool:
        if self.broken:
            raise InvalidInput("not a pulse's")
        some, self.coming = self.coming[:100], self.coming[100:]
        self.data.records.extend(some)
        return bool(some)


class Runner:
    """As much of a repetition as is asked."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.spec = Experiment.model_validate(SPEC).spec
        self.repetition = Repetition(1, STARTED, int(loop.time() * 1e9), None, None, ())  # type: ignore[arg-type]
        self.pulse = Pulse()
        self.load = SimpleNamespace(pulses=(self.pulse,), known=lambda: (Target(self.pulse.spec, self.pulse.data),))
        self.method = SimpleNamespace(so_far=list)


class Scene:
    def __init__(self, **more: Any) -> None:
        self.api, self.notes = Api(), list[str]()
        self.loop = asyncio.get_running_loop()
        self.began_s = self.loop.time()
        self.run = PublishedRun(
            self.api, Experiment.model_validate(SPEC), "small-1",  # type: ignore[arg-type]
            Heading("small", "testbed", "", STARTED), wanted=2, now=STARTED,
            objectives=[parse_objective("requests.failed == 0", [], 2)],
            note=lambda what, **details: self.notes.append(f"{what} {details}"))


def virtual(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def main(loop: Any) -> None:
        await story(Scene())

    run_virtual(main)


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


@pytest.mark.parametrize("way", ["slow", "frozen", "gone", "broken"])
def test_whatever_the_api_does_the_run_waits_for_nothing_and_what_was_missed_comes_with_the_next(way: str) -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)

        async def behave() -> None:
            if way == "slow":
                await asyncio.sleep(3.0)
            elif way == "frozen":
                await asyncio.sleep(10.0)
                raise ApiUnavailable("no answer in time")
            elif way == "gone":
                raise ApiUnavailable("refused")
            else:
                raise ApiError("a bug", code=500)

        scene.api.behave = behave
        before = scene.loop.time()
        runner = Runner()
        scene.run.follow(runner)  # type: ignore[arg-type]
        for phase in PHASES:
            runner.repetition.enter(phase)
        assert scene.loop.time() == before, "nothing of it is waited for"
        await asyncio.sleep(12.0)
        scene.api.behave = None
        await asyncio.sleep(11.0)
        assert scene.api.status["run"]["phase"] == "converge"

    virtual(story)


def test_the_last_one_is_tried_again_while_the_api_comes_back() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)
        back_at = scene.loop.time() + 2.0

        async def away() -> None:
            if scene.loop.time() < back_at:
                raise ApiUnavailable("refused")

        scene.api.behave = away
        await scene.run.end("passed", "", 0)
        assert scene.loop.time() - back_at < 1.0
        assert (scene.api.status["phase"], scene.api.status["verdict"], scene.api.status["exitCode"]) == (
            "Finished", "passed", 0)

    virtual(story)


@pytest.mark.parametrize("error", [ApiUnavailable("refused"), Forbidden("no"), None])
def test_an_end_that_cannot_be_written_holds_up_nobody_for_long(error: ApiError | None) -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)

        async def behave() -> None:
            if error is not None:
                raise error
            await asyncio.Event().wait()

        scene.api.behave = behave
        before = scene.loop.time()
        await scene.run.end("passed", "", 0)
        took_s = scene.loop.time() - before
        assert took_s <= FINAL_S + 0.01 and (not isinstance(error, Forbidden) or took_s < 0.5)
        await asyncio.sleep(5.0)
        assert all(not task.get_name().startswith("published") for task in asyncio.all_tasks())

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


def test_a_cluster_that_will_not_have_it_is_not_asked_again_and_again() -> None:
    async def story(scene: Scene) -> None:
        async def refuse() -> None:
            raise Forbidden("no")

        scene.api.behave = refuse
        scene.run.begin()
        await asyncio.sleep(60.0)
        assert len(scene.api.asked) == 1
        before = scene.loop.time()
        await scene.run.end("passed", "", 0)
        assert scene.loop.time() == before

    virtual(story)


@pytest.mark.parametrize("error", [TooManyRequests("later"), Conflict("changed"), ApiError("a bug", code=500)])
def test_a_first_refusal_that_passes_does_not_end_it_for_the_whole_run(error: ApiError) -> None:
    async def story(scene: Scene) -> None:
        async def refuse() -> None:
            raise error

        scene.api.behave = refuse
        scene.run.begin()
        await asyncio.sleep(5.0)
        scene.api.behave = None
        await asyncio.sleep(1.5)
        assert scene.api.status["phase"] == "Running"

    virtual(story)


def test_an_object_that_somebody_removed_is_made_again_whole() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)
        scene.api.objects.clear()
        await asyncio.sleep(3.0)
        assert scene.api.status["experiment"] == "small" and scene.api.status["run"]["of"] == 2

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


# --- a real run


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
