"""Wall time as a value that is handed in. Durations never come from it: loops measure with ``loop.time()``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class WallClock(Protocol):
    def now(self) -> datetime:
        """Now, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)
