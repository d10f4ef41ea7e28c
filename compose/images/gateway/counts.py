"""What the gateway counts of itself, as one JSON object for whoever asks over its socket.

Names for it, and what they mean, are ``testbed/network/gateway_metrics.py``'s. Standard library only.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

APPLY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_"
LAG_EVERY_S, LAG_WINDOW_S, LAG_UNSEEN_S = 0.25, 10.0, 60.0


class Counts:
    """``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.states: Counter[str] = Counter(applied=0, unchanged=0, refused=0)
        self.nftables_errors = 0
        self.queries: Counter[str] = Counter(udp=0, tcp=0)
        self.answers: Counter[str] = Counter()
        self._applies = [0] * (len(APPLY_S) + 1)
        self._apply_sum_s = 0.0
        self._told_s: float | None = None
        self._lag = Lag()

    def programmed(self, took_s: float, *, changed: bool) -> None:
        """A whole state is in force."""
        self._told_s = self._clock()
        self.states["applied" if changed else "unchanged"] += 1
        if changed:
            self._applies[bisect_left(APPLY_S, took_s)] += 1
            self._apply_sum_s += took_s

    def refused(self, error: Exception) -> None:
        """A state could not be brought into force. ``nftables`` says so by a RuntimeError."""
        self.states["refused"] += 1
        self.nftables_errors += isinstance(error, RuntimeError)

    def answered(self, transport: str, answer: bytes) -> None:
        """``answer``: a DNS packet."""
        self.queries[transport] += 1
        self.answers[CODES.get(answer[3] & 0x0F, "OTHER")] += 1

    def json(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "states": dict(self.states), "nftables_errors": self.nftables_errors,
            "state_age_s": None if self._told_s is None else self._clock() - self._told_s,
            "applies": {"bounds": APPLY_S, "counts": self._applies, "sum_s": self._apply_sum_s},
            "dns": {"queries": dict(self.queries), "answers": dict(self.answers)},
            "conntrack": {"entries": _number(CONNTRACK + "count"), "limit": _number(CONNTRACK + "max")},
            "process": {"cpu_s": used.ru_utime + used.ru_stime, "rss_bytes": _resident_bytes(),
                        "lag_s": self._lag.worst_s()},
        }


class Lag:
    """How late the event loop was at worst in the last seconds; watched only while somebody asks."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()
        self._asked_s = 0.0
        self._due: asyncio.TimerHandle | None = None

    def worst_s(self) -> float:
        loop = asyncio.get_running_loop()
        self._asked_s = loop.time()
        if self._due is None:
            self._late.clear()
            self._due = loop.call_later(LAG_EVERY_S, self._look)
        return max((late for at, late in self._late if at > self._asked_s - LAG_WINDOW_S), default=0.0)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, due = loop.time(), self._due.when() if self._due else loop.time()
        self._late.append((now, max(0.0, now - due)))
        while self._late[0][0] < now - LAG_WINDOW_S:
            self._late.popleft()
        seen = now - self._asked_s < LAG_UNSEEN_S
        self._due = loop.call_later(LAG_EVERY_S, self._look) if seen else None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
