"""A node's cable: it relays, goes silent without a FIN or RST, heals by itself, and remembers being cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.machines import cables
from testbed.machines.cable import relay, serve_control
from testbed.machines.cable_state import Cable


@dataclass
class Wire:
    """An echo server behind a cable. ``served``: connections that the server has seen."""

    cable: Cable
    port: int
    served: list[asyncio.StreamWriter]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    served: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
        writer.close()

    target, listen = free_port(), free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", target)
    cable = Cable()
    relaying = await relay(cable, listen, target)
    yield Wire(cable, listen, served)
    for end in tuple(cable.ends):
        end.abort()
    relaying.close()
    server.close()


async def silent(reader: asyncio.StreamReader, for_s: float = 0.15) -> bool:
    """Whether nothing arrives: no byte, no end, no reset."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await reader.read(1)
            return False
    return True


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_relays_both_directions_and_half_closes(wire: Wire) -> None:
    reader, writer = await wire.connect()
    payload = b"x" * 500_000
    writer.write(payload)
    assert await reader.readexactly(len(payload)) == payload
    writer.write_eof()
    assert await reader.read() == b"bye"
    writer.close()


async def test_bytes_that_come_before_the_far_side_is_connected_are_not_lost(wire: Wire) -> None:
    async def once(number: int) -> bytes:
        reader, writer = await wire.connect()
        payload = b"%d " % number * 1000
        writer.write(payload)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer if answer == payload + b"bye" else b""

    assert all(await asyncio.gather(*(once(number) for number in range(100))))


async def test_refused_target_ends_the_connection() -> None:
    cable, port = Cable(), free_port()
    server = await relay(cable, port, free_port())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await ended(reader)
    writer.close()
    server.close()


async def test_cut_silences_open_connections_and_heal_ends_them(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    wire.cable.set(cut=True)
    writer.write(b"b")
    wire.served[0].write(b"c")
    assert await silent(reader)
    wire.cable.heal()
    assert await ended(reader)


async def test_end_of_one_side_is_not_heard_through_a_cut(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(b"a")
    await reader.readexactly(1)
    wire.cable.set(cut=True)
    wire.served[0].transport.abort()
    assert await silent(reader)


async def test_cut_in_one_direction_passes_the_other_on(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    wire.cable.set(cut=True, direction="to")
    writer.write(b"b")
    assert await silent(reader)  # the echo: "b" did not arrive
    wire.served[0].write(b"c")
    assert await reader.readexactly(1) == b"c"
    again, other = await wire.connect()
    other.write(b"hello")
    assert await silent(again)  # half a handshake is none
    assert len(wire.served) == 1
    wire.cable.heal()
    assert await ended(reader)
    assert await ended(again)


async def test_answers_are_lost_while_requests_arrive(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    wire.cable.set(cut=True, direction="from")
    writer.write(b"b")
    assert await silent(reader)
    writer.close()  # the end of what the client sends arrives: the server says goodbye, unheard
    async with asyncio.timeout(5):
        await wire.served[0].wait_closed()


async def test_what_several_tell_adds_up_and_each_takes_back_its_own(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    wire.cable.set(cut=True, key="one")
    wire.cable.set(cut=True, direction="to", key="two")
    wire.cable.set(cut=False, delay_s=0.05, key="three")
    wire.cable.heal("one")
    assert wire.cable.cut
    assert await ended(reader)  # what was silent from the API's side has lost bytes
    wire.cable.heal("two")
    assert not wire.cable.cut
    assert wire.cable.delay_s("to") == 0.05
    wire.cable.heal("three")
    assert wire.cable.holds == {}


async def test_late_in_one_direction(wire: Wire) -> None:
    wire.cable.set(cut=False, delay_s=0.05, direction="from")
    wire.cable.set(cut=False, delay_s=0.05, direction="from", key="more")
    reader, writer = await wire.connect()
    started = asyncio.get_running_loop().time()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    assert asyncio.get_running_loop().time() - started >= 0.1
    assert wire.cable.delay_s("to") == 0


async def test_new_connections_through_a_cut_stay_silent_and_never_arrive(wire: Wire) -> None:
    wire.cable.set(cut=True)
    reader, writer = await wire.connect()
    writer.write(b"hello")
    assert await silent(reader)
    assert wire.served == []
    wire.cable.heal()
    assert await ended(reader)
    again, writer = await wire.connect()
    writer.write(b"z")
    assert await again.readexactly(1) == b"z"


async def test_heals_by_itself_at_the_deadline(wire: Wire) -> None:
    wire.cable.set(cut=True, deadline_s=0.1)
    reader, _ = await wire.connect()
    assert await ended(reader)
    assert not wire.cable.cut


async def test_repeating_replaces_the_deadline(wire: Wire) -> None:
    wire.cable.set(cut=True, deadline_s=0.05)
    wire.cable.set(cut=True, deadline_s=60)
    reader, _ = await wire.connect()
    assert await silent(reader)
    assert wire.cable.cut


async def test_delay_is_added_to_each_direction(wire: Wire) -> None:
    wire.cable.set(cut=False, delay_s=0.05)
    reader, writer = await wire.connect()
    started = asyncio.get_running_loop().time()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    assert asyncio.get_running_loop().time() - started >= 0.1
    writer.write_eof()
    assert await reader.read() == b"bye"


async def test_throttle_paces_bytes_and_keeps_their_order(wire: Wire) -> None:
    wire.cable.set(cut=False, rate_bytes_s=1_000_000)
    reader, writer = await wire.connect()
    payload = bytes(range(256)) * 400
    started = asyncio.get_running_loop().time()
    writer.write(payload)
    assert await reader.readexactly(len(payload)) == payload
    assert asyncio.get_running_loop().time() - started >= 0.1


async def test_control_socket_sets_and_tells(tmp_path: Path) -> None:
    cable, path = Cable(), tmp_path / "c.sock"
    server = await serve_control(cable, path)
    assert path.stat().st_mode & 0o777 == 0o600
    await cables.set_cable(path, cut=True, deadline_s=60)
    assert [hold.cut for hold in await cables.cable_holds(path)] == [True]
    await cables.set_cable(path, cut=False, deadline_s=None)
    assert await cables.cable_holds(path) == ()
    with pytest.raises(Exception, match="refused"):
        await cables.ask_cable(path, {"op": "set"})
    server.close()


async def test_cable_that_was_killed_while_cut_comes_back_cut(tmp_path: Path) -> None:
    first = Cable(tmp_path / "cable.json")
    first.set(cut=True, deadline_s=60)
    first.set(cut=False, delay_s=0.25, direction="from", key="half", deadline_s=60)
    second = Cable(tmp_path / "cable.json")
    second.restore()
    assert second.cut
    assert not second.holds["half"].cut and second.delay_s("from") == 0.25
    second.heal("half")
    second.heal()
    third = Cable(tmp_path / "cable.json")
    third.restore()
    assert not third.cut


async def test_deadline_that_passed_while_the_cable_was_dead_counts(tmp_path: Path) -> None:
    Cable(tmp_path / "cable.json").set(cut=True, deadline_s=0)
    second = Cable(tmp_path / "cable.json")
    second.restore()
    assert not second.cut
