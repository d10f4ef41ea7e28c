"""What happened in a simulation, line by line in virtual time, and its hash.

Lines carry no wall time and no address of memory, so the same seed gives the same hash, whatever the wall clock did.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable

_KEPT = 20_000


class Trace:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=_KEPT)
        self.count = 0
        self.listeners: list[Callable[[str], None]] = []

    def add(self, text: str) -> None:
        line = f"{asyncio.get_running_loop().time():.6f} {text}"
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.lines.append(line)
        self.count += 1
        for listener in self.listeners:
            listener(text)

    def hash(self) -> str:
        return self._hash.hexdigest()

    def tail(self, count: int = 60) -> str:
        return "\n".join(list(self.lines)[-count:])
