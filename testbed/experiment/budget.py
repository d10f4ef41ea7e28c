"""Whether users were hurt more than an experiment's budget allows, asked again and again while a pulse runs. Pure.

Each look costs what has come since the one before, not what there is: a long run at a high rate must not spend its
runner's time here. Of outages only the newest stretch is looked at, long enough to hold one that is over the budget.
Records come when requests *end*; that nobody is answered any more shows in the pulse's own ticks before it does there.
"""

from __future__ import annotations

from collections import deque

from testbed.experiment.kind import BudgetSpec
from testbed.load.outage import Band, normal_band, outages
from testbed.load.records import FRESH, PulseData, Record

_FEWEST = 100  # requests without which a share of them says nothing
_PATIENCE_S = 10.0  # records may come this much later than they were due


class BudgetWatch:
    """Of one run. ``began_ns``: CLOCK_MONOTONIC when the method began; what was due before is what is normal."""

    def __init__(self, budget: BudgetSpec, began_ns: int) -> None:
        self._budget, self._began_ns = budget, began_ns
        self._seen = self._due = self._failed = 0
        self._newest: deque[Record] = deque()
        self._answered_ns = began_ns
        self._band: Band | None = None

    def over(self, data: PulseData) -> str:
        """What is over the budget by now, in words; "" when nothing is."""
        if self._band is None:
            self._band = normal_band(data.stream(), self._began_ns)
        for record in data.records[self._seen:]:
            self._take(record)
        self._seen = len(data.records)
        budget = self._budget
        if budget.failed_requests is not None and self._failed > budget.failed_requests:
            return f"{self._failed} requests failed, the budget is {budget.failed_requests}"
        if budget.failed_ratio is not None and self._due >= _FEWEST and self._failed > budget.failed_ratio * self._due:
            return f"{self._failed / self._due:.1%} of requests failed, the budget is {budget.failed_ratio:.1%}"
        if budget.outage is not None:
            longest_s = max(self._longest_s(budget.outage, self._band), self._silent_s(data, self._band))
            if longest_s > budget.outage:
                return f"an outage lasts {longest_s:.1f} s, the budget is {budget.outage:g} s"
        return ""

    def _take(self, record: Record) -> None:
        if record.stream != FRESH or record.due_ns < self._began_ns:
            return
        self._due += 1
        self._failed += not record.ok
        if record.ok:
            self._answered_ns = max(self._answered_ns, record.done_ns)
        self._newest.append(record)

    def _longest_s(self, allowed_s: float, band: Band) -> float:
        if not self._newest:
            return 0.0
        until_ns = max(max(record.done_ns, record.due_ns) for record in self._newest)
        since_ns = until_ns - int((allowed_s + 2 * _PATIENCE_S) * 1e9)
        while self._newest and max(self._newest[0].done_ns, self._newest[0].due_ns) < since_ns:
            self._newest.popleft()
        found = outages(list(self._newest), band, until_ns=until_ns)
        return max((window.length_s(until_ns) for window in found), default=0.0)

    def _silent_s(self, data: PulseData, band: Band) -> float:
        """How long nobody has been answered, by the pulse's newest sign of life; 0 while that is no longer than normal
        or nobody waits."""
        tick = data.ticks[-1] if data.ticks else {}
        if not tick.get("in_flight"):
            return 0.0
        silent_s = (int(tick["at_ns"]) - self._answered_ns) / 1e9
        return silent_s if silent_s > band.limit_s else 0.0
