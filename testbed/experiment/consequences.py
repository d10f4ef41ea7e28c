"""Puts what a disruption led to elsewhere beside it: the backlog that grew, the Deployments it dragged along. Pure.

Its stretch is from its injection to the next one's.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiment.accounting import backlog
from testbed.experiment.cascade import reached
from testbed.experiment.observations import Evidence
from testbed.experiment.result import BacklogSample, Disruption


def with_consequences(
    found: Sequence[Disruption], evidence: Evidence, samples: Sequence[BacklogSample], *, since: float, until: float,
    every_s: float,
) -> tuple[Disruption, ...]:
    """Args: samples: of the backlog, ``every_s`` apart. since, until: the method's beginning, the end of the watch."""
    until = max([until, *(one.at_s for one in samples)])
    begins = sorted(item.marks.injected for item in found if item.marks.injected is not None)
    made = []
    for item in found:
        begin = item.marks.injected
        end = next((other for other in begins if begin is not None and other > begin), until)
        made.append(item.model_copy(update={
            "cascade": reached(item, evidence, found, end),
            "backlog": backlog(samples, item, since=since, until=end, every_s=every_s) if samples else None}))
    return tuple(made)
