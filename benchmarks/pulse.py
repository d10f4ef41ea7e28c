"""The instrument itself: does it send on time, and does it measure a known outage?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import docker

from benchmarks.cluster import READINESS, BenchCluster, deployment, until
from benchmarks.rows import Row, quantile
from testbed.api import labels
from testbed.load.outage import normal_band, outages
from testbed.load.records import PulseData, read

RATE = 200
FREEZE_S = 1.0


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("pulse", 1, extra=READINESS.replace("periodSeconds: 1", "periodSeconds: 30")))
    pod = cluster.wait_ready(1)[0]["metadata"]["name"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pulse"
        with Pulse(cluster, "pulse", file):
            time.sleep(10)
            stopped_ns, frozen_s = _freeze(pod)
            time.sleep(5)
        data = read(file)
    cluster.testbed("delete", "deploy/pulse", "svc/pulse")
    late_ms = quantile([record.lateness_s * 1000 for record in data.stream()], 0.99)
    measured = longest_outage_s(data, stopped_ns)
    return [
        Row(f"pulse at {RATE}/s: lateness of sending, p99", late_ms, 3, "ms"),
        Row("outage of a known 1 s freeze: error", abs(measured - frozen_s) * 1000, 10, "ms",
            f"frozen {frozen_s:.4f} s, measured {measured:.4f} s"),
    ]


class Pulse:
    """The prober as a process, over one block."""

    def __init__(self, cluster: BenchCluster, service: str, file: Path, rate: int = RATE) -> None:
        address = cluster.get("service", service)["spec"]["clusterIP"]
        self.file = file
        self.argv = [sys.executable, "-m", "testbed.load.pulse", "--url", f"http://{address}/", "--rate", str(rate),
                     "--out", str(file)]

    def __enter__(self) -> Pulse:
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE)
        until(lambda: self.file.exists() and self.file.stat().st_size > 2000, "the first requests")
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def longest_outage_s(data: PulseData, stopped_ns: int) -> float:
    records = data.stream()
    until_ns = max(record.due_ns for record in records)
    found = outages(records, normal_band(records, stopped_ns), period_s=1 / RATE, until_ns=until_ns)
    return max((outage.length_s(until_ns) for outage in found), default=0.0)


def _freeze(pod: str) -> tuple[int, float]:
    """SIGSTOP and SIGCONT to the container's processes; returns when, and how long it really was stopped."""
    client = docker.from_env()
    filters = {"label": [f"{labels.POD_NAME}={pod}", f"{labels.ROLE}={labels.ROLE_CONTAINER}"]}
    container = client.api.containers(filters=filters)[0]["Id"]
    pids = [int(row[1]) for row in client.api.top(container)["Processes"]]
    client.close()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    time.sleep(FREEZE_S)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return stopped_ns, (time.monotonic_ns() - stopped_ns) / 1e9
