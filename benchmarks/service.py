"""What a Service costs: latency added to the pod's own address, and how soon a change of endpoints takes effect."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from typing import Any

from benchmarks.cluster import READINESS, BenchCluster, deployment
from benchmarks.rows import Row, spread
from testbed.api.labels import MONOTONIC_NS
from testbed.cli.connection import Api

REQUESTS = 600
CHANGES = 10


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("service", 1, extra=READINESS))
    pod = cluster.wait_ready(1)[0]
    direct: list[float] = []
    through: list[float] = []
    cluster_ip = cluster.get("service", "service")["spec"]["clusterIP"]
    addresses = ((pod["status"]["podIP"], 8080, direct), (cluster_ip, 80, through))
    for _ in range(REQUESTS):
        for host, port, values in addresses:
            values.append(_request_ms(host, port))
    change_ms = _changes(cluster)
    cluster.testbed("delete", "deploy/service", "svc/service")
    return [
        Row("a Service's added latency, median of new connections",
            statistics.median(through) - statistics.median(direct), 0.2, "ms",
            f"pod {spread(direct)}, Service {spread(through)}"),
        Row("endpoint change to effect, median", statistics.median(change_ms), 10, "ms", spread(change_ms)),
    ]


def _request_ms(host: str, port: int) -> float:
    started = time.perf_counter()
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    connection.close()
    return (time.perf_counter() - started) * 1000


def _changes(cluster: BenchCluster) -> list[float]:
    """From the arrival of a changed EndpointSlice at a watcher to the gateway's own stamp of its application."""
    api = Api(cluster.instance)
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    listed = api.json("GET", slices)
    arrivals: list[int] = []
    watcher = Api(cluster.instance)

    def follow() -> None:
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"],
                 "labelSelector": "kubernetes.io/service-name=service"}
        for _ in watcher.lines(slices, query):
            arrivals.append(time.monotonic_ns())

    threading.Thread(target=follow, daemon=True).start()
    found = []
    seen: set[int] = set(_programmed(api))
    for number in range(CHANGES):
        cluster.testbed("scale", "deploy/service", "--replicas", str(2 if number % 2 == 0 else 1))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (fresh := [item for item in _programmed(api) if item not in seen]):
            time.sleep(0.05)
        for moment in fresh:
            seen.add(moment)
            before = [arrival for arrival in arrivals if arrival <= moment + 5_000_000]
            if before:
                found.append(max(0.0, (moment - before[-1]) / 1e6))
    return found


def _programmed(api: Api) -> list[int]:
    events: list[dict[str, Any]] = api.json("GET", "/api/v1/namespaces/default/events")["items"]
    return [int((event["metadata"].get("annotations") or {}).get(MONOTONIC_NS, "0")) for event in events
            if event["reason"] == "EndpointsProgrammed" and json.dumps(event["involvedObject"]).find('"service"') > 0]
