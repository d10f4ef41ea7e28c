"""Puts what clients met and what was done to the healthy into one view each: of every disruption, and of the run. Pure.

What each figure is stands in its own room (`clients`, `latency`, `burn`, `resilience`, `gray`, `noise`); here the
stretches are chosen. A disruption's stretch is from its injection to the next step, as for its counts of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.experiment.clients import Clients
from testbed.experiment.gray import red_spans
from testbed.experiment.kind import SloSpec
from testbed.experiment.noise import SLACK_S, Accounts
from testbed.experiment.observations import Evidence
from testbed.experiment.result import ClientView, Detector, Disruption, Marks
from testbed.experiment.scene import last


@dataclass(frozen=True)
class Views:
    """Disruptions with their views, and those of the run: ``clients`` None without a pulse."""

    disruptions: tuple[Disruption, ...]
    clients: ClientView | None
    detector: Detector


def with_views(
    found: Sequence[Disruption], evidence: Evidence, deployments: Sequence[str], clients: Clients | None, *,
    since: float, until: float, noise: frozenset[str] = frozenset(), slo: SloSpec | None = None,
) -> Views:
    """Args:
        since: when the method began. until: the end of what was watched. noise: steps that must not be noticed.
    """
    marked = [as_noise(item) if item.name in noise else item for item in found]
    red = red_spans(evidence, deployments, until) if deployments else None
    accounts = Accounts(evidence, deployments, marked, until)
    seen: list[Disruption] = []
    for item in marked:
        begin = item.marks.injected
        if begin is None:
            seen.append(item)
            continue
        end = _end_of(item, marked, until)
        view = clients.view(begin, end, settled_s=last([item.marks.restored, item.marks.undone]), red=red, slo=slo) \
            if clients else None
        marks = item.marks
        if view is not None:
            normal_s = view.latency_normal_s
            marks = marks.model_copy(update={"latency_normal": None if normal_s is None else begin + normal_s})
        seen.append(item.model_copy(update={
            "clients": view, "detector": accounts.between(begin, end), "marks": marks}))
    whole = clients.view(since, until, red=red, slo=slo) if clients and until > since else None
    return Views(tuple(seen), whole, accounts.between(since, until))


def as_noise(item: Disruption) -> Disruption:
    """What noise brings about is no recovery: of its marks only when it was in force remains."""
    over = item.marks.undone
    marks = Marks(injected=item.marks.injected, undone=over, restored=over, first_failed=item.marks.first_failed,
                  last_failed=item.marks.last_failed, latency_normal=item.marks.latency_normal,
                  alerted=item.marks.alerted)
    end = item.marks.undone if item.marks.undone is not None else item.window_s[1] if item.window_s else None
    window = (item.marks.injected, end) if item.marks.injected is not None and end is not None else item.window_s
    notes = () if item.verified else item.notes
    return item.model_copy(update={"noise": True, "marks": marks, "gaps": (), "window_s": window, "notes": notes})


def _end_of(item: Disruption, known: Sequence[Disruption], until: float) -> float:
    begin = item.marks.injected or 0.0
    if item.kind == "uninvited":
        end = last([item.marks.restored, begin]) or begin
        return min(until, end + SLACK_S)
    later = [other.marks.injected for other in known
             if other.kind != "uninvited" and other.marks.injected is not None and other.marks.injected > begin]
    return min([*later, until])
