"""What a pulse target's requests came to, counted as they are recorded, in the form that a run publishes. Pure.

Each look costs what has come since the one before: a run of hours must not spend its runner's time here. Of the stream
of fresh connections alone, as everything in the report. A right answer is ``ok``, or ``late`` after the deadline;
``failed`` left and got none; ``unsent`` could not leave. Seconds are those in which requests were *due*.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.api.measures import Histogram
from testbed.experiment.load_results import Target
from testbed.load.outage import became, percentile
from testbed.load.records import FRESH, Record

Json = dict[str, Any]
LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECENT_S = 60  # seconds whose figures are told one by one
_KEPT_S = RECENT_S + 15  # a request may end so much later than it was due


@dataclass
class _Second:
    ok: int = 0
    failed: int = 0
    late: int = 0
    latencies_s: list[float] = field(default_factory=list)
    row: list[float | int | None] = field(default_factory=list)  # as it is told; empty: it must be made again

    def told(self, at: int) -> list[float | int | None]:
        if not self.row:
            ordered = sorted(self.latencies_s)
            p50, p99 = (round(percentile(ordered, share) * 1e3, 2) if ordered else None for share in (0.5, 0.99))
            self.row = [at, self.ok, self.failed, self.late, p50, p99]
        return self.row


class LoadTally:
    """Of one target, over all repetitions of a run. Unix seconds are wall time."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.rate = 0.0  # requests per second that are asked for now
        self._counts: Counter[str] = Counter()
        self._latency = Histogram(LATENCY_BOUNDS_S)
        self._seconds: dict[int, _Second] = {}
        self._next = 0  # the first second that has no figures yet though load runs
        self._failed_ns: list[int] = []  # due times of this repetition, ascending
        self._wall_ns = 0

    def begin(self, wall_ns: int) -> None:
        """Of a repetition. ``wall_ns``: what makes a CLOCK_MONOTONIC moment a unix one."""
        self._wall_ns, self._next = wall_ns, 0
        self._failed_ns.clear()

    def take(self, records: Iterable[Record], deadline_s: float) -> None:
        """Requests that have ended."""
        for record in records:
            if record.stream != FRESH:
                continue
            what = became(record, deadline_s)
            self._counts[what] += 1
            at = (record.due_ns + self._wall_ns) // 1_000_000_000
            self._next = self._next or at
            second = self._seconds.setdefault(at, _Second())
            second.row = []
            if what in ("ok", "late"):
                self._latency.observe(record.latency_s)
                second.latencies_s.append(record.latency_s)
                second.ok += what == "ok"
                second.late += what == "late"
            else:
                second.failed += 1
                insort(self._failed_ns, record.due_ns)

    def failed_between(self, begin_ns: int, end_ns: int) -> int:
        """Requests of this repetition, due in this stretch, that failed or could not leave."""
        return bisect_left(self._failed_ns, end_ns) - bisect_left(self._failed_ns, begin_ns)

    def told(self, now_s: float, rows: int = RECENT_S, *, running: bool = True) -> Json:
        """As it is published. ``rows``: how many seconds, the newest ones. ``running``: a second without any figure is
        one in which nobody was answered, else one without load."""
        now = math.floor(now_s)
        while running and 0 < self._next < now:
            self._seconds.setdefault(self._next, _Second())
            self._next += 1
        for old in [at for at in self._seconds if at < now - _KEPT_S]:
            del self._seconds[old]
        whole = sorted(at for at in self._seconds if at < now)[-rows:]
        counts = self._counts
        return {
            "target": self.target, "rate": round(self.rate, 3),
            "sent": counts["ok"] + counts["late"] + counts["failed"],
            **{what: counts[what] for what in ("ok", "failed", "late", "unsent")},
            "latency": {"buckets": dict(self._latency.cumulative()), "sum_s": round(self._latency.sum, 6)},
            "recent": [self._seconds[at].told(at) for at in whole],
        }


def rate_now(target: Target, now_ns: int) -> float:
    """What is asked for at this CLOCK_MONOTONIC moment."""
    profile, began_ns = target.spec.profile, int(target.data.start.get("t0_ns") or 0)
    if not profile.stages or not target.data.stages_ns:
        return profile.rate
    waited_s = (target.data.stages_ns - began_ns) / 1e9
    return replace(profile, wait_s=waited_s).rate_at((now_ns - began_ns) / 1e9)
