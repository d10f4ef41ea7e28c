"""What there is to scrape of this cluster, in the form of Prometheus' HTTP service discovery. Pure.

Everything is reached through this API, at the address by which it was asked, so that one scrape job and one token do
for all, wherever Prometheus is. A node that does not answer is a target that is down; one that was removed is none.

Source: prometheus.io/docs/prometheus/latest/http_sd.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
JOB = "testbed"


def targets(address: str, cluster: str, nodes: Iterable[str], *, gateway: bool, ingress: bool) -> list[Json]:
    """Args: address: host and port of this API. nodes: names of those with an agent. ``gateway``, ``ingress``: whether
    the container and, in it, HAProxy is there."""
    def target(part: str, path: str, **labels: str) -> Json:
        return {"targets": [address], "labels": {
            "__metrics_path__": path, "job": JOB, "instance": cluster, "part": part, **labels}}

    found = [target("api", "/metrics")]
    found += [target("agent", f"/api/v1/nodes/{node}/proxy/metrics", node=node) for node in sorted(nodes)]
    if gateway:
        found.append(target("gateway", "/testbed/v1/gateway/metrics"))
    if gateway and ingress:
        found.append(target("haproxy", "/testbed/v1/haproxy/metrics"))
    return found
