"""Waits until a cluster that was started can be used, or says what does not come, with the end of its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from testbed.api.instance import Instance
from testbed.api.log_lines import for_people, of_lines
from testbed.errors import ApiError, EnvironmentProblem, TestbedError
from testbed.machines.client import RoomClient
from testbed.network.gateway import gateway_status

DEADLINE_S = 90.0
MAX_RESTARTS = 4  # of one process during `up`: it will never come
_POLL_S = 0.05


async def wait_until_usable(instance: Instance, progress: Callable[[str], None]) -> None:
    """Raises: EnvironmentProblem that names what did not come, with the end of its log."""
    started = time.monotonic()
    waits: list[tuple[str, Callable[[], Awaitable[bool]]]] = [
        ("machine room", lambda: _room_answers(instance)),
    ]
    async with _Api(instance) as api:
        waits.append(("API", api.answers))
        if instance.routed:
            waits.append(("gateway", lambda: _gateway_programmed(instance)))
        waits.append(("nodes", lambda: api.nodes_ready(max(len(instance.nodes), 1 if instance.foreign else 0))))
        for what, done in waits:
            while not await done():
                await _check_progress(instance, what, started)
                await asyncio.sleep(_POLL_S)
            progress(f"{what} ready after {time.monotonic() - started:.1f} s")


async def _room_answers(instance: Instance) -> bool:
    with suppress(TestbedError):
        await RoomClient(instance.room_socket).status()
        return True
    return False


async def _gateway_programmed(instance: Instance) -> bool:
    return bool(gateway_status(instance).get("programmed"))


class _Api:
    """The API as `up` looks at it."""

    def __init__(self, instance: Instance) -> None:
        from testbed.client.aio import HttpClient

        self._client = HttpClient.of_instance(instance)

    async def __aenter__(self) -> _Api:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def answers(self) -> bool:
        return await self._ready_nodes() is not None

    async def nodes_ready(self, count: int) -> bool:
        return (await self._ready_nodes() or 0) >= count

    async def _ready_nodes(self) -> int | None:
        from testbed.api.resources import NODES

        try:
            nodes = (await self._client.list(NODES)).items
        except ApiError:
            return None
        return sum(
            any(condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node.get("status", {}).get("conditions", ()))
            for node in nodes
        )


async def _check_progress(instance: Instance, what: str, started: float) -> None:
    """Raises: EnvironmentProblem when waiting any longer is in vain."""
    failing: list[str] = []
    with suppress(TestbedError):
        status = await RoomClient(instance.room_socket).status()
        failing = [process.name for process in status.processes if process.restarts >= MAX_RESTARTS]
    if failing:
        log = "room" if failing[0] == "gateway" else failing[0]
        raise EnvironmentProblem(f"{failing[0]} does not start:\n{log_end(instance, log)}")
    if time.monotonic() - started > DEADLINE_S:
        runs_nodes = "driver" if instance.foreign else "agent-node-1"
        culprit = {"machine room": "room", "API": "api", "gateway": "room"}.get(what, runs_nodes)
        raise EnvironmentProblem(f"{what} did not get ready within {DEADLINE_S:g} s:\n{log_end(instance, culprit)}")


def log_end(instance: Instance, process: str, lines: int = 12) -> str:
    try:
        text = instance.log_file(process).read_text(errors="replace")
    except OSError:
        return f"(no log {instance.log_file(process)})"
    return "\n".join(for_people(line) for line in of_lines(text.splitlines()[-lines:], process))
