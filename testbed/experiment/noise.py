"""Detector quality: what was done to pods that no fault had hit. Pure.

A detector that is quick because it shoots the healthy is worthless, so this account stands beside the time it took to
notice. A *false act* is a restart because of a probe, an eviction, or a time out of rotation, of a pod that no fault
explains: none whose targets hold the pod or its node, from its injection until everything was restored (or the fault
was undone) and a little longer. Noise explains nothing: a step with ``noise: true`` is meant to be lived through. Nor
does a fault of another pod: who restarts a service because its database is away has shot the healthy. A container
that died by itself is no false act, and neither is anything that a deletion, a rollout or a scaling brings with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.experiment.observations import Evidence, PodSeen
from testbed.experiment.result import Detector, Disruption, FalseAct
from testbed.experiment.scene import Group, last
from testbed.experiment.spans import Span, length

SLACK_S = 2.0  # what comes this soon after the end of a fault is still its
_LAG_S = 0.5  # a pod that is taken out may be seen to be deleted this much later
_BY_PROBE = ("failed liveness probe", "failed startup probe")
_EVICTIONS = ("TaintManagerEviction", "Evicted")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


class Accounts:
    """The false acts of one run, from which the account of any stretch of it is taken.

    Args:
        deployments: keys of what is watched. known: all disruptions of the run.
    """

    def __init__(
        self, evidence: Evidence, deployments: Sequence[str], known: Sequence[Disruption], until: float
    ) -> None:
        self._evidence, self._until = evidence, until
        self._group = Group(evidence, tuple(deployments))
        self._known = [item for item in known if not item.noise and item.marks.injected is not None]
        self._pods: dict[str, list[PodSeen]] = {}
        for pod in self._group.pods():
            self._pods.setdefault(pod.uid, []).append(pod)
        self._nodes = {seen[-1].key: seen[-1].node for seen in self._pods.values()}
        self._changes = sorted(self._flips())
        self.acts = tuple(sorted((*self._by_events(), *self._isolations()), key=lambda act: act.start_s))

    def between(self, since: float, until: float) -> Detector:
        """The account of what began in [since, until)."""
        acts = tuple(act for act in self.acts if since <= act.start_s < until)
        isolated = [act for act in acts if act.what == "isolation"]
        return Detector(
            false_restarts=sum(act.what == "restart" for act in acts),
            false_evictions=sum(act.what == "eviction" for act in acts),
            false_isolations=len(isolated),
            false_isolated_s=sum((self._until if act.end_s is None else act.end_s) - act.start_s for act in isolated),
            probe_hours=self._probe_hours(since, until), acts=acts,
            state_changes=sum(since <= at < until for at in self._changes),
            faults=sum(item.kind in ("fault", "uninvited") and since <= (item.marks.injected or 0.0) < until
                       for item in self._known),
        )

    # --- acts

    def _by_events(self) -> Iterator[FalseAct]:
        keys = self._group.keys()
        for event in self._evidence.events:
            kind, _, key = event.about.partition("/")
            if kind != "Pod" or key not in keys or self._explained(key, event.at):
                continue
            if event.reason == "Killing" and any(words in event.message for words in _BY_PROBE):
                yield FalseAct(what="restart", pod=key, start_s=event.at, message=event.message)
            elif event.reason in _EVICTIONS:
                yield FalseAct(what="eviction", pod=key, start_s=event.at, message=event.message)

    def _isolations(self) -> Iterator[FalseAct]:
        for seen in self._pods.values():
            key = seen[0].key
            leaving = next((pod.at for pod in seen if pod.deleting or pod.gone), None)
            for begin, end in self._out_of_rotation(key):
                if leaving is not None and leaving <= begin + _LAG_S:
                    break
                if not self._explained(key, begin):
                    stop = min((at for at in (end, leaving) if at is not None), default=None)
                    yield FalseAct(what="isolation", pod=key, start_s=begin, end_s=stop)

    def _out_of_rotation(self, key: str) -> Iterator[tuple[float, float | None]]:
        """Each time this pod was in no EndpointSlice after it had been in one."""
        holding: set[str] = set()
        since: float | None = None
        for item in self._evidence.endpoints:
            if key in item.pods:
                holding.add(item.slice)
                if since is not None:
                    yield since, item.at
                    since = None
            elif item.slice in holding:
                holding.discard(item.slice)
                since = item.at if not holding else None
        if since is not None:
            yield since, None

    def _explained(self, key: str, at: float) -> bool:
        return any(self._covers(item, key) and self._lasts(item, at) for item in self._known)

    def _covers(self, item: Disruption, key: str) -> bool:
        if item.kind not in ("fault", "uninvited"):
            return True
        targets = item.target_keys
        return key in targets or self._nodes.get(key, "") in targets

    @staticmethod
    def _lasts(item: Disruption, at: float) -> bool:
        end = last([item.marks.restored, item.marks.undone, item.window_s[1] if item.window_s else None])
        return (item.marks.injected or 0.0) - 0.05 <= at and (end is None or at <= end + SLACK_S)

    # --- how much was watched, and how much it wavered

    def _probe_hours(self, since: float, until: float) -> float:
        hours = 0.0
        for uid, seen in self._pods.items():
            gone = next((pod.at for pod in seen if pod.gone), until)
            span: Span = (max(since, seen[0].at), min(until, gone))
            hours += _probes(self._evidence.pod_json.get(uid, {})) * length([span]) / 3600
        return hours

    def _flips(self) -> Iterator[float]:
        """Every time a pod turned ready or unready; its first readiness and its end are none."""
        for seen in self._pods.values():
            known: bool | None = None
            for pod in seen:
                if pod.deleting or pod.gone:
                    break
                if known is not None and pod.ready != known:
                    yield pod.at
                known = pod.ready if pod.ready or known is not None else None


def _probes(pod: Mapping[str, Any]) -> int:
    """How many probes its containers have."""
    return sum(bool(container.get(name)) for container in (pod.get("spec") or {}).get("containers") or ()
               for name in _PROBES)
