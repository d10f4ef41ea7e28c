"""Writes a pulse's records to its file, in whole lines, every 50 ms, and a note of the CPU used once a second."""

from __future__ import annotations

import asyncio
import json
import time
from typing import IO, Any, Protocol

from testbed.load.records import Record

_FLUSH_S = 0.05
_TICK_S = 1.0


class Flying(Protocol):
    """What is asked of the pulse: a number for its ticks, and to end where nobody can record it."""

    @property
    def in_flight(self) -> int: ...

    def stop(self) -> None: ...


class FileSink:
    """``stream``: raw, so a write may take a part only. ``start``: what the file says first."""

    def __init__(self, stream: IO[bytes], start: dict[str, Any]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._rest = b""  # what the file did not take yet: half lines are never left between others
        self.note({"kind": "start", **start})
        self.flush()

    def note(self, value: dict[str, Any]) -> None:
        self._lines.append("#" + json.dumps(value) + "\n")

    def record(self, record: Record) -> None:
        self._lines.append(record.line())

    def flush(self) -> None:
        """Raises: OSError where the file takes no more (a full disk); what is left waits for the next time."""
        self._rest += "".join(self._lines).encode()
        self._lines.clear()
        while self._rest:
            self._rest = self._rest[self._stream.write(self._rest):]

    async def keep_flushing(self, pulse: Flying) -> None:
        """Until it is cancelled. A pulse whose file takes no more is told to stop. Raises: OSError."""
        try:
            await self._keep_flushing(pulse)
        except OSError:
            pulse.stop()
            raise

    async def _keep_flushing(self, pulse: Flying) -> None:
        loop = asyncio.get_running_loop()
        next_tick = 0.0
        while True:
            if loop.time() >= next_tick:
                next_tick = loop.time() + _TICK_S
                self.note({"kind": "tick", **self.usage(pulse)})
            self.flush()
            await asyncio.sleep(_FLUSH_S)

    def usage(self, pulse: Flying) -> dict[str, Any]:
        return {"at_ns": time.monotonic_ns(), "cpu_s": time.process_time(), "in_flight": pulse.in_flight}
