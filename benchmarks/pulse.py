"""The instrument itself: does it send on time, and does it measure a known outage?

The truth is when the container's processes were stopped and continued (CLOCK_MONOTONIC, the pulse's own clock).
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import docker

from benchmarks.cluster import READINESS, BenchCluster, deployment, until
from benchmarks.rows import Row, quantile, spread
from testbed.api import labels
from testbed.load.outage import normal_band, outages
from testbed.load.records import PulseData, read

RATE = 200
FREEZE_S = 1.0
FREEZES = 5
CALM_S = 4.0


@dataclass(frozen=True)
class Freeze:
    """Both ns of CLOCK_MONOTONIC."""

    stopped_ns: int
    continued_ns: int

    @property
    def length_s(self) -> float:
        return (self.continued_ns - self.stopped_ns) / 1e9


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("pulse", 1, extra=READINESS.replace("periodSeconds: 1", "periodSeconds: 30")))
    pids = processes_of(cluster.wait_ready(1)[0]["metadata"]["name"])
    freezes = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pulse"
        with Pulse(cluster, "pulse", file):
            time.sleep(10)
            for _ in range(FREEZES):
                freezes.append(_freeze(pids))
                time.sleep(CALM_S)
        data = read(file)
    cluster.testbed("delete", "deploy/pulse", "svc/pulse")
    late_ms = [record.lateness_s * 1000 for record in data.stream()]
    errors = errors_ms(data, freezes)
    return [
        Row(f"pulse at {RATE}/s: lateness of sending, p99", quantile(late_ms, 0.99), 3, "ms",
            f"p50 {quantile(late_ms, 0.5):.2f}, longest {max(late_ms):.1f}, n {len(late_ms)}"),
        Row(f"outage of a known {FREEZE_S:g} s freeze: error, median", statistics.median(map(abs, errors)), 10, "ms",
            f"with its sign: {spread(errors)}"),
    ]


def errors_ms(data: PulseData, freezes: list[Freeze]) -> list[float]:
    """Measured less true length of each freeze. Raises: SystemExit when one was not seen at all."""
    records = data.stream()
    until_ns = max(record.due_ns for record in records)
    band = normal_band(records, freezes[0].stopped_ns)
    found = outages(records, band, period_s=1 / RATE, until_ns=until_ns)
    errors = []
    for freeze in freezes:
        seen = [outage for outage in found if outage.begin_ns < freeze.continued_ns
                and (outage.end_ns or until_ns) > freeze.stopped_ns]
        if not seen:
            raise SystemExit("the pulse has not seen a freeze of its service")
        errors.append((sum(outage.length_s(until_ns) for outage in seen) - freeze.length_s) * 1000)
    return errors


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


def processes_of(pod: str) -> list[int]:
    client = docker.from_env()
    filters = {"label": [f"{labels.POD_NAME}={pod}", f"{labels.ROLE}={labels.ROLE_CONTAINER}"]}
    container = client.api.containers(filters=filters)[0]["Id"]
    pids = [int(row[1]) for row in client.api.top(container)["Processes"]]
    client.close()
    return pids


def _freeze(pids: list[int]) -> Freeze:
    """SIGSTOP and SIGCONT to the container's processes, and when."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    time.sleep(FREEZE_S)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return Freeze(stopped_ns, time.monotonic_ns())
