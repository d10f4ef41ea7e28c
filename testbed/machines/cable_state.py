"""What is true of a cable now: who has told it what, until when, and what that adds up to.

Relaying is ``cable``'s; each end of a connection asks here whether its direction is cut or late, and obeys when told
that something has changed. What was told is kept in a file.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger("cable")
TO_API, FROM_API, BOTH = "to", "from", "both"


class Obedient(Protocol):
    """An end of a relayed connection."""

    def obey(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True)
class Hold:
    """What one key makes of the cable. ``direction``: "to" the API, "from" it, or "both". ``delay_s``: added to what
    goes that way. ``rate_bytes_s``: of each connection and direction, 0 is unlimited. ``until``: loop time."""

    cut: bool
    direction: str = BOTH
    delay_s: float = 0.0
    rate_bytes_s: int = 0
    until: float | None = None

    def concerns(self, direction: str) -> bool:
        return self.direction in (BOTH, direction)


class Cable:
    """What is true of the cable now, and all connections that go through it."""

    def __init__(self, state_file: Path | None = None) -> None:
        self._file = state_file
        self.holds: dict[str, Hold] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.ends: set[Obedient] = set()

    @property
    def cut(self) -> bool:
        """Whether nothing passes in at least one direction."""
        return any(hold.cut for hold in self.holds.values())

    def cut_towards(self, direction: str) -> bool:
        return any(hold.cut and hold.concerns(direction) for hold in self.holds.values())

    def delay_s(self, direction: str) -> float:
        return sum(hold.delay_s for hold in self.holds.values() if hold.concerns(direction))

    def words(self) -> str:
        """What is true of it, for the log."""
        cut = [direction for direction in (TO_API, FROM_API) if self.cut_towards(direction)]
        rate = [f"{self.rate_bytes_s()} bytes/s"] if self.rate_bytes_s() else []
        late = [f"late by {self.delay_s(direction):g} s {direction} the API" for direction in (TO_API, FROM_API)
                if self.delay_s(direction)]
        return ", ".join([*(f"cut {direction} the API" for direction in cut), *late, *rate]) or "whole"

    def rate_bytes_s(self) -> int:
        return min((hold.rate_bytes_s for hold in self.holds.values() if hold.rate_bytes_s), default=0)

    def set(
        self, *, cut: bool, direction: str = BOTH, delay_s: float = 0.0, rate_bytes_s: int = 0,
        deadline_s: float | None = None, key: str = "",
    ) -> None:
        """Makes this what ``key`` tells, until ``deadline_s`` from now when given. Repeating it is harmless."""
        loop, before = asyncio.get_running_loop(), self.words()
        if key in self._timers:
            self._timers.pop(key).cancel()
        self.holds.pop(key, None)
        if cut or delay_s or rate_bytes_s:
            until = None if deadline_s is None else loop.time() + deadline_s
            self.holds[key] = Hold(cut, direction, delay_s, rate_bytes_s, until)
            if deadline_s is not None:
                self._timers[key] = loop.call_later(deadline_s, self.heal, key)
        if self.words() != before:
            log.info("the cable is %s", self.words())
        self._save()
        for end in tuple(self.ends):
            end.obey()

    def heal(self, key: str = "") -> None:
        self.set(cut=False, key=key)

    def status(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        holds = [
            {"key": key, "cut": hold.cut, "direction": hold.direction, "delay_s": hold.delay_s,
             "rate_bytes_s": hold.rate_bytes_s,
             "deadline_s": None if hold.until is None else max(0.0, hold.until - now)}
            for key, hold in sorted(self.holds.items())
        ]
        return {"cut": self.cut, "holds": holds, "connections": len(self.ends)}

    def _save(self) -> None:
        if self._file is None:
            return
        if not self.holds:
            self._file.unlink(missing_ok=True)
            return
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({key: asdict(hold) for key, hold in self.holds.items()}))
        temporary.replace(self._file)

    def restore(self) -> None:
        """Takes up what the cable was told before it was killed. CLOCK_MONOTONIC goes on meanwhile."""
        if self._file is None:
            return
        now = asyncio.get_running_loop().time()
        try:
            for key, value in json.loads(self._file.read_text()).items():
                until = value.pop("until")
                if until is None or until > now:
                    self.set(**value, key=key, deadline_s=None if until is None else until - now)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # nothing was told, or it cannot be known any more: healthy

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one control request: ``{"op": "set", ...}`` or ``{"op": "status"}``."""
        if request.get("op") == "set":
            deadline, direction = request.get("deadline_s"), str(request.get("direction") or BOTH)
            if direction not in (TO_API, FROM_API, BOTH):
                raise ValueError(f"direction {direction!r} is not to, from or both")
            self.set(
                cut=bool(request["cut"]), direction=direction, delay_s=float(request.get("delay_s") or 0),
                rate_bytes_s=int(request.get("rate_bytes_s") or 0), key=str(request.get("key") or ""),
                deadline_s=None if deadline is None else float(deadline),
            )
        return self.status()
