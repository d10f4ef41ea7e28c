"""Injection to verified effect, as each fault object's own status tells it: ``Started`` just before the act,
``Succeeded`` when the effect was seen. What looking at the effect takes is part of it."""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks.cluster import BenchCluster, deployment, until
from benchmarks.rows import Row, spread

ROUNDS = 7
CASES: tuple[tuple[str, str, dict[str, Any], float], ...] = (
    ("container-kill", "PodChaos", {"action": "container-kill", "containerNames": ["web"]}, 0.3),
    ("freeze", "FreezeChaos", {}, 0.3),
    ("node freeze", "NodeChaos", {"action": "freeze"}, 0.3),
    ("node partition", "NodeChaos", {"action": "partition"}, 0.3),
    ("node partition from the other nodes", "NodeChaos", {"action": "partition", "from": "nodes"}, 0.3),
    ("node kill", "NodeChaos", {"action": "kill"}, 0.3),
    ("API kill", "ControlPlaneChaos", {"action": "kill", "duration": "1s"}, 0.3),
    ("API freeze", "ControlPlaneChaos", {"action": "freeze", "duration": "1s"}, 0.3),
    ("sham (a holder container alone)", "ShamChaos", {}, 1.0),
    ("CPU stress", "StressChaos", {"stressors": {"cpu": {"workers": 1, "load": 20}}}, 1.0),
    ("memory stress of 64 MB", "StressChaos", {"stressors": {"memory": {"workers": 1, "size": "64MB"}}}, 1.0),
    ("network partition", "NetworkChaos", {"action": "partition", "direction": "both"}, 0.3),
    ("network loss of 20 %", "NetworkChaos", {"action": "loss", "loss": {"loss": "20"}}, 0.3),
    ("network delay of 100 ms", "NetworkChaos", {"action": "delay", "delay": {"latency": "100ms"}}, 1.0),
    ("slow disk of a node", "NodeChaos", {"action": "slow-disk", "writeBytesPerSecond": "2MB"}, 1.0),
)


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("hit", 4))
    cluster.wait_ready(4)
    rows = []
    for word, kind, spec, target_s in CASES:
        took_s = [_injected_s(cluster, kind, f"bench-{number}", spec) for number in range(ROUNDS)]
        rows.append(Row(f"{word}: injection to verified effect", statistics.median(took_s), target_s, "s",
                        spread([value * 1000 for value in took_s]) + " ms"))
    cluster.testbed("delete", "deploy/hit", "svc/hit")
    return rows


def _injected_s(cluster: BenchCluster, kind: str, name: str, spec: dict[str, Any]) -> float:
    """Seconds of one injection, which is taken back before the next."""
    cluster.wait_ready(4)
    group = "chaos-mesh.org" if kind in ("PodChaos", "StressChaos", "NetworkChaos") else "testbed.io"
    cluster.apply(json.dumps({
        "apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name},
        "spec": {"mode": "one", "duration": "30s", "selector": {"labelSelectors": {"app": "hit"}}, **spec}}))
    started_ns, seen_ns = until(lambda: _asked(cluster, kind, name), f"{kind} {name} to take effect")
    cluster.testbed("delete", kind.lower(), name)
    return float(seen_ns - started_ns) / 1e9


def _asked(cluster: BenchCluster, kind: str, name: str) -> tuple[int, int] | None:
    """None also while the API cannot be asked, which is what some of these faults do."""
    try:
        return _moments(cluster.get(kind.lower(), name))
    except SystemExit:
        return None


def _moments(obj: dict[str, Any]) -> tuple[int, int] | None:
    """Of the last attempt, once it has succeeded."""
    started = 0
    for record in obj.get("status", {}).get("experiment", {}).get("containerRecords", ()):
        for event in record.get("events", ()):
            if (event["operation"], event["type"]) == ("Apply", "Started"):
                started = event["monotonicNs"]
            if (event["operation"], event["type"]) == ("Apply", "Succeeded"):
                return started, event["monotonicNs"]
    return None
