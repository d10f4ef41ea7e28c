"""What the clients met, in the run's own time: the pulse's records, asked by stretches of time. Pure.

What an outage is, and the normal band, is `testbed.load.outage`'s; when latency was normal, `latency`'s.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from testbed.experiment.burn import burn
from testbed.experiment.kind import SloSpec
from testbed.experiment.latency import QUIET_S, Disturbance, Limit, disturbances, limit_of
from testbed.experiment.resilience import loss
from testbed.experiment.result import Burn, ClientView, Latency, Outage, Requests
from testbed.experiment.spans import Span, clipped, length, without
from testbed.load import outage as rule
from testbed.load.edges import edges_s
from testbed.load.pace import Pace
from testbed.load.records import Outcome, Record

_CALM_NS = 2_000_000_000
_ENOUGH = 10  # requests, for a normal band
_SLACK_S = 0.02
_FOLLOWED_NS = 250_000_000


def _calm(healthy: list[Record]) -> list[Record]:
    """Without the warm-up, when everybody connects for the first time: the later half, at least the last 2 s."""
    if not healthy:
        return healthy
    length_ns = healthy[-1].due_ns - healthy[0].due_ns
    since_ns = healthy[-1].due_ns - max(_CALM_NS, length_ns // 2)
    return [record for record in healthy if record.due_ns >= since_ns]


class Clients:
    """The pulse's fresh-connection stream, by due time.

    Args: start_ns: CLOCK_MONOTONIC at the start of the run. healthy_until_s: requests due before are the normal band.
    """

    def __init__(
        self, records: Sequence[Record], *, start_ns: int, rate: float, deadline_s: float, healthy_until_s: float,
    ) -> None:
        self.records = sorted(records, key=lambda record: record.due_ns)
        self.start_ns, self.rate, self.deadline_s = start_ns, rate, deadline_s
        self._dues = [record.due_ns for record in self.records]
        self._pace = Pace(self.records)
        healthy_ns = start_ns + int(healthy_until_s * 1e9)
        self._healthy = _calm(self.records[:bisect_left(self._dues, healthy_ns)])
        self.band = rule.normal_band(self._healthy if len(self._healthy) >= _ENOUGH else self.records, healthy_ns)
        self._last_ns = max((max(record.done_ns, record.due_ns) for record in self.records), default=start_ns)
        self.end_s = self._at(self._last_ns)
        self._windows = rule.outages(self.records, self.band, until_ns=self._last_ns)
        self._begins = [window.begin_ns for window in self._windows]

    def _at(self, ns: int) -> float:
        return (ns - self.start_ns) / 1e9

    def _ns(self, at_s: float) -> int:
        return self.start_ns + int(at_s * 1e9)

    def period_s(self, at_s: float) -> float:
        """From one arrival to the next at this moment: a rate may change (`testbed.load.profile`)."""
        finite_s = min(max(at_s, 0.0), self.end_s)
        return self._pace.period_s(self._ns(finite_s))

    def _due_between(self, begin_s: float, end_s: float) -> list[Record]:
        return self.records[bisect_left(self._dues, self._ns(begin_s)):bisect_left(self._dues, self._ns(end_s))]

    def _met(self, begin_s: float, end_s: float) -> list[Record]:
        """Due in this stretch, and what was on its way when it began and did not end well."""
        due = self._due_between(begin_s, end_s)
        if self._followed(end_s):
            due = [record for record in due if not self._hit_on_its_way(record, end_s)]
        early = self._due_between(begin_s - max(self.band.limit_s, self.period_s(begin_s)), begin_s)
        return [*(record for record in early if self._hit_on_its_way(record, begin_s)), *due]

    def _hit_on_its_way(self, record: Record, at_s: float) -> bool:
        """Whether it had left before ``at_s``, as lately as is normal, was not answered yet, and was not answered
        normally."""
        at_ns = self._ns(at_s)
        return 0 < at_ns - record.due_ns <= self.band.limit_s * 1e9 \
            and (not record.done_ns or record.done_ns >= at_ns) and not rule.normal(record, self.band)

    def _followed(self, end_s: float) -> bool:
        """Whether requests go on after this end: at the end of the records nothing follows that one could belong to."""
        return bool(self._dues) and self._dues[-1] > self._ns(min(end_s, self.end_s)) + _FOLLOWED_NS

    def outages(self, begin_s: float = float("-inf"), end_s: float = float("inf")) -> tuple[Outage, ...]:
        """Windows that begin in this stretch, or whose first request was on its way when it began."""
        found = []
        for window in self._windows:
            begin = self._at(window.begin_ns)
            if self._begins_within(window, begin_s, end_s):
                end = self._at(window.end_ns) if window.over else max(self.end_s, begin)
                failed = len(rule.failures(self._due_between(begin, end)))
                of_start, of_end = edges_s(self.records, window, self.band)
                found.append(Outage(
                    start_s=begin, end_s=end, failed=failed, slow=max(0, window.bad - failed),
                    uncertainty_s=window.resolution_s, start_uncertainty_s=round(of_start, 6),
                    end_uncertainty_s=round(of_end, 6), ended=window.over,
                ))
        return tuple(found)

    def _begins_within(self, window: rule.Outage, begin_s: float, end_s: float) -> bool:
        begin, slack = self._at(window.begin_ns), window.resolution_s + _SLACK_S
        if begin < begin_s - slack:
            return self._hit_on_its_way(self._first_of(window), begin_s)
        later = self._followed(end_s) and self._hit_on_its_way(self._first_of(window), end_s)
        return begin < end_s - slack and not later

    def _first_of(self, window: rule.Outage) -> Record:
        return self.records[bisect_left(self._dues, window.begin_ns)]

    def requests(self, begin_s: float | None = None, end_s: float | None = None) -> Requests:
        """Counts of requests due in this stretch (all of them without one)."""
        records = self.records if begin_s is None or end_s is None else self._met(begin_s, end_s)
        counts = rule.count(records, deadline_s=self.deadline_s)
        outcomes = Counter(str(record.status) if record.outcome in (Outcome.OK, Outcome.STATUS)
                           else record.outcome.value for record in records)
        return Requests(due=counts.due, ok=counts.ok, failed=counts.lost, late=counts.late, unsent=counts.unsent,
                        outcomes=dict(outcomes))

    def latency(self) -> Latency:
        return _latency(self.records)

    def marks(self, begin_s: float, end_s: float, settled_s: float | None = None) -> dict[str, float | None]:
        """First and last failed (due times), and latency back to normal, of this stretch.

        ``settled_s``: when what disturbed them was over; what begins well after it is something else.
        """
        failed = rule.failures(self._met(begin_s, end_s))
        return {
            "first_failed": self._at(failed[0].due_ns) if failed else None,
            "last_failed": self._at(failed[-1].due_ns) if failed else None,
            "latency_normal": self._back_to_normal(self._disturbed(begin_s, end_s, settled_s)),
        }

    # --- the view of a stretch

    def view(
        self, begin_s: float, end_s: float, *, settled_s: float | None = None, red: Sequence[Span] | None = None,
        slo: SloSpec | None = None,
    ) -> ClientView:
        """Everything that clients met in [``begin_s``, ``end_s``).

        Args:
            settled_s: when what disturbed them was over. red: times in which the cluster knew that something is wrong;
                None where that is not known.
        """
        windows, counts = self.outages(begin_s, end_s), self.requests(begin_s, end_s)
        out = [(window.start_s, min(window.end_s, end_s)) for window in windows]
        disturbed = self._disturbed(begin_s, end_s, settled_s)
        normal_s = self._back_to_normal(disturbed)
        calm_s = normal_s if normal_s is not None else end_s
        spans = [(self._at(item.begin_ns), self._at(item.end_ns) if item.end_ns else end_s) for item in disturbed]
        lost_s, depth = self._lost(begin_s, end_s)
        return ClientView(
            start_s=begin_s, end_s=end_s, outage_count=len(windows), outage_sum_s=length(out),
            outage_longest_s=max((stop - start for start, stop in out), default=0.0),
            outage_uncertainty_s=sum(window.length_uncertainty_s for window in windows),
            requests=counts, availability_requests=counts.answered_ratio,
            availability_time=1 - length(clipped(out, begin_s, end_s)) / (end_s - begin_s) if end_s > begin_s else None,
            failed_at_most=min(1.0, 3 / counts.due) if counts.due and not counts.failed else None,
            before=_latency(self._healthy), during=_latency(self._due_between(begin_s, calm_s)),
            after=_latency(self._due_between(calm_s, end_s)), normal_limit_s=self.limit.limit_s,
            latency_normal_s=normal_s - begin_s if normal_s is not None else None,
            latency_disturbed_s=length(clipped(spans, begin_s, end_s)),
            lost_s=lost_s, depth=depth,
            gray_s=None if red is None else length(without(self._failing(begin_s, end_s), red)),
            burn=self._burn(begin_s, end_s, slo) if slo is not None else None,
        )

    @cached_property
    def limit(self) -> Limit:
        """What is no slower than before; the normal band's where too little of before is known."""
        return limit_of(self._healthy) or Limit(self.band.limit_s, 0.0)

    @cached_property
    def _disturbances(self) -> tuple[Disturbance, ...]:
        return disturbances(self.records, self.limit, until_ns=self._last_ns)

    def _disturbed(self, begin_s: float, end_s: float, settled_s: float | None) -> list[Disturbance]:
        """Those of this stretch: begun in it before what caused them was well over, or still going on when it began."""
        begin_s -= self.period_s(begin_s) + 0.02
        last_s = end_s if settled_s is None else min(end_s, settled_s + QUIET_S)
        return [item for item in self._disturbances if self._at(item.begin_ns) < last_s
                and (self._at(item.begin_ns) >= begin_s or not item.end_ns or self._at(item.end_ns) > begin_s)]

    def _back_to_normal(self, disturbed: Sequence[Disturbance]) -> float | None:
        return self._at(disturbed[-1].end_ns) if disturbed and disturbed[-1].end_ns else None

    def _lost(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """(resilience loss in seconds, depth) of this stretch, from the first thing that went wrong to the last."""
        first_ns, last_ns = self._ns(begin_s - self.period_s(begin_s)), self._ns(end_s)
        harmed = [(window.begin_ns, window.end_ns or last_ns) for window in self._windows
                  if first_ns <= window.begin_ns < last_ns]
        lost = [record.due_ns for record in self._met(begin_s, end_s) if self._is_lost(record)]
        if not harmed or not lost:
            return 0.0, 0.0
        ends_ns = max(lost[-1] + self._ns(self._pace.period_s(lost[-1])) - self.start_ns,
                      *(stop for _, stop in harmed))
        healthy = sum(not self._is_lost(record) for record in self._healthy) / max(1, len(self._healthy))
        return loss(self._dues, lost, harmed[0][0], min(ends_ns, last_ns), healthy or 1.0)

    def _failing(self, begin_s: float, end_s: float) -> list[Span]:
        """Times in which requests failed or missed their deadline again and again: never a second without one."""
        spans: list[Span] = []
        for record in self._met(begin_s, end_s):
            if record.ok and record.latency_s <= self.deadline_s:
                continue
            due = self._at(record.due_ns)
            begin = spans.pop()[0] if spans and due - spans[-1][1] < QUIET_S else due
            spans.append((begin, due + self._pace.period_s(record.due_ns)))
        return spans

    def _is_lost(self, record: Record) -> bool:
        """Failed, or slower than the normal band, or waiting in a silence whose end it only just caught."""
        if not rule.normal(record, self.band):
            return True
        if self.limit.keeps(record):
            return False
        at = bisect_right(self._begins, record.due_ns) - 1
        return at >= 0 and record.due_ns < self._windows[at].end_ns <= record.done_ns

    def _burn(self, begin_s: float, end_s: float, slo: SloSpec) -> Burn | None:
        records = self._met(begin_s, end_s)
        if not records or end_s <= begin_s:
            return None
        bad = [self._at(record.due_ns) for record in records
               if not record.ok or record.latency_s > self.deadline_s]
        return burn(bad, len(records), len(records) / (end_s - begin_s), target=slo.target, window_s=slo.window)


def _latency(records: Sequence[Record]) -> Latency:
    values = sorted(record.latency_s for record in records if record.ok)
    if not values:
        return Latency()
    return Latency(p50=rule.percentile(values, 0.5), p95=rule.percentile(values, 0.95),
                   p99=rule.percentile(values, 0.99), max=values[-1])
