"""Programs of simulated containers: what a container runs, and what is run inside it, waited for or interactive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from testbed.runtime.containers import ExecResult
from testbed.runtime.simulated_damage import Echo, Sent
from testbed.runtime.simulated_files import SimulatedFiles
from testbed.runtime.simulated_machine import Process, Script, SimulatedContainer, SimulatedMachine
from testbed.runtime.simulated_process import Program
from testbed.runtime.simulated_programs import Exit

_FREEZER_POLL_S = 0.01
_FETCH_S = 5.0
_KILLED = 137


class Inside:
    """A container as programs see it (``simulated_process.Surroundings``). ``process``: whose cgroup they live in."""

    def __init__(self, machine: SimulatedMachine, process: Process, container: SimulatedContainer | None) -> None:
        self._machine, self._process, self._container = machine, process, container
        self.files = container.files if container is not None else SimulatedFiles(())
        self.memory_limit_bytes = container.limits.memory_bytes or 0 if container is not None else 0
        self.hostname = machine.hostname_of(container) if container is not None else ""

    def frozen(self) -> bool:
        return self._machine.is_frozen(self._process.cgroup)

    def now(self) -> datetime:
        offset_s = self._machine.damage.offset_s(self._container.id) if self._container is not None else 0.0
        return self._machine.clock.now() + timedelta(seconds=offset_s)

    def echo(self, address: str, count: int, gap_s: float, size_bytes: int) -> list[Echo]:
        source = self._machine.sandbox_of(self._container).spec.address if self._container is not None else ""
        return self._machine.damage.echo(source, address, Sent(count, gap_s, size_bytes), self._machine.draw)

    def script(self, path: str) -> Callable[[Program, list[str]], Awaitable[int]] | None:
        found, container = self._machine.scripts.get(path), self._container
        if found is None or container is None:
            return None
        return partial(self._run_script, found, container)

    @staticmethod
    async def _run_script(script: Script, container: SimulatedContainer, program: Program, words: list[str]) -> int:
        return await script(program, container, words)

    async def fetch(self, url: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        async with asyncio.timeout(_FETCH_S):
            host, source = parts.hostname or "", None
            if self._container is not None:
                host = self._machine.address_for(self._container, host)
                source = (self._machine.sandbox_of(self._container).spec.address, 0)
            reader, writer = await asyncio.open_connection(host, parts.port or 80, local_addr=source)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next((int(line.split(":")[1]) for line in head.split("\r\n")
                               if line.lower().startswith("content-length:")), 0)
                return int(head.split()[1]), await reader.readexactly(length)
            except EOFError as error:
                raise ConnectionResetError(104, "Connection reset by peer") from error
            finally:
                writer.close()


def program_of(
    machine: SimulatedMachine, process: Process, container: SimulatedContainer | None, write: Callable[[bytes], None],
    stdin: bytes = b"",
) -> Program:
    environment = dict(container.spec.env) if container is not None else {}
    inside = Inside(machine, process, container)
    return Program(inside, {"HOSTNAME": inside.hostname} | environment, write, stdin)


async def run_main(machine: SimulatedMachine, container: SimulatedContainer, argv: tuple[str, ...]) -> None:
    """The container's own program; when it ends, so does the container."""
    process = container.process
    assert process is not None
    written = bytearray()

    def write(data: bytes) -> None:
        written.extend(data)
        while b"\n" in written:
            line, _, rest = bytes(written).partition(b"\n")
            machine.write_log(container, line + b"\n")
            written[:] = rest

    container.program = program_of(machine, process, container, write)
    out_of_memory = False
    try:
        code = await container.program.run(argv)
    except Exit as ended:
        code, out_of_memory = ended.code, ended.out_of_memory
    if written:
        machine.write_log(container, bytes(written))
    machine.exit(container, code, oom=out_of_memory)


async def run_inside(
    machine: SimulatedMachine, process: Process, container: SimulatedContainer | None, argv: tuple[str, ...],
    timeout_s: float, limit_bytes: int, spent_s: float,
) -> ExecResult:
    """A program in a container: it stands still while that is frozen, and ends with it.

    Raises: TimeoutError.
    """
    output = bytearray()

    async def run() -> int:
        left_s = spent_s
        while left_s > 0 or machine.is_frozen(process.cgroup):
            stands = machine.is_frozen(process.cgroup)
            step_s = _FREEZER_POLL_S if stands else left_s
            await asyncio.sleep(step_s)
            left_s -= 0 if stands else step_s
        try:
            return await program_of(machine, process, container, output.extend).run(argv)
        except Exit as ended:
            return ended.code

    running = asyncio.get_running_loop().create_task(run())

    def end(_: object) -> None:
        running.cancel()

    process.ended.add_done_callback(end)
    try:
        async with asyncio.timeout(timeout_s):
            code = await asyncio.shield(running)
    except TimeoutError:
        raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from None
    except asyncio.CancelledError:
        if process.alive:
            raise
        code = _KILLED
    finally:
        process.ended.remove_done_callback(end)
        running.cancel()
    return ExecResult(code, bytes(output[:limit_bytes]))


class SimulatedExec:
    """An interactive exec of a program that reads all its input before it answers. ``find``: the container."""

    def __init__(
        self, machine: SimulatedMachine, find: Callable[[], Awaitable[SimulatedContainer]], argv: tuple[str, ...]
    ) -> None:
        self._machine, self._find, self._argv = machine, find, argv
        self._container: SimulatedContainer | None = None
        self._input = bytearray()
        self._closed = asyncio.Event()
        self._code = 0

    async def __aenter__(self) -> SimulatedExec:
        self._container = await self._find()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closed.set()

    async def write(self, data: bytes) -> None:
        self._input += data

    async def close_stdin(self) -> None:
        self._closed.set()

    async def resize(self, columns: int, rows: int) -> None:
        return

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        if self._argv[0] == "cat" and len(self._argv) == 1:
            await self._closed.wait()
        container = self._container
        if container is None or container.process is None:
            return
        output = bytearray()
        program = program_of(self._machine, container.process, container, output.extend, bytes(self._input))
        try:
            self._code = await program.run(self._argv)
        except Exit as ended:
            self._code = ended.code
        if output:
            yield 1, bytes(output)

    async def exit_code(self) -> int:
        return self._code
