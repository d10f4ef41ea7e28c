"""A host port on a real cluster: reached at its node's address from this machine and from pods, refused elsewhere."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from support.cluster import Cluster, wait_for

pytestmark = pytest.mark.engine

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: at-its-node, labels: {app: at-its-node}}
spec:
  containers:
    - {name: app, image: "sample:v1", ports: [{containerPort: 8080, hostPort: 18088}]}
"""


def get(address: str, port: int) -> int:
    connection = http.client.HTTPConnection(address, port, timeout=3)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_host_port_is_reached_at_its_nodes_address(cluster: Cluster) -> None:
    cluster.apply(MANIFEST)
    try:
        pod: dict[str, Any] = cluster.wait_ready("app=at-its-node", 1)[0]
        address = pod["status"]["hostIP"]
        assert address != cluster.instance.host_address
        wait_for("an answer at the node's address", lambda: get(address, 18088) == 200, timeout_s=10)
        with pytest.raises(ConnectionRefusedError):
            get(address, 18089)
        ask = f"import urllib.request as r; print(r.urlopen('http://{address}:18088/', timeout=3).status)"
        assert "200" in cluster.testbed("exec", "at-its-node", "--", "python3", "-c", ask)
    finally:
        cluster.testbed("delete", "pod", "at-its-node")
