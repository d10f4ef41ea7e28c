"""Asks process 1 of a node of kind engine about the node's container engine (``compose/images/node/node.py``)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem
from testbed.machines.cables import ask_cable
from testbed.machines.protocol import EngineState


async def hold(control: Path, key: str, *, act: str, deadline_s: float) -> None:
    """``control``: the node's control socket. ``act``: "kill" or "freeze". Raises: EnvironmentProblem."""
    until_ns = time.monotonic_ns() + int(deadline_s * 1e9)
    await _ask(control, {"op": "hold", "key": key, "act": act, "until_ns": until_ns})


async def free(control: Path, key: str) -> None:
    """Raises: EnvironmentProblem."""
    await _ask(control, {"op": "release", "key": key})


async def state(control: Path) -> EngineState:
    """Raises: EnvironmentProblem."""
    answer = await _ask(control, {"op": "status"})
    return EngineState(str(answer["engine"]), tuple(sorted(answer["holds"])))


async def _ask(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return await ask_cable(control, request)
    except EnvironmentProblem as error:
        raise EnvironmentProblem(f"the node behind {control} does not answer: its power is off, or it boots") from error
