"""What a cluster of three nodes and thirty pods costs while nothing happens: memory (PSS) and processor time of all our
Python processes together: the room, cables, API, agents, chaos daemon, their helpers, and the gateway's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import docker

from benchmarks.cluster import READINESS, BenchCluster, deployment
from benchmarks.rows import Row

SETTLE_S = 10.0
WATCH_S = 30.0


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("idle", 30, extra=READINESS))
    cluster.wait_ready(30)
    time.sleep(SETTLE_S)
    shares = cpu_shares(ours(cluster), WATCH_S)
    memory = {pid: pss_mb(pid) for pid in shares}
    cluster.testbed("delete", "deploy/idle", "svc/idle")
    return [
        Row("our processes, 3 nodes and 30 pods idle: memory (PSS)", sum(memory.values()), 450, "MB", detail(memory)),
        Row("the same: processor time of one core", sum(shares.values()), 8, "%", detail(shares)),
    ]


def ours(cluster: BenchCluster) -> list[int]:
    """Processes whose command line names the cluster's state directory, what they have started, and the gateway's."""
    parents = _parents()
    found = [pid for pid in parents if str(cluster.home) in _command(pid)]
    for pid in found:  # grows while it is walked: children of children come too
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    client = docker.from_env()
    try:
        found.append(int(client.containers.get(cluster.instance.gateway_container).attrs["State"]["Pid"]))
    finally:
        client.close()
    return found


def cpu_shares(processes: list[int], seconds: float) -> dict[int, float]:
    """Per cent of one core that each used in the coming ``seconds``."""
    before, started = {pid: cpu_s(pid) for pid in processes}, time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    return {pid: 100 * (cpu_s(pid) - used) / took for pid, used in before.items()}


def pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def cpu_s(pid: int) -> float:
    """Seconds of processor time, by the scheduler's own account (ns), which sees what ticks of 10 ms do not."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    return total / 1e9


def detail(values: Mapping[int, float]) -> str:
    """Sums by kind of process, largest first."""
    sums: dict[str, float] = {}
    for pid, value in values.items():
        sums[_title(pid)] = sums.get(_title(pid), 0.0) + value
    return ", ".join(f"{name} {value:.1f}" for name, value in sorted(sums.items(), key=lambda item: -item[1]))


def _title(pid: int) -> str:
    words = _command(pid).split("\0")
    module = next((words[index + 1] for index, word in enumerate(words[:-1]) if word == "-m"), "")
    if not module:
        return "gateway" if any("gateway" in word for word in words) else "helpers"
    return module.removeprefix("testbed.")
