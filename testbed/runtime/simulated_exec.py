"""Programs run inside simulated containers: short ones that are waited for, and interactive ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from testbed.runtime.protocol import ExecResult
from testbed.runtime.simulated_behaviour import run_program, sleeps_s
from testbed.runtime.simulated_machine import Process, SimulatedContainer, SimulatedMachine

_FREEZER_POLL_S = 0.01


async def run_inside(
    machine: SimulatedMachine, process: Process, container: SimulatedContainer | None, argv: tuple[str, ...],
    timeout_s: float, limit_bytes: int, spent_s: float,
) -> ExecResult:
    """A program in a container: it stands still while that is frozen, and ends with it.

    Raises: TimeoutError.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    needed_s = spent_s + sleeps_s(argv)
    while needed_s > 0 or machine.is_frozen(process.cgroup):
        left_s = deadline - loop.time()
        if left_s <= 0:
            raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s")
        if not process.alive:
            return ExecResult(137, b"")
        stands = machine.is_frozen(process.cgroup)
        step_s = min(left_s, _FREEZER_POLL_S * 5 if stands else max(needed_s, 1e-6))
        await asyncio.sleep(step_s)
        if not stands:
            needed_s -= step_s
    environment = dict(container.spec.env) if container is not None else {}
    result = run_program(argv, environment)
    return ExecResult(result.exit_code, result.output[:limit_bytes])


class SimulatedExec:
    """An interactive exec of a program that reads all its input before it answers. ``find``: the container."""

    def __init__(self, find: Callable[[], Awaitable[SimulatedContainer]], argv: tuple[str, ...]) -> None:
        self._find, self._argv = find, argv
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
        if self._argv[0] == "cat":
            await self._closed.wait()
        environment = dict(self._container.spec.env) if self._container is not None else {}
        result = run_program(self._argv, environment, bytes(self._input))
        self._code = result.exit_code
        if result.output:
            yield 1, result.output

    async def exit_code(self) -> int:
        return self._code
