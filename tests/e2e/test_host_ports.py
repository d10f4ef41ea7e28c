"""Ports of a node on a real cluster: reached at its address from this machine and from pods, refused elsewhere."""

from __future__ import annotations

import http.client
import json
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
---
apiVersion: v1
kind: Service
metadata: {name: at-every-node}
spec: {type: NodePort, selector: {app: at-its-node}, ports: [{port: 80, targetPort: 8080}]}
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
        service = json.loads(cluster.testbed("get", "service", "at-every-node", "-o", "json"))
        node_port = service["spec"]["ports"][0]["nodePort"]
        wait_for("an answer at the node port", lambda: get(address, node_port) == 200, timeout_s=10)
        ask = f"import urllib.request as r; print(r.urlopen('http://{address}:18088/', timeout=3).status)"
        assert "200" in cluster.testbed("exec", "at-its-node", "--", "python3", "-c", ask)
    finally:
        cluster.testbed("delete", "pod/at-its-node", "service/at-every-node")
