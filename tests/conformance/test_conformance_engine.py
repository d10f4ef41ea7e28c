"""What every engine does: one body, run on the simulated and on the Docker engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest
from engine_rig import Rig, eventually

from testbed.errors import EngineError, NameConflict, NoSuchContainer, NoSuchImage
from testbed.runtime.containers import Limits, Mount
from testbed.runtime.protocol import EngineEvent


async def test_a_container_runs_with_its_labels_pid_and_name(rig: Rig) -> None:
    spec = rig.spec()
    identity = await rig.engine.create(spec)
    created = await rig.engine.inspect(spec.name)
    assert (created.id, created.status, created.pid) == (identity, "created", 0)
    state = await rig.engine.start(identity)
    assert state.status == "running" and state.pid > 1 and state.started_at is not None
    assert state.labels == rig.labels and state.name == spec.name and state.image == spec.image
    assert await rig.engine.list(rig.labels) == (state,)


async def test_starting_twice_is_harmless(rig: Rig) -> None:
    first = await rig.started()
    assert (await rig.engine.start(first.id)).pid == first.pid


async def test_an_exit_code_is_kept(rig: Rig) -> None:
    state = await rig.ended((await rig.started("sh", "-c", "exit 3")).id)
    assert (state.exit_code, state.running, state.oom_killed) == (3, False, False)
    assert state.finished_at is not None and state.pid == 0
    assert [item.exit_code for item in await rig.engine.list(rig.labels)] == [3]
    assert await rig.engine.list(rig.labels, running_only=True) == ()


async def test_a_container_that_has_ended_can_be_started_again(rig: Rig) -> None:
    first = await rig.started("sh", "-c", "exit 1")
    await rig.ended(first.id)
    again = await rig.engine.start(first.id)
    assert again.started_at is not None and first.started_at is not None and again.started_at > first.started_at


async def test_what_is_not_there_is_told_apart(rig: Rig) -> None:
    with pytest.raises(NoSuchContainer):
        await rig.engine.inspect("0" * 64)
    with pytest.raises(NoSuchContainer):
        await rig.engine.start("no-such-container")
    with pytest.raises(NoSuchImage):
        await rig.engine.image("no-such-image:1")
    with pytest.raises(NoSuchImage):
        await rig.engine.create(rig.spec(image="no-such-image:1"))
    with pytest.raises(EngineError):
        await rig.started(network="container:" + "0" * 64)
    await rig.engine.remove("no-such-container")
    await rig.engine.signal("no-such-container", "SIGTERM")


async def test_a_name_is_given_once(rig: Rig) -> None:
    spec = rig.spec()
    await rig.engine.create(spec)
    with pytest.raises(NameConflict):
        await rig.engine.create(spec)


async def test_row_8_a_name_can_be_taken_again_while_its_last_holder_is_being_removed(rig: Rig) -> None:
    spec = rig.spec()
    for _ in range(4):
        removed = await rig.engine.create(spec)
        removal = asyncio.create_task(rig.engine.remove(removed))
        await asyncio.sleep(0)
        while True:  # as an agent does: a conflict is tried again
            try:
                made = await rig.engine.create(spec)
                break
            except NameConflict:
                await asyncio.sleep(0.01)
        await removal
        assert made != removed
        await rig.engine.remove(made)


async def test_what_is_removed_is_not_listed_any_more(rig: Rig) -> None:
    state = await rig.started()
    await asyncio.gather(rig.engine.remove(state.id), rig.engine.remove(state.id))
    assert await rig.engine.list(rig.labels) == ()
    with pytest.raises(NoSuchContainer):
        await rig.engine.inspect(state.id)


async def test_a_joined_container_needs_its_sandbox(rig: Rig) -> None:
    sandbox = await rig.started()
    joined = await rig.started(network=f"container:{sandbox.id}")
    assert joined.running
    waiting = await rig.engine.create(rig.spec(network=f"container:{sandbox.id}"))
    await rig.engine.signal(sandbox.id, "SIGKILL")
    assert (await rig.ended(sandbox.id)).exit_code == 137
    with pytest.raises(EngineError):
        await rig.engine.start(waiting)


async def test_signals_reach_the_process(rig: Rig) -> None:
    state = await rig.started(init=True)
    await rig.engine.signal(state.id, "SIGTERM")
    assert (await rig.ended(state.id)).exit_code == 143
    await rig.engine.signal(state.id, "SIGTERM")


async def test_pause_and_unpause(rig: Rig) -> None:
    state = await rig.started()
    await rig.engine.pause(state.id)
    await rig.engine.pause(state.id)
    paused = await rig.engine.inspect(state.id)
    assert paused.status == "paused" and paused.running
    with pytest.raises(EngineError):
        await rig.engine.exec(state.id, ("true",), timeout_s=5)
    await rig.engine.unpause(state.id)
    await rig.engine.unpause(state.id)
    assert (await rig.engine.inspect(state.id)).status == "running"


async def test_row_24_a_paused_container_can_be_removed(rig: Rig) -> None:
    state = await rig.started()
    await rig.engine.pause(state.id)
    await rig.engine.remove(state.id)
    assert await rig.engine.list(rig.labels) == ()


async def test_exec_gives_code_and_output(rig: Rig) -> None:
    state = await rig.started(env=(("COLOUR", "blue"),))
    assert (await rig.engine.exec(state.id, ("printenv", "COLOUR"), timeout_s=10)).output == b"blue\n"
    result = await rig.engine.exec(state.id, ("sh", "-c", "echo hello; exit 4"), timeout_s=10)
    assert (result.exit_code, result.output) == (4, b"hello\n")
    long = await rig.engine.exec(state.id, ("echo", "x" * 500), timeout_s=10, limit_bytes=100)
    assert long.output == b"x" * 100
    with pytest.raises(EngineError):
        await rig.engine.exec(state.id, ("no-such-program",), timeout_s=10)
    with pytest.raises(TimeoutError):
        await rig.engine.exec(state.id, ("sleep", "1000"), timeout_s=0.5)


async def test_exec_needs_a_running_container(rig: Rig) -> None:
    with pytest.raises(NoSuchContainer):
        await rig.engine.exec("no-such-container", ("true",), timeout_s=5)
    state = await rig.started("sh", "-c", "exit 0")
    await rig.ended(state.id)
    with pytest.raises(EngineError):
        await rig.engine.exec(state.id, ("true",), timeout_s=5)


async def test_an_interactive_exec_takes_input(rig: Rig) -> None:
    state = await rig.started()
    async with rig.engine.exec_stream(state.id, ("cat",), stdin=True, tty=False) as running:
        await running.write(b"hello")
        await running.close_stdin()
        output = [part async for part in running.output()]
        assert output == [(1, b"hello")]
        assert await running.exit_code() == 0


async def test_logs_of_one_that_has_ended(rig: Rig) -> None:
    state = await rig.started("sh", "-c", "echo one; echo two; exit 0")
    await rig.ended(state.id)
    assert b"".join([line async for line in rig.engine.logs(state.id)]).splitlines() == [b"one", b"two"]
    followed = b"".join([line async for line in rig.engine.logs(state.id, follow=True)])
    assert followed.splitlines() == [b"one", b"two"]
    with pytest.raises(NoSuchContainer):
        [line async for line in rig.engine.logs("no-such-container")]


async def test_limits_and_usage(rig: Rig) -> None:
    state = await rig.started(limits=Limits(memory_bytes=64 << 20, pids=50))
    await rig.engine.update_limits(state.id, Limits(cpu_quota_us=50_000, memory_bytes=64 << 20))
    usage = await rig.engine.usage(state.id)
    assert usage.memory_bytes > 0 and usage.cpu_seconds >= 0


async def test_networks(rig: Rig) -> None:
    third = int(rig.id[:2], 16)  # its own range: several checkouts may test on one engine
    subnet = f"10.254.{third}.0/24"
    identity = await rig.engine.create_network(
        f"conformance-{rig.id}", subnet=subnet, gateway=f"10.254.{third}.1", bridge="", labels=rig.labels
    )
    found = await rig.engine.networks(rig.labels)
    assert [(item.id, item.subnets) for item in found] == [(identity, (subnet,))]
    with pytest.raises(EngineError):
        await rig.engine.create_network(
            f"conformance-{rig.id}-2", subnet=subnet, gateway=f"10.254.{third}.1", bridge="", labels=rig.labels
        )
    state = await rig.started(network=f"conformance-{rig.id}", address=f"10.254.{third}.9")
    assert state.address == f"10.254.{third}.9"
    with pytest.raises(EngineError):
        await rig.engine.remove_network(identity)
    await rig.engine.remove(state.id)
    await rig.engine.remove_network(identity)
    await rig.engine.remove_network(identity)


async def test_volumes_outlive_containers_and_only_ours_are_removed(rig: Rig) -> None:
    name, foreign = f"conformance-{rig.id}", f"conformance-{rig.id}-foreign"
    made = await rig.engine.create_volume(name, labels=rig.labels)
    try:
        assert await rig.engine.create_volume(name, labels=rig.labels) == made
        assert await rig.engine.volumes(rig.labels) == (made,)
        with pytest.raises(NameConflict):
            await rig.engine.create_volume(name, labels={**rig.labels, "testbed.io/other": "1"})
        first = await rig.ended((await rig.started("sh", "-c", "echo kept > /data/x", mounts=(
            Mount("/data", name),), user="0")).id)
        await rig.engine.remove(first.id)
        reader = await rig.started(mounts=(Mount("/data", name, read_only=True),), user="0")
        told = await rig.engine.exec(reader.id, ("sh", "-c", "cat /data/x"), timeout_s=5)
        assert told.output.strip() == b"kept"
        refused = await rig.engine.exec(reader.id, ("sh", "-c", "echo no > /data/x"), timeout_s=5)
        assert refused.exit_code != 0
        with pytest.raises(EngineError):
            await rig.engine.remove_volume(name, labels=rig.labels)
        await rig.engine.remove(reader.id)
        await rig.engine.create_volume(foreign, labels={})
        with pytest.raises(EngineError, match="not ours"):
            await rig.engine.remove_volume(foreign, labels=rig.labels)
    finally:
        for left in await rig.engine.list(rig.labels):
            await rig.engine.remove(left.id)
        await rig.engine.remove_volume(name, labels=rig.labels)
        await rig.engine.remove_volume(foreign, labels={})
    await rig.engine.remove_volume(name, labels=rig.labels)
    assert not await rig.engine.volumes(rig.labels)


async def _next(events: AsyncIterator[EngineEvent], action: str) -> EngineEvent:
    async with asyncio.timeout(20):
        async for event in events:
            if event.action == action:
                return event
    raise AssertionError("the stream of events has ended")


async def test_events_follow_a_life(rig: Rig) -> None:
    async with aclosing(rig.engine.events(rig.labels)) as events:
        first = await anext(events)
        assert (first.action, first.container_id) == ("reconnect", "")
        state = await rig.started("sh", "-c", "exit 5")
        assert (await _next(events, "start")).container_id == state.id
        died = await _next(events, "die")
        assert (died.container_id, died.exit_code) == (state.id, 5)
        assert died.labels.items() >= rig.labels.items()
        await rig.engine.remove(state.id)
        assert (await _next(events, "destroy")).container_id == state.id


async def test_events_of_strangers_are_not_heard(rig: Rig) -> None:
    heard: list[str] = []

    async def listen() -> None:
        async with aclosing(rig.engine.events(rig.labels)) as events:
            async for event in events:
                heard.append(event.container_id)

    listening = asyncio.create_task(listen())
    stranger = await rig.engine.create(replace(rig.spec(), labels={"testbed.io/instance": rig.id + "x"}))
    rig.others.append(stranger)
    ours = (await rig.started()).id

    async def heard_ours() -> bool:
        return ours in heard

    await eventually("our own start is heard", heard_ours)
    assert stranger not in heard
    listening.cancel()
    async with asyncio.timeout(1.0):
        await asyncio.gather(listening, return_exceptions=True)
