"""What the clients met, in the run's own time: the pulse's records, asked by stretches of time. Pure.

The rule of what an outage is, and the normal band, are `testbed.load.outage`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from testbed.experiment.result import Latency, Outage, Requests
from testbed.load import outage as rule
from testbed.load.pace import Pace
from testbed.load.records import Outcome, Record


class Clients:
    """The pulse's fresh-connection stream, by due time.

    Args: start_ns: CLOCK_MONOTONIC at the start of the run. healthy_until_s: requests due before are the normal band.
    """

    def __init__(
        self, records: Sequence[Record], *, start_ns: int, rate: float, deadline_s: float, healthy_until_s: float,
    ) -> None:
        self.records = sorted(records, key=lambda record: record.due_ns)
        self.start_ns, self.rate, self.deadline_s = start_ns, rate, deadline_s
        self._pace = Pace(self.records)
        self.band = rule.normal_band(self.records, start_ns + int(healthy_until_s * 1e9))
        last_ns = max((max(record.done_ns, record.due_ns) for record in self.records), default=start_ns)
        self.end_s = (last_ns - start_ns) / 1e9
        self._windows = rule.outages(self.records, self.band, until_ns=last_ns)

    def _at(self, ns: int) -> float:
        return (ns - self.start_ns) / 1e9

    def period_s(self, at_s: float) -> float:
        """From one arrival to the next at this moment: a rate may change (`testbed.load.profile`)."""
        finite_s = min(max(at_s, 0.0), self.end_s)
        return self._pace.period_s(self.start_ns + int(finite_s * 1e9))

    def _due_between(self, begin_s: float, end_s: float) -> list[Record]:
        return rule.between(self.records, self.start_ns + int(begin_s * 1e9), self.start_ns + int(end_s * 1e9))

    def outages(self, begin_s: float = float("-inf"), end_s: float = float("inf")) -> tuple[Outage, ...]:
        """Windows that begin in this stretch (one period earlier counts: that request met it on its way)."""
        found = []
        for window in self._windows:
            begin = self._at(window.begin_ns)
            slack = window.resolution_s + 0.02
            if begin_s - slack <= begin < end_s - slack:
                end = self._at(window.end_ns) if window.over else max(self.end_s, begin)
                failed = len(rule.failures(self._due_between(begin, end)))
                found.append(Outage(
                    start_s=begin, end_s=end, failed=failed, slow=max(0, window.bad - failed),
                    uncertainty_s=window.resolution_s, ended=window.over,
                ))
        return tuple(found)

    def requests(self, begin_s: float | None = None, end_s: float | None = None) -> Requests:
        """Counts of requests due in this stretch (all of them without one)."""
        records = self.records
        if begin_s is not None and end_s is not None:
            records = self._due_between(begin_s - self.period_s(begin_s), end_s)
        counts = rule.count(records, deadline_s=self.deadline_s)
        outcomes = Counter(str(record.status) if record.outcome in (Outcome.OK, Outcome.STATUS)
                           else record.outcome.value for record in records)
        return Requests(due=counts.due, ok=counts.ok, failed=counts.lost, late=counts.late, unsent=counts.unsent,
                        outcomes=dict(outcomes))

    def latency(self) -> Latency:
        values = sorted(record.latency_s for record in self.records if record.ok)
        if not values:
            return Latency()
        return Latency(p50=rule.percentile(values, 0.5), p95=rule.percentile(values, 0.95),
                       p99=rule.percentile(values, 0.99), max=values[-1])

    def marks(self, begin_s: float, end_s: float) -> dict[str, float | None]:
        """First and last failed (due times), and latency back to normal, of this stretch."""
        records = self._due_between(begin_s - self.period_s(begin_s), end_s)
        failed = rule.failures(records)
        since_ns = failed[-1].due_ns if failed else self.start_ns + int(begin_s * 1e9)
        normal_ns = rule.back_to_normal_ns(records, self.band, since_ns=since_ns)
        abnormal = any(not rule.normal(record, self.band) for record in records)
        return {
            "first_failed": self._at(failed[0].due_ns) if failed else None,
            "last_failed": self._at(failed[-1].due_ns) if failed else None,
            "latency_normal": self._at(normal_ns) if normal_ns and abnormal else None,
        }

    def failed_since(self, begin_s: float) -> tuple[int, int]:
        """(failed, due) from ``begin_s`` on, for the budget."""
        records = self._due_between(begin_s, self.end_s + 1)
        return sum(1 for record in records if not record.ok), len(records)
