"""What the clients met, from a pulse's records: outages, counts, percentiles. Pure.

An outage begins at the *due* time of the first request that fails or stays unanswered beyond the normal band, and
ends at the first normal answer, to a request that was due no earlier, that is received after it. Late answers that
only work off the queue of a silence count as normal there: the service is back with the first of them (a server that
was stopped for a second answers the two hundred requests that waited in order, and the one that is late by nothing
comes last). A deadline decides nothing of that: it only says how requests are *counted* (failed, late, unsent).
Resolution of both edges is one period of the pulse; what is known of each is in `edges`.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.load.pace import Pace
from testbed.load.records import Outcome, Record

_FLOOR_S = 0.050  # noise of a busy machine's scheduler that no user feels
_CEILING_S = 0.250  # however noisy the machine: what takes longer than this is no longer normal to a user
_BEFORE_MINIMUM = 10
_CATCHING_UP = 2.0  # answers per request that is due meanwhile: a queue gets shorter, slow service only keeps pace


@dataclass(frozen=True)
class Band:
    """The normal latency: the median before the fault, and the limit up to which an answer counts as normal."""

    median_s: float
    limit_s: float


@dataclass(frozen=True)
class Outage:
    """One window, CLOCK_MONOTONIC ns. ``end_ns`` 0: it had not ended when the records end. ``resolution_s``: each edge
    may be wrong by this much."""

    begin_ns: int
    end_ns: int
    bad: int
    resolution_s: float

    @property
    def over(self) -> bool:
        return self.end_ns > 0

    def length_s(self, until_ns: int) -> float:
        """Seconds; an outage that has not ended counts until ``until_ns``."""
        return max(0.0, ((self.end_ns or until_ns) - self.begin_ns) / 1e9)


@dataclass(frozen=True)
class Counts:
    """Requests by what became of them. ``late``: right answers after the deadline."""

    due: int
    ok: int
    late: int
    failed: int
    unsent: int

    @property
    def lost(self) -> int:
        """Failed and unsent: what the user would have had to repeat."""
        return self.failed + self.unsent


@dataclass(frozen=True)
class Quality:
    """Whether the prober can be believed. ``lateness_p99_s``: how late requests left. ``ended``: whether its records
    have their end; those of one that was killed stop anywhere, and what came after looks like nothing failed."""

    sent: int
    missing: int  # indexes that were never recorded: the pulse was killed with them in flight
    lateness_p99_s: float
    ended: bool = True

    def doubts(self, *, lateness_p99_limit_s: float, who: str = "the pulse") -> tuple[str, ...]:
        """Why a run with this prober must be declared void; empty when it need not be."""
        reasons = []
        if self.sent == 0:
            reasons.append(f"{who} sent nothing")
        if self.lateness_p99_s > lateness_p99_limit_s:
            reasons.append(f"{who} sent late: p99 {self.lateness_p99_s * 1e3:.1f} ms")
        if self.missing:
            reasons.append(f"{self.missing} requests of {who} were never recorded")
        if not self.ended:
            reasons.append(f"{who} was killed: its records have no end")
        return tuple(reasons)


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The exact ``fraction`` quantile of an ascending sequence (nearest rank); NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(fraction * len(ordered)) - 1))]


def normal_band(records: Sequence[Record], before_ns: int) -> Band:
    """The band of requests due before ``before_ns`` and answered rightly: median + max(50 ms, 10 scaled MAD, twice the
    distance to the 99th percentile), but no more than 250 ms. With fewer than ten of them, all right answers are used.

    The wide floor costs nothing: the rule takes both edges from due and receipt times, not from the band.
    """
    right = sorted(record.latency_s for record in records if record.ok and record.due_ns < before_ns)
    if len(right) < _BEFORE_MINIMUM:
        right = sorted(record.latency_s for record in records if record.ok)
    if not right:
        return Band(math.nan, _FLOOR_S)
    median = percentile(right, 0.5)
    deviation = percentile(sorted(abs(value - median) for value in right), 0.5)
    room = min(_CEILING_S, max(_FLOOR_S, 10 * 1.4826 * deviation, 2 * (percentile(right, 0.99) - median)))
    return Band(median, median + room)


def normal(record: Record, band: Band) -> bool:
    return record.ok and record.latency_s <= band.limit_s


def outages(
    records: Sequence[Record], band: Band, *, until_ns: int, period_s: float | None = None,
    merge_s: float | None = None,
) -> tuple[Outage, ...]:
    """The outage windows of one stream.

    Args:
        records: of one stream, in any order.
        period_s: from one arrival to the next, the resolution; when None, what it was at the place (`Pace`).
        until_ns: end of the records; a request that is unanswered then but still within the band says nothing.
        merge_s: windows closer than this are one; default three periods.
    """
    ordered = sorted(records, key=lambda record: record.due_ns)
    known = [record for record in ordered if record.done_ns or record.outcome is Outcome.UNSENT
             or (until_ns - record.due_ns) / 1e9 > band.limit_s]
    bad = [record for record in known if not normal(record, band)]
    good = [record for record in known if normal(record, band)]
    answers = sorted(record.done_ns for record in records if record.ok)
    pace = Pace(records)
    windows: list[Outage] = []
    position = queue_ends_ns = 0
    for record in bad:
        apart_s = pace.period_s(record.due_ns) if period_s is None else period_s
        in_queue = record.ok and record.due_ns < queue_ends_ns  # came after the silence, and waited behind its queue
        if windows and (windows[-1].end_ns == 0 or record.due_ns < windows[-1].end_ns or in_queue):
            windows[-1] = _extended(windows[-1], windows[-1].end_ns)
            continue
        while position < len(good) and good[position].due_ns < record.due_ns:
            position += 1
        queue_ends_ns = _first_answer(good, position, band)
        end_ns = _came_back(answers, record.due_ns, queue_ends_ns, band, apart_s)
        gap_s = (record.due_ns - windows[-1].end_ns) / 1e9 if windows else math.inf
        if gap_s < (3 * apart_s if merge_s is None else merge_s):
            windows[-1] = _extended(windows[-1], end_ns)
        else:
            windows.append(Outage(record.due_ns, end_ns, 1, apart_s))
    return tuple(windows)


def _extended(window: Outage, end_ns: int) -> Outage:
    return Outage(window.begin_ns, end_ns, window.bad + 1, window.resolution_s)


def _first_answer(good: Sequence[Record], position: int, band: Band) -> int:
    """When the first normal answer to a request from ``position`` on was received; 0 when none was. Later requests can
    be answered earlier, but not by more than the band is wide."""
    if position >= len(good):
        return 0
    first = good[position].done_ns
    for record in good[position + 1:]:
        if record.due_ns >= good[position].due_ns + band.limit_s * 1e9:
            break
        first = min(first, record.done_ns)
    return first


def _came_back(answers: Sequence[int], begin_ns: int, end_ns: int, band: Band, period_s: float) -> int:
    """The receipt that ended the last silence before ``end_ns``, when the answers from there to ``end_ns`` worked off
    its queue; else ``end_ns``. ``answers``: receipts of right answers, ascending. A silence is longer than the band,
    so that whatever waited in it is late by it."""
    within = answers[bisect.bisect_right(answers, begin_ns):bisect.bisect_right(answers, end_ns)]
    limit_ns = band.limit_s * 1e9
    for position in range(len(within) - 1, -1, -1):
        if within[position] - (within[position - 1] if position else begin_ns) > limit_ns:
            meanwhile = (end_ns - within[position]) / 1e9 / period_s if period_s else 0.0
            return within[position] if len(within) - position >= _CATCHING_UP * meanwhile else end_ns
    return end_ns


def became(record: Record, deadline_s: float) -> Literal["ok", "late", "failed", "unsent"]:
    """How a request is counted: right within ``deadline_s``, right but late, failed, unsent."""
    if record.outcome is Outcome.UNSENT:
        return "unsent"
    if not record.ok:
        return "failed"
    return "late" if record.latency_s > deadline_s else "ok"


def count(records: Sequence[Record], *, deadline_s: float) -> Counts:
    found = Counter(became(record, deadline_s) for record in records)
    return Counts(len(records), found["ok"], found["late"], found["failed"], found["unsent"])


def failures(records: Sequence[Record]) -> list[Record]:
    """Records that failed (not: were late), by due time."""
    return sorted((record for record in records if not record.ok), key=lambda record: record.due_ns)


def quality(records: Sequence[Record], *, ended: bool = True) -> Quality:
    """Args: records: of all streams. ended: whether the prober said that these are all."""
    late = sorted(record.lateness_s for record in records if record.sent_ns)
    tops: dict[str, int] = {}
    for record in records:
        tops[record.stream] = max(tops.get(record.stream, -1), record.index)
    missing = sum(top + 1 for top in tops.values()) - len(records)
    return Quality(len(late), max(0, missing), percentile(late, 0.99), ended)
