"""Evidence and records as bins on one time axis, for charts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiment.alert_events import FIRING, RESOLVED
from testbed.experiment.clients import Clients
from testbed.experiment.observations import Evidence
from testbed.experiment.result import Series, TimelineEvent
from testbed.experiment.scene import Group, desired_steps, ready_steps, value_at
from testbed.load.outage import percentile

BIN_S = 0.1
MOST_EVENTS = 400
MAX_BINS = 3000  # five minutes of 0.1 s; longer runs get wider bins, so that the report stays small

SHOWN_EVENTS = frozenset({  # and every warning
    FIRING, RESOLVED, "ContainerDied", "Unhealthy", "Killing", "BackOff", "Created", "Started", "ContainerReady",
    "ContainerUnready", "NodeNotReady", "NodeReady", "TaintManagerEviction", "Evicted", "ScalingReplicaSet",
    "EndpointsProgrammed", "FailedScheduling", "ProgressDeadlineExceeded", "Failed", "DeploymentRollback",
})


def make_series(
    evidence: Evidence, deployments: Sequence[str], clients: Clients | None, duration_s: float
) -> Series:
    """Bins from the start of the run to its end."""
    bin_s = BIN_S
    while duration_s / bin_s > MAX_BINS:
        bin_s = round(bin_s * 2, 3)
    count = max(1, int(duration_s / bin_s) + 1)
    group = Group(evidence, tuple(deployments))
    pods = group.pods()
    ready, desired = ready_steps(pods), desired_steps(evidence.deployments, deployments)
    ends = [(index + 1) * bin_s for index in range(count)]
    due, failed, quantiles = _requests(clients, count, bin_s)
    return Series(
        bin_s=bin_s, due=tuple(due), failed=tuple(failed), p50=quantiles[0], p95=quantiles[1], p99=quantiles[2],
        ready=tuple(value_at(ready, end) for end in ends), desired=tuple(value_at(desired, end) for end in ends),
        restarts=_restarts(group, count, bin_s),
    )


def _requests(
    clients: Clients | None, count: int, bin_s: float
) -> tuple[list[int], list[int], list[tuple[float | None, ...]]]:
    due, failed = [0] * count, [0] * count
    latencies: list[list[float]] = [[] for _ in range(count)]
    for record in clients.records if clients else ():
        index = int((record.due_ns - clients.start_ns) / 1e9 / bin_s) if clients else 0
        if not 0 <= index < count:
            continue
        due[index] += 1
        if not record.ok:
            failed[index] += 1
        if record.done_ns and record.ok:
            latencies[index].append(record.latency_s)
    for values in latencies:
        values.sort()
    quantiles = [tuple(round(percentile(values, q), 5) if values else None for values in latencies)
                 for q in (0.5, 0.95, 0.99)]
    return due, failed, quantiles


def _restarts(group: Group, count: int, bin_s: float) -> tuple[int, ...]:
    bins, seen = [0] * count, dict[str, int]()
    for pod in group.pods():
        before = seen.get(pod.uid, pod.restarts)
        index = int(pod.at / bin_s)
        if pod.restarts > before and 0 <= index < count:
            bins[index] += pod.restarts - before
        seen[pod.uid] = max(before, pod.restarts)
    return tuple(bins)


def shown_events(evidence: Evidence, deployments: Sequence[str]) -> tuple[TimelineEvent, ...]:
    """Events about the workload and the nodes that belong on a time axis."""
    keys = Group(evidence, tuple(deployments)).keys()
    found: list[TimelineEvent] = []
    for event in sorted(evidence.events, key=lambda item: item.at):
        kind, _, key = event.about.partition("/")
        if not (event.reason in SHOWN_EVENTS or event.warning) or (kind == "Pod" and key not in keys):
            continue
        name = key.removeprefix("/")
        found.append(TimelineEvent(at_s=round(event.at, 4), kind=event.reason, object=f"{kind.lower()} {name}",
                                   message=event.message[:300], level="warning" if event.warning else "normal"))
    return tuple(found)
