"""Which alert belongs to which disruption: would somebody have been paged, and when? Pure.

The rule. An alert belongs to a disruption when

* its object lies in the disruption's scope: what was hit (pods, nodes, Deployments), all pods of these Deployments, the
  Services that these pods answer for, and their namespace; everything, where what was hit is none of these (the control
  plane, the registry, a changed Service);
* it began to fire after the injection (by its own word, else when it reached us) and reached us after it;
* no other disruption with that object in its scope was injected in between: it is the later one's then;
* it reached us no later than ``WINDOW_S`` after all was well again: who pages later than that pages about nothing.

The first of them is the mark *alerted*. It stands beside the two paths and changes neither. ``Watchdog``, which always
fires (a convention of kube-prometheus), is nobody's; that it arrives says that a pager is attached.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from testbed.experiment.alert_events import FIRING, alert_name
from testbed.experiment.exactness import event_u
from testbed.experiment.observations import EventSeen, Evidence
from testbed.experiment.overlaps import hit_deployments
from testbed.experiment.result import Alert, Disruption
from testbed.experiment.scene import Group, last

WINDOW_S = 300.0
ATTACHED = timedelta(minutes=15)  # an Alertmanager that has told nothing for so long before the run may be gone
SAME_MOMENT_S = 0.05  # two wall clocks of one machine, and a rule's moment of whole milliseconds
MOST_ALERTS = 10  # of one disruption
ALWAYS_FIRING = frozenset({"Watchdog"})
EVERYTHING = None
Scope = frozenset[tuple[str, str]] | None  # (kind, namespace/name or name); None: everything


def attached(evidence: Evidence, started_at: datetime) -> bool:
    """Whether an Alertmanager tells us of alerts: it did while the run went, or not long before."""
    return evidence.alert_told is not None and evidence.alert_told >= started_at - ATTACHED


def with_alerts(
    found: Sequence[Disruption], evidence: Evidence, *, until: float, started_at: datetime
) -> list[Disruption]:
    """``found``, each with its alerts. ``until``: the end of what was watched. ``started_at``: of the run."""
    if not attached(evidence, started_at):
        return list(found)
    firing = sorted((event for event in evidence.events if event.reason == FIRING and event.at <= until
                     and alert_name(event.message) not in ALWAYS_FIRING), key=lambda event: event.at)
    scopes = [_scope(item, evidence) for item in found]
    alerts: list[list[EventSeen]] = [[] for _ in found]
    for event in firing:
        owner = _owner(event, found, scopes, until)
        if owner is not None:
            alerts[owner].append(event)
    return [_with(item, events, _ends(index, found, scopes, until))
            for index, (item, events) in enumerate(zip(found, alerts, strict=True))]


def _ends(index: int, found: Sequence[Disruption], scopes: Sequence[Scope], until: float) -> float:
    """Up to when an alert could begin that is this one's."""
    item, scope = found[index], scopes[index]
    later = [at for other, theirs in zip(found, scopes, strict=True)
             if (at := other.marks.injected) is not None and at > (item.marks.injected or 0.0)
             and (scope is None or theirs is None or not scope.isdisjoint(theirs))]
    return min(until, _over(item, until) + WINDOW_S, *later)


def _owner(event: EventSeen, found: Sequence[Disruption], scopes: Sequence[Scope], until: float) -> int | None:
    """Whose alert this is: the latest one injected before it began to fire, as an index."""
    began = event.at if event.since is None else event.since
    latest: tuple[float, int] | None = None
    for index, (item, scope) in enumerate(zip(found, scopes, strict=True)):
        injected = item.marks.injected
        if injected is None or event.at < injected or began < injected - SAME_MOMENT_S:
            continue
        if (scope is None or _object(event.about) in scope) and (latest is None or injected >= latest[0]):
            latest = injected, index
    if latest is None or event.at > _over(found[latest[1]], until) + WINDOW_S:
        return None
    return latest[1]


def _over(item: Disruption, until: float) -> float:
    """When all was well again; ``until`` while it is not."""
    if item.disrupted and item.marks.restored is None:
        return until
    end = last([item.marks.restored, item.marks.undone, item.window_s[1] if item.window_s else None])
    return until if end is None else end


def _object(about: str) -> tuple[str, str]:
    """Of ``Pod/default/web-1`` and ``Node//node-1``."""
    kind, _, key = about.partition("/")
    return kind, key.rpartition("/")[2] if kind in ("Node", "Namespace") else key


def _scope(item: Disruption, evidence: Evidence) -> Scope:
    nodes = item.target_keys & {seen.name for seen in evidence.nodes}
    deployments = hit_deployments(item, evidence)
    pods = {target for target in item.target_keys if "/" in target and not target.startswith("deployment ")}
    if not (nodes or pods or deployments):
        return EVERYTHING
    pods |= Group(evidence, tuple(sorted(deployments))).keys()
    pods |= {seen.key for seen in evidence.pods if seen.node in nodes}
    return frozenset({
        *(("Node", name) for name in nodes), *(("Pod", key) for key in pods),
        *(("Deployment", key) for key in deployments),
        *(("Service", seen.service) for seen in evidence.endpoints if not seen.pods.isdisjoint(pods)),
        *(("Namespace", key.partition("/")[0]) for key in (*pods, *deployments)),
    })


def _with(item: Disruption, events: Sequence[EventSeen], ends: float) -> Disruption:
    if item.marks.injected is None:
        return item
    pager_s = round(max(0.0, ends - item.marks.injected), 4)
    if not events:
        return item.model_copy(update={"pager_s": pager_s})
    alerts = tuple(Alert(name=alert_name(event.message), at_s=round(event.at, 4), object=_said(event.about),
                         message=event.message[:300]) for event in events[:MOST_ALERTS])
    return item.model_copy(update={
        "pager_s": pager_s, "alerts": alerts, "marks": item.marks.model_copy(update={"alerted": events[0].at}),
        "mark_uncertainties": {**item.mark_uncertainties, "alerted": event_u(events[0])}})


def _said(about: str) -> str:
    """``pod default/web-1``."""
    kind, key = _object(about)
    return f"{kind.lower()} {key}"
