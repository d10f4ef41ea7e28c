"""An API that is lost during a run: the run is inconclusive, what it did is undone once the API is back, what could not
be undone is named, and the journal is whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runner_world import FakePlatform, RunnerWorld, write_experiment

from testbed.api.resources import CONFIG_MAPS, NODES, ResourceType
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import WatchEvent
from testbed.errors import ApiError, ApiUnavailable, EnvironmentProblem, Forbidden, NotFound
from testbed.experiment import applying, method, patience, phases
from testbed.experiment.evidence import Observer
from testbed.experiment.observations import EngineSeen
from testbed.experiment.result import Result, Verdict
from testbed.experiment.steps import Doer
from testbed.experiment.undoing import Undone, undo_all


class Away(InProcessClient):
    """A client whose way to the API can be cut; the API itself goes on."""

    def __init__(self, inner: InProcessClient) -> None:
        super().__init__(inner._registry)
        self.cut, self.refused = asyncio.Event(), asyncio.Event()
        self.lost_answers = 0  # creations of faults that are done, and whose answer never comes

    def _cross(self) -> None:
        if self.cut.is_set():
            self.refused.set()
            raise ApiUnavailable("the API at https://nowhere does not answer: refused")

    async def get(self, *args: Any, **more: Any) -> Any:
        self._cross()
        return await super().get(*args, **more)

    async def list(self, *args: Any, **more: Any) -> Any:
        self._cross()
        return await super().list(*args, **more)

    async def create(self, resource: ResourceType, *args: Any, **more: Any) -> Any:
        self._cross()
        made = await super().create(resource, *args, **more)
        if self.lost_answers and resource.kind.endswith("Chaos"):
            self.lost_answers -= 1
            raise ApiUnavailable("the API at https://nowhere does not answer: reset")
        return made

    async def patch(self, *args: Any, **more: Any) -> Any:
        self._cross()
        return await super().patch(*args, **more)

    async def delete(self, *args: Any, **more: Any) -> None:
        self._cross()
        await super().delete(*args, **more)

    async def watch(self, *args: Any, **more: Any) -> AsyncIterator[WatchEvent]:
        events = super().watch(*args, **more).__aiter__()
        while True:
            coming = asyncio.ensure_future(anext(events))
            gone = asyncio.ensure_future(self.cut.wait())
            try:
                await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
                self._cross()
                yield await coming
            finally:
                coming.cancel()
                gone.cancel()
                await asyncio.gather(coming, gone, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "BASELINE_S", 0.1)
    monkeypatch.setattr(method, "API_LOST_S", 0.3)
    monkeypatch.setattr(phases, "UNDO_TIMEOUT_S", 20.0)
    monkeypatch.setattr(patience, "AGAIN_S", 0.05)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RunnerWorld]:
    async with RunnerWorld(tmp_path) as made:
        made.platform = FakePlatform(Away(made.client))
        yield made


def way(world: RunnerWorld) -> Away:
    assert isinstance(world.platform.client, Away)
    return world.platform.client


def journal(world: RunnerWorld, result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.folder / "runs" / result.run_id / "journal.json").read_text())
    return found


async def phase(world: RunnerWorld, word: str) -> None:
    async with asyncio.timeout(20):
        while word not in world.said:  # noqa: ASYNC110  (what is said wakes nobody)
            await asyncio.sleep(0.01)


async def test_what_was_injected_is_undone_when_the_api_is_back(world: RunnerWorld, tmp_path: Path) -> None:
    job = asyncio.create_task(world.job(write_experiment(tmp_path)).run_alone())
    await world.daemon.injected.wait()
    way(world).cut.set()
    await phase(world, "undoing")
    assert world.daemon.undone == []
    way(world).cut.clear()
    result = await job
    assert (result.verdict, result.exit_code) == (Verdict.INCONCLUSIVE, 9), result.reason
    assert "the API was lost" in result.reason
    assert len(world.daemon.undone) == 1 and await world.left() == []
    written = journal(world, result)
    assert written["state"] == "finished" and written["faults"][0]["undoneAt"]


async def test_what_is_left_is_named_when_it_stays_away(
    world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "UNDO_TIMEOUT_S", 0.3)
    monkeypatch.setattr("testbed.experiment.variant_run.remove", _impatient)
    job = asyncio.create_task(world.job(write_experiment(tmp_path)).run_alone())
    await world.daemon.injected.wait()
    way(world).cut.set()
    result = await job
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "still in force" in result.reason
    assert any("left in the cluster" in note and "Deployment web" in note for note in result.notes)
    written = journal(world, result)
    assert written["state"] == "finished" and "undoneAt" not in written["faults"][0]


async def _impatient(client: Any, created: Any) -> list[str]:
    return await applying.remove(client, created, timeout_s=0.2)


async def test_a_fault_whose_creation_was_never_answered_is_undone_too(world: RunnerWorld, tmp_path: Path) -> None:
    way(world).lost_answers = 1
    result = await world.job(write_experiment(tmp_path)).run_alone()
    assert result.verdict is Verdict.INCONCLUSIVE and "reset" in result.reason
    assert await world.left() == []
    assert journal(world, result)["faults"][0]["undoneAt"]


async def test_a_short_silence_is_lived_through(
    world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "API_LOST_S", 30.0)
    job = asyncio.create_task(world.job(write_experiment(tmp_path)).run_alone())
    await world.daemon.injected.wait()
    way(world).cut.set()
    await way(world).refused.wait()
    way(world).cut.clear()
    (run,) = (await job).runs
    assert (run.verdict, run.reason) == (Verdict.PASSED, "")


async def test_one_object_that_may_not_be_deleted_keeps_no_other(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("first", "kept", "last")]
    created: list[applying.Created] = []
    await applying.apply(world.client, maps, "default", created.append)
    inner = world.client.delete

    async def delete(resource: ResourceType, name: str, *args: Any, **more: Any) -> None:
        if name == "kept":
            raise Forbidden("you may not")
        await inner(resource, name, *args, **more)

    monkeypatch.setattr(world.client, "delete", delete)
    assert await applying.remove(world.client, created, timeout_s=1.0) == ["ConfigMap kept: you may not"]
    for name in ("first", "last"):
        with pytest.raises(NotFound):
            await world.client.get(CONFIG_MAPS, name, "default")


@pytest.mark.parametrize(("error", "verdict"), [
    (Forbidden("you may not list nodes"), Verdict.INCONCLUSIVE), (ApiError("the store is broken"), Verdict.PASSED)])
async def test_what_nobody_can_watch_any_more_is_not_taken_for_what_did_not_happen(
    error: ApiError, verdict: Verdict, world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "API_LOST_S", 30.0)
    job = asyncio.create_task(world.job(write_experiment(tmp_path)).run_alone())
    await world.daemon.injected.wait()
    inner, asked = way(world).list, asyncio.Event()

    async def refused(resource: ResourceType, *args: Any, **more: Any) -> Any:
        if resource == NODES and not (asked.is_set() and verdict is Verdict.PASSED):
            asked.set()
            raise error
        return await inner(resource, *args, **more)

    monkeypatch.setattr(way(world), "list", refused)
    way(world).cut.set()
    await asked.wait()
    way(world).cut.clear()
    (run,) = (await job).runs
    assert run.verdict is verdict
    assert run.reason == ("nodes cannot be watched any more: you may not list nodes" if run.reason else "")


async def test_what_is_not_watched_from_the_undo_on_is_told_too(
    world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unseen(doer: Doer, observer: Observer, timeout_s: float) -> Undone:
        observer.blind = "pods cannot be watched any more: you may not"
        return await undo_all(doer, observer, timeout_s)

    monkeypatch.setattr(phases, "undo_all", unseen)
    (run,) = (await world.job(write_experiment(tmp_path)).run_alone()).runs
    assert (run.verdict, run.reason) == (Verdict.INCONCLUSIVE, "pods cannot be watched any more: you may not")


async def test_what_may_not_be_watched_at_all_is_told_at_once(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(resource: ResourceType, *args: Any, **more: Any) -> Any:
        raise Forbidden(f"you may not list {resource.plural}")

    monkeypatch.setattr(way(world), "list", refused)
    observer = Observer(world.platform.client, "default", [], silent_engine)
    async with asyncio.timeout(10):
        with pytest.raises(EnvironmentProblem, match="pods cannot be watched any more: you may not list pods"):
            await observer.start(300.0)
    await observer.stop()


async def test_an_api_that_never_lists_is_named_beside_an_engine_that_is_asked(world: RunnerWorld) -> None:
    way(world).cut.set()
    observer = Observer(world.platform.client, "default", [], silent_engine)
    with pytest.raises(EnvironmentProblem, match="does not list pods, nodes"):
        await observer.start(0.1)
    await observer.stop()


async def test_an_engine_that_cannot_be_listened_to_any_more_is_told(world: RunnerWorld) -> None:
    async def broken(start_ns: int) -> AsyncIterator[EngineSeen]:
        await listed.wait()
        raise KeyError("Actor")
        yield

    listed = asyncio.Event()
    observer = Observer(world.platform.client, "default", [], broken)
    await observer.start()
    listed.set()
    assert await observer.wait(lambda: bool(observer.blind), 10.0)
    assert observer.blind == "the engine's events cannot be watched any more: KeyError('Actor')"
    await observer.stop()


async def silent_engine(start_ns: int) -> AsyncIterator[EngineSeen]:
    await asyncio.Event().wait()
    yield EngineSeen(0.0, "die", "default/web", "web", 0)
