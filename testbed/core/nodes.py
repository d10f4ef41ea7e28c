"""Which nodes are alive, and what follows for the others.

The rule above all others here: *unknown is not dead*. A node is silent only when **we have watched it being silent**
for the whole grace period. Seconds in which we did not watch (we had only just started, were frozen, could not read
the API) do not count, and neither does anybody's wall clock: a lease is fresh from the moment at which we saw it
change. When all nodes are silent it is far more likely that we are the ones who are cut off: nothing is done then but
to say that the nodes are unknown. The first one that is heard again gives all others a new grace period.

Decides: conditions of silent nodes, taints, which nodes' pods count as not ready. Leaves to its loop: observing leases,
writing, eviction (``core/eviction.py``).

Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go (monitorNodeHealth, handleDisruption,
processTaintBaseEviction, ComputeZoneState).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.core_v1 import Node, Taint
from testbed.api.labels import REGION, TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, ZONE
from testbed.api.meta import format_time
from testbed.core.reasons import Note

Json = dict[str, Any]
REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")  # conditions that a silent node cannot vouch for
UNKNOWN_REASON = "NodeStatusUnknown"
UNKNOWN_MESSAGE = "Kubelet stopped posting node status."
PARTIAL_DISRUPTION_SHARE = 0.55  # unhealthy-zone-threshold
PARTIAL_DISRUPTION_MIN = 3  # from so many not-ready nodes on, a share above the threshold slows evictions or stops them
LARGE_ZONE = 50  # large-cluster-size-threshold: up to so many nodes a partly disrupted zone's evictions stop
PRESSURE_TAINTS = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure", "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
_MANAGED = (TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, *PRESSURE_TAINTS.values())


@dataclass(frozen=True)
class Sighting:
    """What we saw of a node's heartbeat last, and when, in seconds that we watched."""

    heartbeat: str
    seen_s: float


@dataclass(frozen=True)
class NodePlan:
    """What to write to one node, and what to do with its pods.

    ``silent``: no sign of life within the grace period. ``conditions``, ``taints``: the whole new lists, None: as they
    are. ``pods_not_ready``: their readiness is taken back, so that endpoints drop them. ``evict``: the node waits for
    its NoExecute taint (the loop hands nodes out at a limited rate).
    """

    name: str
    zone: str
    silent: bool
    conditions: tuple[Json, ...] | None = None
    taints: tuple[Json, ...] | None = None
    pods_not_ready: bool = False
    evict: bool = False
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ClusterPlan:
    """``rates``: nodes per second that may be given up, by zone; 0: none. ``frozen`` says why, empty when all zones go
    their way. ``all_silent``: see the module's rule."""

    nodes: tuple[NodePlan, ...]
    rates: Mapping[str, float]
    all_silent: bool = False
    frozen: str = ""


@dataclass(frozen=True)
class EvictionRates:
    """Nodes per second: node-eviction-rate, secondary-node-eviction-rate."""

    normal_per_s: float
    secondary_per_s: float


def watched_after(watched_s: float, elapsed_s: float, period_s: float) -> float:
    """Seconds watched, one look later. A gap longer than two periods means that we were not there; it counts as one."""
    return watched_s + (elapsed_s if elapsed_s <= 2 * period_s else period_s)


def sighted(before: Sighting | None, heartbeat: str, watched_s: float) -> Sighting:
    """A changed heartbeat is a sign of life now; so is the first look, because before it we saw nothing."""
    if before is None or before.heartbeat != heartbeat:
        return Sighting(heartbeat, watched_s)
    return before


def plan(
    nodes: Sequence[Node], raw_conditions: Mapping[str, Sequence[Json]], sightings: Mapping[str, Sighting],
    watched_s: float, grace_s: float, now: datetime, *, rates: EvictionRates, may_evict: Collection[str] = (),
    was_ready: Collection[str] = (),
) -> ClusterPlan:
    """
    Args:
        raw_conditions: each node's conditions as JSON.
        watched_s: how long we have watched; compared with the sightings.
        may_evict: nodes whose turn it is to get a NoExecute taint.
        was_ready: nodes that were Ready at the last look.
    """
    silent = {node.metadata.name for node in nodes if _silent(sightings.get(node.metadata.name), watched_s, grace_s)}
    all_silent = bool(nodes) and len(silent) == len(nodes)
    unready = {node.metadata.name for node in nodes if not node.ready or node.metadata.name in silent}
    by_zone, frozen = zone_rates(nodes, unready, rates)
    if all_silent:
        frozen = "all nodes are silent: more likely we are cut off than all of them dead"
    return ClusterPlan(
        tuple(
            _node_plan(
                node, raw_conditions.get(node.metadata.name, ()), now, silent=node.metadata.name in silent,
                all_silent=all_silent, may_evict=node.metadata.name in may_evict and by_zone[zone_of(node)] > 0,
                was_ready=node.metadata.name in was_ready,
            )
            for node in nodes
        ),
        by_zone, all_silent, frozen,
    )


def zone_of(node: Node) -> str:
    """Region and zone; nodes that name none are one zone (kubernetes: component-helpers GetZoneKey)."""
    labels = node.metadata.labels
    return "/".join(part for key in (REGION, ZONE) if (part := labels.get(key, "")))


def zone_rates(
    nodes: Sequence[Node], unready: Collection[str], rates: EvictionRates
) -> tuple[dict[str, float], str]:
    """How fast nodes of each zone may be given up, and why not where they may not.

    A zone that is partly disrupted slows down, or stops where it is small; one that is down whole goes at the normal
    rate as long as another lives; when all are down nobody is given up (handleDisruption, ComputeZoneState).
    """
    zones: dict[str, list[bool]] = {}
    for node in nodes:
        zones.setdefault(zone_of(node), []).append(node.metadata.name not in unready)
    if zones and not any(any(ready) for ready in zones.values()):
        return dict.fromkeys(zones, 0.0), "no node of any zone is ready: evictions stop (kubernetes: full disruption)"
    found: dict[str, float] = {}
    why = []
    for zone, ready in zones.items():
        down = ready.count(False)
        partly = any(ready) and down >= PARTIAL_DISRUPTION_MIN and down / len(ready) >= PARTIAL_DISRUPTION_SHARE
        if not partly:
            found[zone] = rates.normal_per_s
            continue
        found[zone] = rates.secondary_per_s if len(ready) > LARGE_ZONE else 0.0
        place = f" of zone {zone}" if zone else ""
        what = "slow down" if found[zone] else "stop"
        why.append(f"{down} of {len(ready)} nodes{place} not ready: evictions {what} (kubernetes: partial disruption)")
    return found, "; ".join(why)


def _silent(sighting: Sighting | None, watched_s: float, grace_s: float) -> bool:
    return sighting is not None and watched_s - sighting.seen_s > grace_s


def _node_plan(
    node: Node, conditions: Sequence[Json], now: datetime, *, silent: bool, all_silent: bool, may_evict: bool,
    was_ready: bool,
) -> NodePlan:
    """A silent node's pods are taken out at every look; of a node that itself says it is not ready only when it first
    says so, since its agent is alive and may know better of a single pod."""
    condition = node.condition("Ready")
    reported = condition.status if condition is not None else None
    status = "Unknown" if silent else reported
    fell = status != "True" and (was_ready or (silent and reported == "True"))
    down = status in ("False", "Unknown")
    return NodePlan(
        name=node.metadata.name, zone=zone_of(node), silent=silent,
        conditions=_unknown_conditions(conditions, now) if silent else None,
        taints=None if all_silent else _taints(node, status, may_evict, now),
        pods_not_ready=not all_silent and (silent or (down and fell)),
        evict=down and not all_silent,
        notes=(Note("NodeNotReady", f"Node {node.metadata.name} status is now: NodeNotReady"),) if fell else (),
    )


def _unknown_conditions(conditions: Sequence[Json], now: datetime) -> tuple[Json, ...] | None:
    """The reported conditions as Unknown, others as they are; None when they are already."""
    by_type = {str(item.get("type")): item for item in conditions}
    if all(by_type.get(kind, {}).get("status") == "Unknown" for kind in REPORTED):
        return None
    moment = format_time(now)
    fresh = [dict(item) for item in conditions if item.get("type") not in REPORTED]
    for kind in REPORTED:
        current = by_type.get(kind)
        if current is not None and current.get("status") == "Unknown":
            fresh.append(dict(current))
        elif current is None:
            fresh.append({"type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                          "message": "Kubelet never posted node status.", "lastTransitionTime": moment})
        else:
            fresh.append({**current, "status": "Unknown", "reason": UNKNOWN_REASON, "message": UNKNOWN_MESSAGE,
                          "lastTransitionTime": moment})
    return tuple(fresh)


def _taints(node: Node, status: str | None, may_evict: bool, now: datetime) -> tuple[Json, ...] | None:
    """All taints as they shall be, or None. NoSchedule follows the condition at once, NoExecute when it is its turn;
    one that is there stays until the node is ready again. A node that never reported (``status`` None) is not ready."""
    wanted: list[tuple[str, str]] = []
    if node.spec.unschedulable:
        wanted.append((TAINT_UNSCHEDULABLE, "NoSchedule"))
    wanted += [(key, "NoSchedule") for kind, key in PRESSURE_TAINTS.items()
               if (told := node.condition(kind)) is not None and told.status == "True"]
    if status != "True":
        key = TAINT_UNREACHABLE if status == "Unknown" else TAINT_NOT_READY
        wanted.append((key, "NoSchedule"))
        executing = any(item.effect == "NoExecute" and item.key in _MANAGED for item in node.spec.taints)
        if status is not None and (may_evict or executing):
            wanted.append((key, "NoExecute"))
    have = [(item.key, item.effect) for item in node.spec.taints if item.key in _MANAGED]
    if sorted(have) == sorted(wanted):
        return None
    kept = [item for item in node.spec.taints if item.key not in _MANAGED or (item.key, item.effect) in wanted]
    fresh = [pair for pair in wanted if pair not in have]
    return tuple(
        [_taint_json(item) for item in kept]
        + [{"key": key, "effect": effect, "timeAdded": format_time(now)} for key, effect in fresh]
    )


def _taint_json(taint: Taint) -> Json:
    parts: Json = {"key": taint.key, "effect": taint.effect}
    if taint.value:
        parts["value"] = taint.value
    if taint.time_added is not None:
        parts["timeAdded"] = format_time(taint.time_added)
    return parts
