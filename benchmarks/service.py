"""What a Service costs: latency added to the pod's own address, and how soon a change of endpoints takes effect.

Latency: a new connection, a GET and its answer, to the pod's address and to the ClusterIP in turn. Effect: a pod is
made unready and ready again; from the moment its agent tells the API of it (the Event ``ContainerUnready`` or
``ContainerReady``) to the moment the gateway has applied the new endpoints (``EndpointsProgrammed``, the gateway's own
stamp). All are CLOCK_MONOTONIC of one machine; agent, cable, API, controller, feeder and gateway lie between.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cluster import BenchCluster, deployment
from benchmarks.rows import Row, spread
from testbed.api.labels import MONOTONIC_NS
from testbed.cli.connection import Api

PAIRS = 3000
CHANGES = 20
QUICK_READINESS = ("          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1, "
                   "failureThreshold: 1}")
EVENTS = "/api/v1/namespaces/default/events"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n"


def measure(cluster: BenchCluster) -> list[Row]:
    cluster.apply(deployment("service", 2, extra=QUICK_READINESS))
    address = cluster.wait_ready(2)[0]["status"]["podIP"]
    cluster_ip = cluster.get("service", "service")["spec"]["clusterIP"]
    changes = _changes(cluster, address)
    cluster.apply(deployment("service", 1, extra=QUICK_READINESS))
    address = cluster.wait_ready(1)[0]["status"]["podIP"]
    direct, through = _latencies((address, 8080), (cluster_ip, 80))
    cluster.testbed("delete", "deploy/service", "svc/service")
    added = statistics.median(through) - statistics.median(direct)
    return [
        Row("a Service's added latency, median of new connections", added, 0.2, "ms",
            f"pod {_exact(direct)}, Service {_exact(through)}, n {PAIRS}"),
        Row("endpoint change to effect (agent to gateway), median", statistics.median(changes), 10, "ms",
            spread(changes)),
    ]


def _exact(values: list[float]) -> str:
    return f"median {statistics.median(values):.3f}"


def _latencies(pod: tuple[str, int], service: tuple[str, int]) -> tuple[list[float], list[float]]:
    """Milliseconds, in pairs whose order alternates."""
    direct: list[float] = []
    through: list[float] = []
    for number in range(PAIRS):
        both = ((pod, direct), (service, through))
        for address, values in both if number % 2 else both[::-1]:
            values.append(_request_ms(address))
            time.sleep(0.001)  # the server closes its end meanwhile, which is no part of the next request
    return direct, through


def _request_ms(address: tuple[str, int]) -> float:
    started = time.perf_counter_ns()
    with socket.create_connection(address, timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(REQUEST)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{address[0]} gave a wrong answer")
        return (time.perf_counter_ns() - started) / 1e6


@dataclass
class Stamps:
    """Moments (CLOCK_MONOTONIC, ns) of Events by reason, in the order they are heard."""

    moments: dict[str, list[int]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def follow(self, api: Api, version: str) -> None:
        for line in api.lines(EVENTS, {"watch": "true", "resourceVersion": version}):
            event = json.loads(line)
            stamp = (event["object"]["metadata"].get("annotations") or {}).get(MONOTONIC_NS)
            if stamp:
                with self.changed:
                    self.moments.setdefault(event["object"]["reason"], []).append(int(stamp))
                    self.changed.notify_all()

    def first(self, reason: str, after_ns: int) -> int:
        """Waits for the first one. Raises: SystemExit."""
        def look() -> int:
            return min((moment for moment in self.moments.get(reason, []) if moment > after_ns), default=0)

        with self.changed:
            found = self.changed.wait_for(look, timeout=20)
        if not found:
            raise SystemExit(f"there was no event {reason}")
        return int(found)


@contextmanager
def _following(cluster: BenchCluster) -> Iterator[Stamps]:
    version = Api(cluster.instance).json("GET", EVENTS)["metadata"]["resourceVersion"]
    stamps = Stamps()
    threading.Thread(target=stamps.follow, args=(Api(cluster.instance), version), daemon=True).start()
    yield stamps


def _changes(cluster: BenchCluster, address: str) -> list[float]:
    """Milliseconds of each change."""
    found = []
    with _following(cluster) as stamps:
        for number in range(CHANGES):
            act, reason = ("unready", "ContainerUnready") if number % 2 == 0 else ("reset", "ContainerReady")
            begun_ns = time.monotonic_ns()
            _control(address, act)
            told_ns = stamps.first(reason, begun_ns)
            found.append((stamps.first("EndpointsProgrammed", told_ns) - told_ns) / 1e6)
    return found


def _control(address: str, act: str) -> Any:
    connection = http.client.HTTPConnection(address, 8080, timeout=5)
    connection.request("POST", f"/control/{act}")
    answer = connection.getresponse().read()
    connection.close()
    return answer
