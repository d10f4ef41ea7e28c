"""How exactly network faults do what they say: the same run of ping from the gateway to a pod with the fault and
without, in one sitting. Nobody who measures knows of the fault. (Injection to effect: ``faults``.)"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.cluster import BenchCluster, deployment, until
from benchmarks.rows import Row
from testbed.api import labels

DELAY_MS = 100.0
LOSS = 0.2
RATE_BITS_PER_S = 1_000_000
ECHOES = 200
LOSS_ECHOES = 3000
BURST = 150
WIRE_BYTES = 1400 + 42  # with its Ethernet, IP and ICMP headers
_ANSWER = re.compile(r"icmp_seq=(\d+) .*time=([\d.]+) ms")


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("far", 1))
    address = cluster.wait_ready(1)[0]["status"]["podIP"]
    gateway = subprocess.run(
        ["docker", "ps", "-q", "--filter", f"label={labels.INSTANCE}={cluster.instance.id}",
         "--filter", f"label={labels.ROLE}={labels.ROLE_GATEWAY}"], capture_output=True, text=True, check=True,
    ).stdout.split()[0]
    rows = [_delay(cluster, gateway, address), _loss(cluster, gateway, address),
            _rate(cluster, gateway, address, "bandwidth", {"bandwidth": {
                "rate": "1mbit", "limit": 1_000_000, "buffer": 10_000}}),
            _rate(cluster, gateway, address, "netem", {"rate": {"rate": "1mbit"}})]
    cluster.testbed("delete", "deploy/far", "svc/far")
    return rows


def _delay(cluster: BenchCluster, gateway: str, address: str) -> Row:
    options = ("-c", str(ECHOES), "-i", "0.02")
    without = statistics.median(_ping(gateway, address, *options).values())
    with _fault(cluster, "delay", {"delay": {"latency": f"{DELAY_MS:.0f}ms"}}) as how:
        met = list(_ping(gateway, address, *options).values())
    late = statistics.median(met) - without
    return Row("a delay of 100 ms: error, median of round trips", abs(late - DELAY_MS) / DELAY_MS * 100, 10, "%",
               f"{late:.2f} ms more than {without:.2f} ms, p95 {sorted(met)[int(0.95 * len(met))] - without:.2f} ms, "
               f"n {len(met)}, by {how}")


def _loss(cluster: BenchCluster, gateway: str, address: str) -> Row:
    options = ("-c", str(LOSS_ECHOES), "-i", "0.001", "-W", "1")
    without = 1 - len(_ping(gateway, address, *options)) / LOSS_ECHOES
    with _fault(cluster, "loss", {"loss": {"loss": f"{LOSS * 100:.0f}"}}) as how:
        lost = 1 - len(_ping(gateway, address, *options)) / LOSS_ECHOES
    return Row("a loss of 20 %: error", abs(lost - without - LOSS) * 100, 3, "points",
               f"{100 * lost:.1f} % lost, {100 * without:.1f} % without, n {LOSS_ECHOES}, by {how}")


def _rate(cluster: BenchCluster, gateway: str, address: str, action: str, spec: dict[str, Any]) -> Row:
    options = ("-c", str(BURST), "-l", str(BURST), "-s", "1400", "-W", "5")
    without_ms = max(_ping(gateway, address, *options).values())
    with _fault(cluster, action, spec) as how:
        rate = _bits_per_s(_ping(gateway, address, *options))
    return Row(f"a rate of 1 Mbit/s ({action}): error", abs(rate / RATE_BITS_PER_S - 1) * 100, 10, "%",
               f"{rate / 1e6:.3f} Mbit/s; {BURST} answers within {without_ms:.1f} ms without, by {how}")


def _bits_per_s(answers: dict[int, float]) -> float:
    """Of packets that were sent at once: from the moments of their answers, past what may pass at once."""
    moments = [answers[number] for number in sorted(answers)][20:]
    return (len(moments) - 1) * WIRE_BYTES * 8 / max(1e-6, (moments[-1] - moments[0]) / 1000)


def _ping(gateway: str, address: str, *options: str) -> dict[int, float]:
    """Round trips in ms, by number."""
    done = subprocess.run(["docker", "exec", gateway, "ping", "-n", *options, address], capture_output=True, text=True,
                          check=False)
    return {int(number): float(ms) for number, ms in _ANSWER.findall(done.stdout)}


@contextmanager
def _fault(cluster: BenchCluster, action: str, spec: dict[str, Any]) -> Iterator[str]:
    """In effect within the block, where its mechanism is told."""
    name = f"bench-{action}"
    cluster.apply(json.dumps({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": name},
        "spec": {"mode": "one", "duration": "5m", "action": action, "selector": {"labelSelectors": {"app": "far"}},
                 **spec}}))
    evidence = until(lambda: _evidence(cluster.get("networkchaos", name)), f"{name} to take effect")
    yield evidence.rpartition("(")[2].rstrip(")")
    cluster.testbed("delete", "networkchaos", name)


def _evidence(obj: dict[str, Any]) -> str:
    records = obj.get("status", {}).get("experiment", {}).get("containerRecords", ())
    return next((event["message"] for record in records for event in record.get("events", ())
                 if (event["operation"], event["type"]) == ("Apply", "Succeeded")), "")
