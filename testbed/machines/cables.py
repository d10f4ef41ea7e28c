"""Tells a node's cable what to be, over its control socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem
from testbed.machines.protocol import CableHold


async def ask_cable(socket: Path, request: dict[str, Any], *, timeout_s: float = 2.0) -> dict[str, Any]:
    """One request to a cable (``op`` set or status).

    Raises: EnvironmentProblem when the cable does not answer or refuses.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
        answer: dict[str, Any] = json.loads(line)
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentProblem(f"the cable at {socket} does not answer: {error or 'timeout'}") from error
    if "error" in answer:
        raise EnvironmentProblem(f"the cable at {socket} refused: {answer['error']}")
    return answer


async def set_cable(
    socket: Path, *, cut: bool, deadline_s: float | None, direction: str = "both", delay_s: float = 0.0, key: str = "",
) -> None:
    """Makes this what ``key`` tells the cable. Raises: EnvironmentProblem."""
    await ask_cable(socket, {"op": "set", "cut": cut, "direction": direction, "delay_s": delay_s, "key": key,
                             "deadline_s": deadline_s})


async def cable_holds(socket: Path) -> tuple[CableHold, ...]:
    """What the cable was told. Nothing also when it does not answer: it is being started again."""
    try:
        told = (await ask_cable(socket, {"op": "status"}, timeout_s=0.5))["holds"]
    except EnvironmentProblem:
        return ()
    return tuple(CableHold(item["key"], item["cut"], item["direction"], item["delay_s"]) for item in told)
