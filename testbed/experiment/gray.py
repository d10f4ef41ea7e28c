"""When the cluster had reason to know that something is wrong: the times that are *not* green. Pure.

The gray-failure gap is the time over which requests fail or come late again and again and nothing here is red. Red is:
a pod that was ready and is not; a container that is known to have died, until it is ready again; a probe that failed,
until the next one was due; a pod that is being deleted and still in rotation; a Service with nobody in rotation. A new
pod that is not ready *yet* is no alarm. Moments of Events are exact, those of watches some milliseconds late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.experiment.observations import EventSeen, Evidence, PodSeen
from testbed.experiment.pod_probes import probe_in
from testbed.experiment.scene import Group
from testbed.experiment.spans import Span, union

Json = Mapping[str, Any]
_UNKNOWN_S = 11.0  # of a probe that the spec does not have: the usual period and time-out
_LEFT = ("ContainerDied", "ContainerUnready")


def red_spans(evidence: Evidence, deployments: Sequence[str], until: float) -> list[Span]:
    """All times up to ``until`` at which something about the pods of these Deployments (keys) was known to be wrong."""
    group = Group(evidence, tuple(deployments))
    by_pod: dict[str, list[PodSeen]] = {}
    for pod in group.pods():
        by_pod.setdefault(pod.uid, []).append(pod)
    events: dict[str, list[EventSeen]] = {}
    for event in sorted(evidence.events, key=lambda item: item.at):
        events.setdefault(event.about, []).append(event)
    spans: list[Span] = list(_nobody_in_rotation(evidence, group.keys(), until))
    for uid, seen in by_pod.items():
        told = events.get(f"Pod/{seen[0].key}", [])
        spans += _unready(seen, until)
        spans += _dead(seen, told, until)
        spans += _failing(told, evidence.pod_json.get(uid, {}).get("spec") or {})
        spans += _leaving(seen, evidence, until)
    return union((begin, min(end, until)) for begin, end in spans)


def _unready(seen: Sequence[PodSeen], until: float) -> Iterator[Span]:
    since: float | None = None
    was_ready = False
    for pod in seen:
        wrong = was_ready and not pod.ready and not pod.deleting and not pod.gone
        was_ready = was_ready or pod.ready
        if wrong and since is None:
            since = pod.at
        elif not wrong and since is not None:
            yield since, pod.at
            since = None
    if since is not None:
        yield since, until


def _dead(seen: Sequence[PodSeen], told: Sequence[EventSeen], until: float) -> Iterator[Span]:
    """From each death (or loss of readiness) that was told until the pod was told, or else seen, to be ready again."""
    for event in told:
        if event.reason not in _LEFT:
            continue
        back = [other.at for other in told if other.reason == "ContainerReady" and other.at > event.at]
        if not back:  # without a readiness probe nothing tells but the start
            back = [other.at for other in told if other.reason == "Started" and other.at > event.at
                    and not any(pod.at > event.at and not pod.ready for pod in seen)]
        gone = [pod.at for pod in seen if pod.gone and pod.at > event.at]
        yield event.at, min([*back, *gone], default=until)


def _failing(told: Sequence[EventSeen], spec: Json) -> Iterator[Span]:
    """A failed probe counts until the one after it must have ended."""
    for event in told:
        if event.reason == "Unhealthy":
            probe = probe_in(event.message, spec)
            yield event.at, event.at + (probe.period_s + probe.timeout_s if probe is not None else _UNKNOWN_S)


def _leaving(seen: Sequence[PodSeen], evidence: Evidence, until: float) -> Iterator[Span]:
    began = next((pod.at for pod in seen if pod.deleting), None)
    if began is None:
        return
    key = seen[0].key
    holding: set[str] = set()
    left: float | None = None
    for item in evidence.endpoints:
        if key in item.pods:
            holding.add(item.slice)
        elif item.slice in holding:
            holding.discard(item.slice)
            left = item.at
    gone = next((pod.at for pod in seen if pod.gone), until)
    yield began, gone if holding or left is None else max(left, began)


def _nobody_in_rotation(evidence: Evidence, keys: frozenset[str], until: float) -> Iterator[Span]:
    """Each Service of the group that had somebody, while it has nobody."""
    for service in {item.service for item in evidence.endpoints if item.pods & keys}:
        slices: dict[str, frozenset[str]] = {}
        since: float | None = None
        served = False
        for item in evidence.endpoints:
            if item.service != service:
                continue
            slices[item.slice] = item.pods
            someone = any(slices.values())
            if someone and since is not None:
                yield since, item.at
                since = None
            elif not someone and served and since is None:
                since = item.at
            served = served or someone
        if since is not None:
            yield since, until
