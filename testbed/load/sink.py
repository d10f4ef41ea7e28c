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
    """What is asked of the pulse for its ticks."""

    @property
    def in_flight(self) -> int: ...


class FileSink:
    """``start``: what the file says first."""

    def __init__(self, stream: IO[bytes], start: dict[str, Any]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self.note({"kind": "start", **start})
        self.flush()

    def note(self, value: dict[str, Any]) -> None:
        self._lines.append("#" + json.dumps(value) + "\n")

    def record(self, record: Record) -> None:
        self._lines.append(record.line())

    def flush(self) -> None:
        if self._lines:
            self._stream.write("".join(self._lines).encode())
            self._lines.clear()

    async def keep_flushing(self, pulse: Flying) -> None:
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
