"""Disruptions at the same time: what they share. Pure.

Two that hit the same Deployment and overlap wait for some things together: the Deployment is whole only after both, and
a request that fails meanwhile fails of either. Requests are counted once, for the one that began last; here it is said
what that leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiment.clients import Clients
from testbed.experiment.observations import Evidence
from testbed.experiment.result import Disruption
from testbed.experiment.scene import last
from testbed.experiment.spans import Span, union

SAME_S = 0.001  # marks from the same evidence


def overlapping(
    found: Sequence[Disruption], evidence: Evidence, clients: Clients | None, *, until: float
) -> list[Disruption]:
    """``found``, each with what it shares with the others. ``until``: the end of what was watched."""
    spans = [_span(item, until) for item in found]
    hit = [hit_deployments(item, evidence) for item in found]
    shared: list[Disruption] = []
    for index, item in enumerate(found):
        others = [other for other in range(len(found)) if other != index and hit[other] & hit[index]
                  and _common(spans[index], spans[other]) is not None]
        shared.append(_with_shared(item, [found[other] for other in others],
                                   [common for other in others if (common := _common(spans[index], spans[other]))],
                                   clients))
    return shared


def _span(item: Disruption, until: float) -> Span | None:
    """From its injection until all was well again: restored, and what was injected taken back."""
    marks = item.marks
    if marks.injected is None or not item.disrupted:
        return None
    if item.kind == "fault" and marks.restored is None:
        return marks.injected, until
    end = last([marks.restored, marks.stalled, item.window_s[1] if item.window_s else None])
    return marks.injected, until if end is None else end


def _common(one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return None
    begin, end = max(one[0], other[0]), min(one[1], other[1])
    return (begin, end) if begin < end else None


def hit_deployments(item: Disruption, evidence: Evidence) -> frozenset[str]:
    """The Deployments (keys) whose pods it hit, by name or by their node; a pod that none owns stands for itself."""
    targets = item.target_keys
    named = {target.removeprefix("deployment ") for target in item.targets if target.startswith("deployment ")}
    hit = {pod.uid: pod.key for pod in evidence.pods if pod.key in targets or (pod.node and pod.node in targets)}
    return frozenset(named | {evidence.deployment_of(uid) or key for uid, key in hit.items()})


def _with_shared(
    item: Disruption, others: Sequence[Disruption], spans: Sequence[Span], clients: Clients | None
) -> Disruption:
    if not others:
        return item
    names = tuple(other.name for other in others)
    failed = sum(clients.requests(begin, end).failed for begin, end in union(spans)) if clients else 0
    restored = item.marks.restored
    together = [other.name for other in others if restored is not None and other.marks.restored is not None
                and abs(other.marks.restored - restored) <= SAME_S]
    notes = [f"at the same time as {', '.join(names)}, on the same workload"]
    if together:
        notes.append(f"restored is shared with {', '.join(together)}: the workload was whole again only after both")
    if failed:
        notes.append(f"{failed} request{'s' if failed > 1 else ''} failed while both were under way: either's, "
                     "counted once, for the one that began last")
    return item.model_copy(update={"shared_with": names, "shared_failed": failed, "notes": (*item.notes, *notes)})
