"""The live feed over the real HTTP face: whole, then changes; resumed exactly; bounded; ended cleanly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.page_world import PageWorld, page_world, run_status

from testbed.client.live_feed import EventParser, LiveFeed, Message, applied
from testbed.errors import ApiUnavailable, TooManyRequests
from testbed.server import live as module
from testbed.server.live import Live


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with page_world(tmp_path) as world:
        yield world


class Reader:
    """One feed, read message by message."""

    def __init__(self, world: PageWorld, answer: aiohttp.ClientResponse) -> None:
        self.world, self.answer = world, answer
        self._parser, self._waiting = EventParser(), list[Message]()

    async def next(self) -> Message:
        while not self._waiting:
            chunk = await asyncio.wait_for(self.answer.content.readany(), 10)
            if not chunk:
                raise EOFError
            self._waiting += self._parser.feed(chunk.decode())
        return self._waiting.pop(0)

    async def until(self, part: str, key: str) -> tuple[Any, Message]:
        """The value that a part's key changes to next."""
        while True:
            message = await self.next()
            value = json.loads(message.data)
            if message.event == "change" and (value["part"], value["key"]) == (part, key):
                return value["value"], message


@asynccontextmanager
async def reading(world: PageWorld, last: str = "") -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {world.token}", **({"Last-Event-ID": last} if last else {})}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls())) as session, session.get(
            f"{world.url}/testbed/v1/live", headers=headers) as answer:
        assert answer.status == 200
        yield Reader(world, answer)


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited 5 s in vain")


async def test_a_feed_begins_with_the_whole_and_goes_on_with_changes(world: PageWorld) -> None:
    async with reading(world) as reader:
        first = await reader.next()
        whole = json.loads(first.data)
        assert first.event == "reset" and first.id == str(world.registry.store.revision)
        assert list(whole) == ["cluster", "nodes", "pods", "services", "workloads", "faults", "experiments", "events"]
        assert whole["cluster"]["name"] == "t" and len(whole["pods"]) == 6
        assert whole["services"]["default/web"]["ready"] == 6
        world.kill("web-1")
        world.node("node-2", ready="Unknown")
        assert (await reader.until("pods", "default/web-1"))[0] is None
        assert (await reader.until("nodes", "node-2"))[0]["ready"] == "Unknown"


async def test_many_readers_get_the_same_and_it_is_made_once(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    look = module.Sketch.look
    monkeypatch.setattr(module.Sketch, "look", lambda self: made.append(1) or look(self))
    async with reading(world) as one, reading(world) as two, reading(world) as three:
        world.kill("web-1")
        found = [(await reader.until("pods", "default/web-1"))[1] for reader in (one, two, three)]
    assert found[0] == found[1] == found[2]
    assert len(made) < 30  # ten a second, however many read


async def test_who_comes_again_gets_exactly_what_it_missed(world: PageWorld) -> None:
    async with reading(world) as reader:
        await reader.next()
        world.kill("web-1")
        _, seen = await reader.until("pods", "default/web-1")
        while not seen.id:
            seen = await reader.next()
    async with reading(world) as other:
        await other.next()
        world.kill("web-2")
        await other.until("pods", "default/web-2")
        async with reading(world, seen.id) as reader:
            message = await reader.next()
            assert message.event == "change" and json.loads(message.data)["key"] == "default/web-2"
            world.kill("web-3")
            assert json.loads((await reader.next()).data)["key"] == "default/web-3"


@pytest.mark.parametrize("last", ["1", "99999999", "x", "-1", "1" * 40, "٣"])
async def test_who_comes_from_too_long_ago_or_elsewhere_gets_the_whole(world: PageWorld, last: str) -> None:
    async with reading(world, last) as reader:
        assert (await reader.next()).event == "reset"


async def test_what_is_kept_for_those_who_come_again_has_an_end(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT_BATCHES", 2)
    async with reading(world) as reader:
        first = await reader.next()
        for index in range(1, 5):
            world.kill(f"web-{index}")
            await reader.until("pods", f"default/web-{index}")
    async with reading(world, first.id) as reader:
        message = await reader.next()
        assert message.event == "reset" and len(json.loads(message.data)["pods"]) == 2


async def test_a_batch_has_its_id_at_the_end_so_that_none_is_half_seen(world: PageWorld) -> None:
    async with reading(world) as reader:
        await reader.next()
        world.kill("web-1")
        world.kill("web-2")
        first, second = await reader.next(), await reader.next()
        assert (first.id, second.id) == ("", str(world.registry.store.revision))


async def test_only_reading_it_opens_a_feed(world: PageWorld) -> None:
    headers = {"Authorization": f"Bearer {world.token}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls()), headers=headers) as session:
        for method, path, expected in (("HEAD", "live", 405), ("POST", "live", 405), ("GET", "live/x", 404)):
            async with session.request(method, f"{world.url}/testbed/v1/{path}") as answer:
                assert answer.status == expected


async def test_a_run_that_grows_is_followed(world: PageWorld) -> None:
    async with reading(world) as reader:
        await reader.next()
        for second in (1, 6):
            world.experiment("crash-1", run_status(second))
            value, _ = await reader.until("experiments", "default/crash-1")
            assert len(value["load"][0]["recent"]) == second


async def test_a_silent_cluster_is_heard_to_live(world: PageWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    async with reading(world) as reader:
        await reader.next()
        assert (await asyncio.wait_for(reader.answer.content.readany(), 5)).startswith(b": ")


async def test_a_reader_that_falls_behind_is_given_the_whole_again() -> None:
    feed = module.Feed()
    for _ in range(module.MAX_WAITING_BYTES // 1000 + 2):
        feed.offer("x" * 1000)
    feed.offer("after")
    assert feed.behind and feed.take() == "" and not feed.behind
    feed.offer("later")
    assert feed.take() == "later"


async def test_a_reader_that_takes_nothing_holds_nobody_up(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 50_000)
    async with reading(world), reading(world) as reader:
        await reader.next()
        for second in range(1, 60):
            world.experiment("crash-1", run_status(60) | {"reason": "x" * 20_000 + str(second)})
            value, _ = await reader.until("experiments", "default/crash-1")
            assert value["reason"].endswith(f"x{second}")


async def test_only_so_many_feeds_are_open_at_once(world: PageWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FEEDS", 1)
    async with reading(world) as reader:
        await reader.next()
        with pytest.raises(TooManyRequests, match="1 feeds are open already"):
            async for _ in LiveFeed(world.instance).messages():
                pass
    for _ in range(100):  # the server sees that one is gone when it next writes
        world.event("Pod", "web-1", "Killing", "")
        await asyncio.sleep(0.05)
        try:
            async with reading(world) as reader:
                assert (await reader.next()).event == "reset"
                return
        except AssertionError:
            continue
    raise AssertionError("no place became free")


async def test_feeds_end_cleanly_with_the_control_plane_and_go_on_with_the_next(tmp_path: Path) -> None:
    world = PageWorld(tmp_path)
    world.fill()
    feed = LiveFeed(world.instance)
    picture: dict[str, Any] = {}

    async def follow() -> None:
        async for messages in feed.messages():
            for message in messages:
                picture.update(applied(picture, message))

    async with world.serving():
        following = asyncio.create_task(follow())
        await eventually(lambda: bool(picture))
    with pytest.raises(ApiUnavailable, match="has ended the feed"):
        await asyncio.wait_for(following, 5)
    with pytest.raises(ApiUnavailable, match="does not answer"):
        await follow()
    world.kill("web-1")
    async with world.serving():
        following = asyncio.create_task(follow())
        await eventually(lambda: "default/web-1" not in picture["pods"])
        following.cancel()


async def test_a_feed_ends_with_the_store(world: PageWorld) -> None:
    async with reading(world) as reader:
        await reader.next()
        world.registry.store.end_watches()
        with pytest.raises(EOFError):
            while True:
                await reader.next()


async def test_while_nobody_looks_nothing_is_followed(world: PageWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.0)
    live = Live(world.registry, lambda: {})  # type: ignore[typeddict-item,return-value]
    running = asyncio.create_task(live.run())
    await asyncio.sleep(0.05)
    followers = world.registry.store._kinds["pods"].subscriptions
    before = len(followers)
    live._open()
    assert len(followers) == before + 1
    await eventually(lambda: len(followers) == before)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- messages


@pytest.mark.parametrize("pieces", [
    ["event: change\ndata: {}\nid: 7\n\n"], ["event: ch", "ange\ndata: {}", "\nid: 7\n", "\n"],
    [": nothing new\n\nevent: change\n", "data: {}\nid: 7\n\n: and", " more\n\n"],
    list("event:change\ndata:{}\nid:7\n\n"),
])
def test_messages_are_the_same_however_they_are_cut(pieces: list[str]) -> None:
    parser = EventParser()
    assert [message for piece in pieces for message in parser.feed(piece)] == [Message("change", "{}", "7")]


def test_changes_make_the_picture_and_leave_the_one_before_as_it_was() -> None:
    first = applied({}, Message("reset", json.dumps({"pods": {"a": 1, "b": 2}, "nodes": {}})))
    second = applied(first, Message("change", json.dumps({"part": "pods", "key": "a", "value": 3})))
    third = applied(second, Message("change", json.dumps({"part": "pods", "key": "b", "value": None})))
    assert first["pods"] == {"a": 1, "b": 2}
    assert list(second["pods"].items()) == [("b", 2), ("a", 3)]
    assert third["pods"] == {"a": 3} and third["nodes"] == {}
    assert applied(third, Message("something new", "{}")) == third
