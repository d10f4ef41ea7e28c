"""What a cluster of three nodes and thirty pods costs while nothing happens: memory (PSS) and processor time of all our
Python processes together."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.cluster import READINESS, BenchCluster, deployment
from benchmarks.rows import Row

SETTLE_S = 10.0
WATCH_S = 30.0


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("idle", 30, extra=READINESS))
    cluster.wait_ready(30)
    time.sleep(SETTLE_S)
    processes = ours(cluster.home)
    before, started = sum(map(_cpu_s, processes)), time.monotonic()
    time.sleep(WATCH_S)
    share = 100 * (sum(map(_cpu_s, processes)) - before) / (time.monotonic() - started)
    memory = sum(map(_pss_mb, processes))
    detail = ", ".join(f"{_title(pid)} {_pss_mb(pid):.0f}" for pid in processes)
    cluster.testbed("delete", "deploy/idle", "svc/idle")
    return [
        Row("our processes, 3 nodes and 30 pods idle: memory (PSS)", memory, 450, "MB", detail),
        Row("the same: processor time", share, 8, "%", "of one core; each pod has a readiness probe a second"),
    ]


def ours(home: Path) -> list[int]:
    """Processes whose command line names the cluster's state directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(home) in command:
            found.append(int(path.parent.name))
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _title(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    module = next((words[index + 1] for index, word in enumerate(words[:-1]) if word == "-m"), words[0])
    node = next((words[index + 1] for index, word in enumerate(words[:-1]) if word == "--node"), "")
    return f"{module.removeprefix('testbed.')}{' ' + node if node else ''}"
