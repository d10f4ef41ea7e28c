"""Requests lost while an application that drains is updated again and again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.cluster import READINESS, BenchCluster, deployment
from benchmarks.pulse import Pulse
from benchmarks.rows import Row
from testbed.load.records import read

RATE = 200
REQUESTS = 20_000


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("rolling", 4, extra=READINESS))
    cluster.wait_ready(4)
    rollouts = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pulse"
        with Pulse(cluster, "rolling", file, RATE):
            while len(read(file).stream()) < REQUESTS:
                rollouts += 1
                image = "sample:v2" if rollouts % 2 else "sample:v1"
                cluster.apply(deployment("rolling", 4, extra=READINESS, image=image))
                cluster.testbed("rollout", "status", "rolling", "--timeout", "120s")
        records = read(file).stream()
    cluster.testbed("delete", "deploy/rolling", "svc/rolling")
    lost = [record for record in records if not record.ok]
    kinds = ", ".join(sorted({str(record.outcome) for record in lost}))
    return [Row(f"requests lost in rolling updates of 4 replicas at {RATE}/s", len(lost), 0, "",
                f"{len(records)} requests, {rollouts} rollouts{'; ' + kinds if kinds else ''}")]
