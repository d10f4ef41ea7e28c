"""The cable of one node: a relay between its agent and the API, both directions, that can be cut, delayed, throttled.

A process of its own that outlives the machine room. It decides nothing: it is told on its control socket, one line of
JSON per request, and heals by itself at the deadline it was given. Whoever tells it has a key of its own: what several
tell adds up, and each takes back its own. What it was told is kept in a file, so that a cable that was killed while cut
comes back cut.

Cut means silent: open connections pass no byte, no FIN and no RST; new ones are accepted and stay silent, as when
packets vanish. Cut in one direction ("to" the API or "from" it), open connections stay silent in that direction and
pass the other one on, and new ones stay silent altogether: no handshake ends when one half of it is lost. Healing ends
the connections that were cut off, so that both ends connect again. Standard library only; imports are kept few because
there is one of these per node.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

from testbed.api.instance import ENGINE
from testbed.api.instance_files import load_instance
from testbed.api.process_logs import configure
from testbed.machines.cable_state import FROM_API, TO_API, Cable

log = logging.getLogger("cable")
HIGH_WATER_BYTES = 256 * 1024
Place = int | Path  # a port of 127.0.0.1, or a unix socket: a node of kind engine has a loopback of its own


class End(asyncio.Protocol):
    """One end of a relayed connection; ``peer`` is the other. What it receives, the peer sends. ``direction``: which
    way that goes, "to" the API or "from" it."""

    def __init__(self, cable: Cable, target: Place | None, direction: str, peer: End | None = None) -> None:
        self._cable, self._target, self._direction = cable, target, direction
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self._silent = False
        self._finished = False  # the far side has sent its FIN
        self._early = bytearray()  # came before the peer was connected
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None

    # --- life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._cable.ends.add(self)
        if self._cable.cut:
            self.silence()
        elif self._target is not None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(self._target))

    async def _connect(self, target: Place) -> None:
        back = FROM_API if self._direction == TO_API else TO_API
        try:
            protocol = await _connected(target, lambda: End(self._cable, None, back, self))
        except OSError:
            if not self._silent:
                self.abort()
            return
        self.peer = protocol
        if self._silent:
            protocol.silence()
        elif self.transport is None:
            protocol.abort()
        else:
            early, self._early = bytes(self._early), bytearray()
            if early:
                self.data_received(early)
            if self._finished and not self._queue:
                self._pass_on_end()
            self.transport.resume_reading()

    def obey(self) -> None:
        """Falls silent where its direction is cut. What was silent and is not cut any more has lost bytes: it ends."""
        if self._cable.cut_towards(self._direction):
            self.silence()
        elif self._silent and (self.peer is not None or not self._cable.cut):
            self.abort()
            if self.peer:
                self.peer.abort()

    def silence(self) -> None:
        """Passes nothing from now on, not even an end."""
        self._silent = True
        self._queue.clear()
        if self._timer:
            self._timer.cancel()
        if self.transport and not self.transport.is_closing():
            self.transport.pause_reading()

    def abort(self) -> None:
        if self.transport:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cable.ends.discard(self)
        self.transport = None
        if self._timer:
            self._timer.cancel()
        if self.peer and not self._silent and self.peer.transport:
            if exc is not None:
                self.peer.abort()
            elif not self._queue:
                self.peer.transport.close()

    # --- bytes

    def data_received(self, data: bytes) -> None:
        if self._silent:
            return
        if self.peer is None:
            # Kept, not held back by a pause: Python 3.11.2 (Debian 12) ignores a pause in ``connection_made``.
            self._early += data
            if len(self._early) > HIGH_WATER_BYTES and self.transport:
                self.transport.pause_reading()
            return
        if self.peer.transport is None:
            return
        delay_s, rate_bytes_s = self._cable.delay_s(self._direction), self._cable.rate_bytes_s()
        if not (delay_s or rate_bytes_s or self._queue):
            self.peer.transport.write(data)
            return
        now = asyncio.get_running_loop().time()
        start = max(now + delay_s, self._free_at)
        self._free_at = start + (len(data) / rate_bytes_s if rate_bytes_s else 0.0)
        self._queue.append((self._free_at, data))
        self._queued_bytes += len(data)
        if self._queued_bytes > HIGH_WATER_BYTES and self.transport:
            self.transport.pause_reading()
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and (self._timer is None or self._timer.cancelled()):
            self._timer = asyncio.get_running_loop().call_at(self._queue[0][0], self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now:
            data = self._queue.popleft()[1]
            self._queued_bytes -= len(data)
            if self.peer and self.peer.transport:
                self.peer.transport.write(data)
        if self._queued_bytes <= HIGH_WATER_BYTES and self.transport and not self._silent:
            self.transport.resume_reading()
        if self._queue:
            self._schedule()
        elif self._finished:
            self._pass_on_end()

    def eof_received(self) -> bool:
        self._finished = True
        if not self._silent and not self._queue:
            self._pass_on_end()
        return True

    def _pass_on_end(self) -> None:
        if self.peer and self.peer.transport and self.peer.transport.can_write_eof():
            with contextlib.suppress(OSError, RuntimeError):
                self.peer.transport.write_eof()
            if self.peer._finished:
                self.peer.transport.close()
                if self.transport:
                    self.transport.close()

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport and not self.peer._silent:
            self.peer.transport.resume_reading()


async def serve_control(cable: Cable, path: Path) -> asyncio.Server:
    """Answers requests on the unix socket ``path`` (0600)."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                try:
                    answer = cable.handle(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(converse, path)
    finally:
        os.umask(mask)


async def _connected(target: Place, make: Callable[[], End]) -> End:
    """Raises: OSError."""
    loop = asyncio.get_running_loop()
    if isinstance(target, Path):
        return (await loop.create_unix_connection(make, str(target)))[1]
    return (await loop.create_connection(make, "127.0.0.1", target))[1]


async def relay(cable: Cable, listen: Place, target: Place, direction: str = TO_API) -> asyncio.Server:
    """Relays what connects to ``listen`` to ``target``. ``direction``: of what clients send.

    Raises: OSError when the port is taken.
    """
    loop = asyncio.get_running_loop()
    if isinstance(listen, int):
        return await loop.create_server(lambda: End(cable, target, direction), "127.0.0.1", listen, backlog=256)
    listen.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        return await loop.create_unix_server(lambda: End(cable, target, direction), str(listen), backlog=256)
    finally:
        os.umask(mask)


async def run(directory: Path, name: str) -> None:
    """Serves until SIGTERM."""
    instance = load_instance(directory)
    node = instance.node(name)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    cable = Cable(directory / f"cable-{name}.json")
    cable.restore()
    path = instance.cable_socket(name)
    path.unlink(missing_ok=True)
    inside = node.kind == ENGINE
    await relay(cable, node.to_agent_port, instance.node_socket(name, "agent") if inside else node.agent_port, FROM_API)
    await relay(cable, node.to_api_port, instance.api_port)
    if inside:
        await relay(cable, instance.node_socket(name, "api"), instance.api_port)
    await serve_control(cable, path)
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.machines.cable", description="the cable of one node")
    parser.add_argument("--instance", required=True, type=Path)
    parser.add_argument("--node", required=True)
    arguments = parser.parse_args()
    configure(f"cable/{arguments.node}", node=arguments.node)
    try:
        asyncio.run(run(arguments.instance, arguments.node))
    except OSError as error:
        log.error("cable of %s: %s", arguments.node, error)
        sys.exit(1)


if __name__ == "__main__":
    main()
