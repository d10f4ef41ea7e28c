"""The Docker engine behind a bad line: the catalog of real bugs of such systems (reliability catalog, by row)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from engine_proxy import ENGINE_SOCKET, FAIL, HANG, SWALLOW, EngineProxy, engine_proxy
from engine_rig import Rig, eventually

from testbed.errors import EngineUnavailable, PermissionMissing
from testbed.runtime.docker import DockerEngine
from testbed.runtime.docker_assets import Deadlines
from testbed.runtime.protocol import EngineEvent

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not Path(ENGINE_SOCKET).is_socket(), reason="the engine is not at its usual socket"),
]
_SHORT = Deadlines(call_s=1.0, inspect_s=0.5, start_s=2.0, remove_s=5.0, conflict_s=2.0)


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[EngineProxy]:
    async with engine_proxy(tmp_path) as opened:
        yield opened


@pytest.fixture
async def engine(proxy: EngineProxy) -> AsyncIterator[DockerEngine]:
    opened = DockerEngine(proxy.url, _SHORT)
    await opened.version()
    yield opened
    await opened.close()


class Listener:
    """Collects events until it is closed."""

    def __init__(self, events: AsyncIterator[EngineEvent]) -> None:
        self.heard: list[EngineEvent] = []
        self.task = asyncio.create_task(self._listen(events))

    async def _listen(self, events: AsyncIterator[EngineEvent]) -> None:
        async with aclosing(events) as opened:  # type: ignore[type-var]
            async for event in opened:
                self.heard.append(event)

    def count(self, action: str, container: str = "") -> int:
        return sum(item.action == action and container in ("", item.container_id) for item in self.heard)

    async def until(self, action: str, times: int = 1, container: str = "") -> None:
        async def enough() -> bool:
            return self.count(action, container) >= times

        await eventually(f"{times} x {action}", enough)

    async def close(self) -> None:
        self.task.cancel()
        async with asyncio.timeout(1.0):
            await asyncio.gather(self.task, return_exceptions=True)


async def test_row_10_a_create_without_an_answer_makes_exactly_one(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    spec = docker.spec()
    proxy.rules = [("POST .*/containers/create", SWALLOW)]
    identity = await engine.create(spec)
    assert [state.id for state in await docker.engine.list(docker.labels)] == [identity]
    assert len([line for line in proxy.seen if "/create" in line]) == 1


async def test_row_10_a_create_that_was_never_seen_can_be_asked_for_again(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    spec = docker.spec()
    proxy.rules = [("POST .*/containers/create", SWALLOW), ("GET .*/containers/conformance", HANG)]
    with pytest.raises(EngineUnavailable):
        await engine.create(spec)
    proxy.rules = []
    identity = await engine.create(spec)
    assert [state.id for state in await docker.engine.list(docker.labels)] == [identity]


async def test_row_11_a_start_that_worked_is_no_failure(docker: Rig, engine: DockerEngine, proxy: EngineProxy) -> None:
    identity = await docker.engine.create(docker.spec())
    proxy.rules = [("POST .*/start", FAIL)]
    assert (await engine.start(identity)).running
    other = await docker.engine.create(docker.spec())
    proxy.rules = [("POST .*/start", SWALLOW)]
    assert (await engine.start(other)).running


async def test_row_12_an_outage_is_unknown_and_never_gone(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    state = await docker.started()
    await proxy.cut()
    for call in (engine.list(docker.labels), engine.inspect(state.id), engine.remove(state.id), engine.version()):
        with pytest.raises(EngineUnavailable):
            await call
    await proxy.open()
    assert [item.id for item in await engine.list(docker.labels)] == [state.id]


async def test_row_18_one_hung_container_holds_up_nobody_else(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    hung, *others = [await docker.started() for _ in range(3)]
    assert len(await engine.list(docker.labels)) == 3
    proxy.rules = [(f"/containers/{hung.id}", HANG)]
    stuck = [asyncio.create_task(engine.inspect(hung.id)) for _ in range(20)]
    await asyncio.sleep(0)
    began = time.monotonic()
    for other in others:
        assert (await engine.inspect(other.id)).running
        assert (await engine.exec(other.id, ("true",), timeout_s=10)).exit_code == 0
    assert time.monotonic() - began < _SHORT.call_s, "calls about others waited for the hung ones"
    assert all(isinstance(item, EngineUnavailable) for item in await asyncio.gather(*stuck, return_exceptions=True))


async def test_row_18_a_list_shows_a_hung_container_as_it_was_last_seen(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    hung, other = await docker.started(), await docker.started()
    proxy.rules = [(f"GET .*/containers/{hung.id}", HANG)]
    listed = {state.id: state for state in await engine.list(docker.labels)}
    assert listed.keys() == {hung.id, other.id}
    assert listed[hung.id].running and listed[other.id].pid == other.pid


async def test_rows_1_and_4_a_cut_stream_is_taken_up_again_with_what_was_missed(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    state = await docker.started()
    listener = Listener(engine.events(docker.labels))
    await listener.until("reconnect")
    await proxy.cut()
    await docker.engine.signal(state.id, "SIGKILL")
    await docker.ended(state.id)
    await proxy.open()
    await listener.until("reconnect", 2)
    await listener.until("die", 1, state.id)
    later = await docker.started()
    await listener.until("start", 1, later.id)
    await listener.close()
    assert listener.count("die", state.id) == 1, "an overlap is not told twice"


async def test_row_3_nothing_is_lost_between_the_first_event_and_the_list(docker: Rig, engine: DockerEngine) -> None:
    listener = Listener(engine.events(docker.labels))
    state = await docker.started("sh", "-c", "exit 0")
    await docker.ended(state.id)
    await listener.until("reconnect")
    listed = {item.id for item in await engine.list(docker.labels) if item.status == "exited"}
    assert state.id in listed or listener.count("die", state.id)
    await listener.close()


async def test_row_5_and_6_a_silent_stream_can_be_left_at_once_and_is_reopened(
    docker: Rig, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.runtime.docker_streams._IDLE_S", 0.5)
    proxy.events = False
    engine = DockerEngine(proxy.url, _SHORT)
    listener = Listener(engine.events(docker.labels))
    await listener.until("reconnect", 3)
    proxy.events = True
    state = await docker.started()
    await listener.until("start", 1, state.id)
    await listener.close()
    await engine.close()


async def test_row_7_garbage_and_half_lines_do_not_end_a_stream(
    docker: Rig, engine: DockerEngine, proxy: EngineProxy
) -> None:
    listener = Listener(engine.events(docker.labels))
    for times in range(1, 6):
        await listener.until("reconnect", times)
        proxy.break_off()
    await listener.until("reconnect", 6)
    state = await docker.started()
    await listener.until("start", 1, state.id)
    await listener.close()


async def test_a_socket_that_may_not_be_opened_is_said_so(tmp_path: Path) -> None:
    from testbed.runtime.docker_threads import translated

    error = translated(OSError(13, "Permission denied"))
    assert isinstance(error, PermissionMissing) and "docker" in error.hint
    engine = DockerEngine(f"unix://{tmp_path}/nothing.sock", _SHORT)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine.version()
    await engine.close()


async def test_closing_while_calls_hang_does_not_wait(docker: Rig, proxy: EngineProxy) -> None:
    engine = DockerEngine(proxy.url, Deadlines())
    await engine.version()
    proxy.rules = [("GET", HANG)]
    stuck = asyncio.create_task(engine.list(docker.labels))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    await engine.close()
    assert time.monotonic() - began < 1.0


async def test_row_15_containers_are_born_confined(docker: Rig) -> None:
    from docker.api import APIClient

    state = await docker.started()
    client = APIClient()
    config = client.inspect_container(state.id)["HostConfig"]
    client.close()
    assert config["RestartPolicy"]["Name"] == "no"
    assert config["SecurityOpt"] == ["no-new-privileges"] and not config["Privileged"]
    assert re.fullmatch(r"\d+m", config["LogConfig"]["Config"]["max-size"])
