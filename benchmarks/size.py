"""What 200 pods on one machine cost while nothing happens: real containers of the sample, each probed every 10 s, over
three nodes; memory (PSS) and processor time of all our Python processes together."""

from __future__ import annotations

import time

from benchmarks.cluster import BenchCluster, deployment, until
from benchmarks.idle import cpu_shares, detail, ours, pss_mb
from benchmarks.rows import Row

PODS = 200
PROBES = """          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 10}
          livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10}"""
START_WITHIN_S = 600.0
SETTLE_S = 30.0
WATCH_S = 60.0


def measure(cluster: BenchCluster) -> list[Row]:
    started = time.monotonic()
    cluster.apply(deployment("many", PODS, extra=PROBES))
    until(lambda: cluster.get("deploy", "many")["status"].get("availableReplicas", 0) == PODS,
          f"{PODS} available pods", timeout_s=START_WITHIN_S, every_s=2.0)
    took_s = time.monotonic() - started
    time.sleep(SETTLE_S)
    shares = cpu_shares(ours(cluster), WATCH_S)
    memory = {pid: pss_mb(pid) for pid in shares}
    cluster.testbed("delete", "deploy/many", "svc/many")
    until(lambda: not cluster.get("pods")["items"], "the pods to go", timeout_s=START_WITHIN_S, every_s=2.0)
    return [
        Row(f"our processes, 3 nodes and {PODS} pods idle: memory (PSS)", sum(memory.values()), 700, "MB",
            detail(memory)),
        Row("the same: processor time of one core", sum(shares.values()), 25, "%",
            f"{detail(shares)}; all available after {took_s:.0f} s"),
    ]
