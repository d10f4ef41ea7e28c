"""The clients of loops: HTTP and in-process speak alike; informers stay true; events are told and counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from http_world import free_port, http_world
from server_world import HandClock, make_registry, pod

from testbed.api import resources as r
from testbed.api.labels import MONOTONIC_NS
from testbed.client.aio import HttpClient
from testbed.client.events import MAX_PENDING, EventRecorder
from testbed.client.informer import Informer
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import Client, ObjectList, PatchType, WatchEvent
from testbed.errors import ApiUnavailable, Conflict, Gone, Invalid, NotFound, TooManyRequests
from testbed.server.registry import Registry

Json = dict[str, Any]


@pytest.fixture(params=["http", "inprocess"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Client, Registry]]:
    """A client of either sort, and the registry behind it."""
    if request.param == "inprocess":
        registry = make_registry()
        yield InProcessClient(registry), registry
    else:
        async with http_world(tmp_path) as world:
            yield world.client, world.registry


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - conditions of many sorts
            await asyncio.sleep(0.001)


async def test_objects_go_and_come_as_json(pair: tuple[Client, Registry]) -> None:
    client, _ = pair
    made = await client.create(r.PODS, pod(), "default")
    assert await client.get(r.PODS, "a", "default") == made
    listed = await client.list(r.PODS, label_selector="app=a", field_selector="metadata.name=a")
    assert listed.items == (made,) and int(listed.resource_version) >= int(made["metadata"]["resourceVersion"])
    made["metadata"]["labels"]["x"] = "y"
    updated = await client.update(r.PODS, made)
    with pytest.raises(Conflict):
        await client.update(r.PODS, made)
    status = await client.patch(r.PODS, "a", {"status": {"phase": "Running"}}, "default", subresource="status")
    assert status["status"]["phase"] == "Running" and status["metadata"]["labels"] == updated["metadata"]["labels"]
    await client.patch(r.PODS, "a", [{"op": "remove", "path": "/metadata/labels/x"}], "default",
                       patch_type=PatchType.JSON)
    with pytest.raises(Conflict):
        await client.delete(r.PODS, "a", "default", uid="another")
    await client.delete(r.PODS, "a", "default", grace_period_s=0)
    with pytest.raises(NotFound):
        await client.get(r.PODS, "a", "default")


async def test_errors_keep_their_kind_and_causes(pair: tuple[Client, Registry]) -> None:
    client, _ = pair
    with pytest.raises(Invalid) as refused:
        await client.create(r.PODS, pod("Bad"), "default")
    assert refused.value.details["causes"][0]["field"] == "metadata.name"
    await client.create(r.PODS, pod(), "default")
    bound = await client.create_subresource(r.PODS, "a", "binding", {"target": {"name": "n1"}}, "default")
    assert bound["status"] == "Success"
    await client.patch(r.PODS, "a", {"status": {"phase": "Running"}}, "default", subresource="status")
    await client.create(r.DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}}, "default")
    with pytest.raises(TooManyRequests):
        await client.create_subresource(r.PODS, "a", "eviction", {"metadata": {"name": "a"}}, "default")


async def test_what_is_handed_out_is_ones_own(pair: tuple[Client, Registry]) -> None:
    client, registry = pair
    made = await client.create(r.PODS, pod(), "default")
    made["metadata"]["name"] = "changed"
    (await client.list(r.PODS)).items[0]["metadata"]["name"] = "changed"
    assert (await client.get(r.PODS, "a", "default"))["metadata"]["name"] == "a"


async def test_a_watch_tells_changes_after_a_version_and_gone_when_too_old(pair: tuple[Client, Registry]) -> None:
    client, registry = pair
    version = (await client.list(r.PODS)).resource_version
    registry.create(r.PODS, pod(), "default")
    registry.delete(r.PODS, "a", "default")
    seen: list[WatchEvent] = []
    async with asyncio.timeout(10), contextlib.aclosing(
        client.watch(r.PODS, resource_version=version)) as events:  # type: ignore[type-var]
        async for event in events:
            seen.append(event)
            if len(seen) == 2:
                break
    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [("ADDED", "a"), ("DELETED", "a")]
    with pytest.raises(Gone):
        async for _ in client.watch(r.PODS, resource_version="999999"):
            pass


async def test_an_api_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    client = HttpClient(f"https://127.0.0.1:{free_port()}", "token", deadline_s=2)
    with pytest.raises(ApiUnavailable, match="does not answer"):
        await client.get(r.PODS, "a", "default")
    with pytest.raises(ApiUnavailable):
        async for _ in client.watch(r.PODS, resource_version="1"):
            pass
    await client.close()


async def test_an_api_that_is_silent_is_unavailable_after_the_deadline() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}", "token", deadline_s=0.1, watch_silence_s=0.1)
    with pytest.raises(ApiUnavailable, match="no answer in time"):
        await client.list(r.PODS)
    with pytest.raises(ApiUnavailable):
        async for _ in client.watch(r.PODS, resource_version="1"):
            pass
    await client.close()
    server.close()


# --- informers


class Flaky(InProcessClient):
    """An API that breaks on order."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.down = False
        self.lists = 0
        self._broken = asyncio.Event()

    def break_now(self) -> None:
        self.down = True
        self._broken.set()

    async def list(self, *arguments: Any, **more: Any) -> ObjectList:
        self.lists += 1
        if self.down:
            raise ApiUnavailable("down")
        return await super().list(*arguments, **more)

    async def watch(self, *arguments: Any, **more: Any) -> AsyncIterator[WatchEvent]:
        stream = super().watch(*arguments, **more)
        while True:
            following = asyncio.ensure_future(anext(stream))
            broken = asyncio.ensure_future(self._broken.wait())
            await asyncio.wait({following, broken}, return_when=asyncio.FIRST_COMPLETED)
            broken.cancel()
            if not following.done():
                following.cancel()
                await asyncio.wait({following})
                self._broken.clear()
                raise ApiUnavailable("broken")
            yield following.result()


async def test_an_informer_stays_true_over_breaks_and_tells_each_difference_once() -> None:
    registry = make_registry()
    client = Flaky(registry)
    registry.create(r.PODS, pod("kept"), "default")
    told: list[tuple[str, str]] = []

    def on_change(old: Json | None, new: Json | None) -> None:
        told.append(("gone" if new is None else "new" if old is None else "changed",
                     (new or old or {})["metadata"]["name"]))

    informer = Informer(client, r.PODS, on_change=on_change)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 5)
    registry.create(r.PODS, pod("a"), "default")
    await until(lambda: "default/a" in informer.items)
    client.break_now()
    await until(lambda: client.lists > 1)
    assert set(informer.items) == {"default/a", "default/kept"}  # unknown is not gone
    assert not informer.connected
    registry.delete(r.PODS, "a", "default")
    registry.create(r.PODS, pod("a"), "default")  # another object of the same name
    registry.create(r.PODS, pod("b"), "default")
    registry.patch(r.PODS, "kept", {"metadata": {"labels": {"x": "y"}}}, "default")
    client.down = False
    await until(lambda: "default/b" in informer.items)
    assert told[:2] == [("new", "kept"), ("new", "a")]
    assert sorted(told[2:]) == [("changed", "kept"), ("gone", "a"), ("new", "a"), ("new", "b")]
    assert told.index(("gone", "a")) < len(told) - 1 - told[::-1].index(("new", "a"))
    assert informer.items == {f"{item.namespace}/{item.name}": item.value for item in registry.list(r.PODS).items}
    task.cancel()


async def test_an_informer_lists_again_when_its_version_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = make_registry()
    client = Flaky(registry)
    informer = Informer(client, r.PODS)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 5)
    for number in range(5000):  # more than a watch may have waiting
        registry.create(r.CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}, "default") if number % 5 else \
            registry.create(r.PODS, pod(f"p{number}"), "default")
    await until(lambda: len(informer.items) == 1000)
    task.cancel()


async def test_a_late_listener_hears_of_what_is_there() -> None:
    registry = make_registry()
    informer = Informer(InProcessClient(registry), r.NAMESPACES)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 5)
    heard: list[str] = []
    informer.subscribe(lambda old, new: heard.append((new or {})["metadata"]["name"]))
    assert "default" in heard and informer.get("default")
    task.cancel()


# --- events


async def test_a_repeated_event_is_counted_on_the_stored_one() -> None:
    registry, clock = make_registry(), HandClock()
    client = InProcessClient(registry)
    subject = registry.create(r.PODS, pod(), "default").fresh()
    recorder = EventRecorder(client, "kubelet", clock, host="n1")
    for number in range(3):
        recorder.event(subject, "Warning", "Unhealthy", "no answer", monotonic_ns=100 + number,
                       field_path="spec.containers{main}")
        clock.advance(2)
    recorder.event(subject, "Normal", "Started", "Started container main")
    await recorder.flush()
    events = {item.value["reason"]: item.value for item in registry.list(r.EVENTS, "default").items}
    repeated = events["Unhealthy"]
    assert (repeated["count"], repeated["type"], events["Started"]["count"]) == (3, "Warning", 1)
    assert repeated["metadata"]["annotations"][MONOTONIC_NS] == "102"
    assert repeated["eventTime"] == "2026-01-01T12:00:00.000000Z"  # the first one's: kubectl counts from it
    assert (repeated["firstTimestamp"], repeated["lastTimestamp"]) == ("2026-01-01T12:00:00Z", "2026-01-01T12:00:04Z")
    assert repeated["involvedObject"]["uid"] == subject["metadata"]["uid"]
    assert repeated["source"] == {"component": "kubelet", "host": "n1"}


async def test_an_event_whose_answer_was_lost_is_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.client.events.RETRY_S", 0.001)
    registry = make_registry()
    client = InProcessClient(registry)
    real, lost = client.create, []

    async def create(*arguments: Any, **more: Any) -> Json:
        made = await real(*arguments, **more)
        if not lost:
            lost.append(made)
            raise ApiUnavailable("the answer was lost")
        return made

    client.create = create  # type: ignore[method-assign]
    recorder = EventRecorder(client, "kubelet", HandClock())
    subject = registry.create(r.PODS, pod(), "default").fresh()
    recorder.event(subject, "Warning", "ContainerDied", "exit code 137", monotonic_ns=5)
    recorder.event(subject, "Normal", "Pulled", "in the same tick", monotonic_ns=5)
    await recorder.flush()
    assert sorted(item.value["reason"] for item in registry.list(r.EVENTS, "default").items) == [
        "ContainerDied", "Pulled"]
    assert lost


async def test_recording_never_blocks_and_never_fails() -> None:
    registry = make_registry()
    client = Flaky(registry)

    async def refuse(*arguments: Any, **more: Any) -> Json:
        raise ApiUnavailable("down")

    client.create = refuse  # type: ignore[method-assign]
    recorder = EventRecorder(client, "x", HandClock())
    subject = pod() | {"metadata": {"name": "a", "namespace": "default"}}
    for number in range(MAX_PENDING + 50):
        recorder.event(subject, "Normal", "Told", str(number))
    assert recorder.dropped == 50
    await recorder.close()


async def test_an_event_in_a_namespace_that_is_gone_is_given_up() -> None:
    registry = make_registry()
    recorder = EventRecorder(InProcessClient(registry), "x", HandClock())
    recorder.event({"kind": "Pod", "metadata": {"name": "a", "namespace": "nowhere"}}, "Normal", "Told", "x")
    recorder.event({"kind": "Node", "metadata": {"name": "n"}}, "Normal", "Told", "x")
    await recorder.flush()
    assert [item.namespace for item in registry.list(r.EVENTS).items] == ["default"]


async def test_calls_at_once_share_one_session() -> None:
    """Credentials may have to be waited for, and each call of the first moment waits."""
    class Slow(HttpClient):
        async def _tls(self) -> bool:
            await asyncio.sleep(0)
            return True

    client = Slow("http://127.0.0.1:9", "none")
    sessions = await asyncio.gather(*(client._open() for _ in range(5)))
    assert len(set(map(id, sessions))) == 1
    await client.close()
    assert all(session.closed for session in sessions)
