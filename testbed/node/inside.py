"""Runs a program inside a container: by its namespaces, else through the engine.

A container that is frozen answers nothing, so its exec is one that timed out, not one that could not be made; and the
engine is not asked about it, because it would hang on it.
"""

from __future__ import annotations

import asyncio

from testbed.errors import HostError
from testbed.node.record import Record
from testbed.node.shared import Shared
from testbed.node.stopper import is_frozen
from testbed.runtime.containers import ExecResult


async def run_inside(shared: Shared, record: Record, argv: tuple[str, ...], timeout_s: float) -> ExecResult:
    """Raises: TimeoutError, EngineError, EngineUnavailable."""
    if await is_frozen(shared.view, record):
        await asyncio.sleep(timeout_s)
        raise TimeoutError(f"{argv[0]}: the container is frozen")
    if record.process is not None:
        try:
            return await shared.host.exec_in_container(record.process, argv, timeout_s=timeout_s)
        except HostError:
            pass  # the engine may still know how, and says why when it does not
    return await shared.engine.exec(record.id, argv, timeout_s=timeout_s)
