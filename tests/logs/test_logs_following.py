"""Logs of many containers, read once or followed: whatever restarts and breaks off, every line is told, and once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import LogWorld

from testbed.cli.log_choice import Wanted, life_of, moment_text, options, sources_of
from testbed.cli.log_following import Following
from testbed.cli.log_prefixes import Source
from testbed.cli.log_reading import pods_of, read_all
from testbed.errors import NotFound
from testbed.simulation.loop import VirtualLoop, run_virtual

ALL = Wanted("default", "app=web", every=True)
SECOND = 10**9


def pod(**more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-1", "namespace": "default", **more},
            "spec": {"initContainers": [{"name": "first"}], "containers": [{"name": "web"}, {"name": "side"}]},
            "status": {"containerStatuses": [{"name": "web", "containerID": "docker://a", "state": {"running": {}}},
                                             {"name": "side", "state": {"waiting": {}}}],
                       "initContainerStatuses": [{"name": "first", "containerID": "docker://b",
                                                  "state": {"terminated": {}}}]}}


@pytest.mark.parametrize(("wanted", "annotations", "names"), [
    (Wanted("default"), {}, ["web"]),
    (Wanted("default"), {"kubectl.kubernetes.io/default-container": "side"}, ["side"]),
    (Wanted("default"), {"kubectl.kubernetes.io/default-container": "none"}, ["web"]),
    (Wanted("default", container="first"), {}, ["first"]),
    (Wanted("default", container="none"), {}, []),
    (Wanted("default", every=True), {}, ["first", "web", "side"]),
])
def test_the_containers_that_are_meant(wanted: Wanted, annotations: dict[str, str], names: list[str]) -> None:
    assert [source.container for source in sources_of(pod(annotations=annotations), wanted)] == names


@pytest.mark.parametrize(("name", "life"), [
    ("web", ("docker://a", True)), ("side", ("", False)), ("first", ("docker://b", False)), ("none", ("", False))])
def test_a_container_is_known_by_the_engines_id(name: str, life: tuple[str, bool]) -> None:
    assert life_of(pod(), name) == life


def test_a_request_says_what_is_wanted_and_no_more() -> None:
    source = Source("default", "web-1", "web")
    assert options(source) == {"container": "web", "timestamps": "true"}
    assert options(source, since_ns=SECOND + 2_000_999, tail=0, follow=True, previous=True) == {
        "container": "web", "timestamps": "true", "follow": "true", "previous": "true", "tailLines": "0",
        "sinceTime": "1970-01-01T00:00:01.002000Z"}
    assert moment_text(0) == "1970-01-01T00:00:00.000000Z"


# --- read once

def in_world(body: Callable[[LogWorld], Awaitable[Any]]) -> Any:
    async def main(loop: VirtualLoop) -> Any:
        return await body(LogWorld(loop))

    return run_virtual(main)


async def read(world: LogWorld, wanted: Wanted, max_lines: int = 100) -> tuple[list[str], list[str]]:
    newest, problems = await read_all(world, await pods_of(world, wanted), wanted, max_lines)
    return [text for _, _, text in newest.in_order()], problems


def test_all_containers_of_all_pods_are_merged_with_what_was_before_a_restart() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1", "web", "side")
        await world.run_pod("web-2")
        await world.run_pod("other-1", app="other")
        world.write("other-1")
        wanted = [world.write(name, container) if not await asyncio.sleep(0.01) else ""
                  for name, container in (("web-1", "web"), ("web-2", "web"), ("web-1", "side"))]
        await world.restart("web-2")
        wanted.append(world.write("web-2"))
        assert await read(world, ALL) == (wanted, [])
        assert await read(world, Wanted("default", "app=web", tail=10)) == ([wanted[0], wanted[3]], [])
        assert (await read(world, ALL, max_lines=2))[0] == wanted[-2:]

    in_world(body)


def test_what_cannot_be_read_is_named_and_hides_nothing_else() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1")
        line = world.write("web-1")
        found = await read(world, ALL)
        pods = await pods_of(world, ALL)
        world.down = True
        newest, problems = await read_all(world, pods, ALL, 10)
        assert found == ([line], []) and newest.in_order() == []
        assert problems == ["web-1 web: the API does not answer"] * 2

    in_world(body)


def test_a_pod_that_there_is_not_is_named() -> None:
    async def body(world: LogWorld) -> None:
        with pytest.raises(NotFound):
            await pods_of(world, Wanted("default", pod="none"))

    in_world(body)


# --- followed

async def followed(
    world: LogWorld, wanted: Wanted, story: Callable[[], Awaitable[None]],
) -> tuple[list[str], list[str]]:
    """What is told while the story goes on, and what is said to the person."""
    told: list[str] = []
    said: list[str] = []
    running = asyncio.create_task(Following(world, wanted, lambda line: told.append(line[2]), said.append).run())
    await story()
    await asyncio.sleep(10)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return told, said


def test_new_pods_and_new_lives_are_picked_up() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1")
        world.write("web-1")

        async def story() -> None:
            await asyncio.sleep(1)
            world.write("web-1")
            await world.restart("web-1")
            world.write("web-1")
            await asyncio.sleep(1)
            await world.run_pod("web-2")
            world.write("web-2")
            await world.run_pod("other-1", app="other")
            world.write("other-1")
            await asyncio.sleep(1)
            await world.remove_pod("web-1")
            await world.run_pod("web-1")
            world.write("web-1")

        told, said = await followed(world, ALL, story)
        assert told == [text for text in world.written if "other" not in text] and said == []

    in_world(body)


def test_only_the_last_lines_of_what_was_there_and_all_of_what_comes() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1")
        for _ in range(30):
            world.write("web-1")

        async def story() -> None:
            await asyncio.sleep(1)
            await world.run_pod("web-2")
            for _ in range(30):
                world.write("web-2")

        told, _ = await followed(world, Wanted("default", "app=web", tail=10), story)
        assert told == world.written[20:]

    in_world(body)


def test_a_named_pods_logs_end_with_it() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1")
        world.write("web-1")
        told: list[str] = []
        running = asyncio.create_task(Following(
            world, Wanted("default", pod="web-1", every=True), lambda line: told.append(line[2]), told.append).run())
        await asyncio.sleep(1)
        last = world.write("web-1")
        await world.remove_pod("web-1")
        async with asyncio.timeout(10):
            await running
        assert told == world.written and told[-1] == last

    in_world(body)


def test_an_api_that_is_away_is_said_once() -> None:
    async def body(world: LogWorld) -> None:
        await world.run_pod("web-1", "web", "side")

        async def story() -> None:
            await asyncio.sleep(1)
            world.break_off(down=True)
            await asyncio.sleep(20)
            world.break_off(down=False)

        _, said = await followed(world, ALL, story)
        assert said == ["the API's answer broke off; going on when that is over",
                        "the API does not answer; going on when that is over"]

    in_world(body)


STEPS = st.lists(st.tuples(
    st.sampled_from(["write", "write", "write", "restart", "break", "down", "up", "remove", "run"]),
    st.sampled_from(["web-1", "web-2", "web-3"]), st.sampled_from([0.0, 0.0, 0.0003, 0.05, 3.0])), max_size=40)


@settings(deadline=None, max_examples=150)
@given(steps=STEPS)
def test_whatever_restarts_and_breaks_off_every_line_is_told_once(steps: list[tuple[str, str, float]]) -> None:
    """The engine keeps a container's last life and the one before: no more than one restart comes between two readings,
    and a pod is removed only when it can be read."""
    async def body(world: LogWorld) -> None:
        alive: set[str] = set()

        async def story() -> None:
            for act, name, pause_s in steps:
                if act == "write" and name in alive:
                    world.write(name)
                elif act == "restart" and name in alive:
                    if not world.down:
                        await asyncio.sleep(5)
                        await world.restart(name)
                elif act in ("break", "down", "up"):
                    world.break_off(down=act == "down" or (act == "break" and world.down))
                elif act == "remove" and name in alive and not world.down:
                    await asyncio.sleep(5)
                    await world.remove_pod(name)
                    alive.discard(name)
                elif act == "run" and name not in alive:
                    await world.run_pod(name)
                    alive.add(name)
                await asyncio.sleep(pause_s)
            world.break_off(down=False)

        told, _ = await followed(world, ALL, story)
        assert sorted(told) == sorted(world.written)
        for name in ("web-1", "web-2", "web-3"):
            of_one = [text for text in told if text.startswith(name)]
            assert of_one == [text for text in world.written if text.startswith(name)]

    in_world(body)
