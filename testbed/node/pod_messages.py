"""Reads what a pod's ended containers left to say: the termination file, or the end of the log.

When the log counts is ``core/termination_messages``. Until it was read the container's end is not told, so that a final
status is never without its message; how long that may take is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from testbed.api.core_v1 import Container
from testbed.core.termination_messages import FALLBACK, FILE_BYTES, LOG_BYTES, LOG_LINES, of_file, of_log, wants_log
from testbed.errors import EngineError, EngineUnavailable
from testbed.node.container_specs import termination_log
from testbed.node.facts import NodeFacts
from testbed.node.record import Record
from testbed.runtime.protocol import Engine

_PATIENCE_S = 3.0  # of reading a log


class PodMessages:
    def __init__(self, facts: NodeFacts, engine: Engine, uid: str, wake: Callable[[], None]) -> None:
        self._facts, self._engine, self._uid, self._wake = facts, engine, uid, wake
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def read(self, records: Iterable[Record], containers: Iterable[Container]) -> None:
        """Takes in what can be had at once, and begins to read logs that are wanted."""
        policies = {item.name: item.termination_message_policy for item in containers}
        for record in records:
            ended = record.died_ns is not None or record.exit_known
            if record.sandbox or record.message_read or not ended or record.id in self._tasks:
                continue
            left = self._left(record)
            record.message = of_file(left)
            if left or policies.get(record.name) != FALLBACK:
                record.message_read = True
            elif record.exit_known and wants_log(FALLBACK, left, record.state.exit_code):
                task = asyncio.get_running_loop().create_task(self._read_log(record))
                self._tasks[record.id] = task
                task.add_done_callback(lambda done, key=record.id: self._done(key))  # type: ignore[misc]
            elif record.exit_known:
                record.message_read = True

    def _left(self, record: Record) -> bytes:
        try:
            with termination_log(self._facts, self._uid, record.name, record.attempt).open("rb") as stream:
                size = stream.seek(0, 2)
                stream.seek(max(0, size - FILE_BYTES))
                return stream.read(FILE_BYTES)
        except OSError:
            return b""

    async def _read_log(self, record: Record) -> None:
        lines = b""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                async for chunk in self._engine.logs(record.id, tail=LOG_LINES):
                    lines = (lines + chunk)[-LOG_BYTES:]
            record.message = of_log(lines)
        except (EngineError, EngineUnavailable, TimeoutError) as error:
            record.message = f"Error on reading termination message from logs: {error or 'no answer'}"
        record.message_read = True

    def _done(self, key: str) -> None:
        self._tasks.pop(key, None)
        self._wake()

    async def settled(self) -> None:
        """Waits until all that is being read was read."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await self.settled()
