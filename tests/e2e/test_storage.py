"""Data outlives pods and nodes on real containers, and goes with its claim. SS-01, and SS-12 at its end."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from support.cluster import Cluster, condition, wait_for

pytestmark = pytest.mark.engine

NAMES = ("db-0", "db-1")
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: db
          image: sample:v1
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: data, mountPath: /part, subPath: inner}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def volumes(cluster: Cluster) -> list[str]:
    label = f"label=testbed.io/instance={cluster.instance.id}"
    argv = ["docker", "volume", "ls", "-q", "--filter", label]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def inside(cluster: Cluster, pod: str, script: str) -> str:
    return cluster.testbed("exec", pod, "--", "sh", "-c", script).strip()


def uids(pods: list[dict[str, Any]]) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def test_ss_01_data_of_every_identity_survives_the_restart_of_all_pods(cluster: Cluster) -> None:
    cluster.apply(MANIFEST)
    before = uids(cluster.wait_ready("app=db", 2))
    for name in NAMES:
        inside(cluster, name, f"echo {name} > /data/hostname; echo deep > /part/x")
    for name in NAMES:
        cluster.testbed("delete", "pod", name)
    wait_for("all pods are new", lambda: all(
        uid != before.get(name) for name, uid in uids(cluster.wait_ready("app=db", 2)).items()))
    for name in NAMES:
        assert inside(cluster, name, "cat /data/hostname /data/inner/x").split() == [name, "deep"]
    assert len(volumes(cluster)) == 2
    assert {item["status"]["phase"] for item in cluster.get("pvc")["items"]} == {"Bound"}


def test_data_survives_a_node_that_goes_away(cluster: Cluster) -> None:
    """Its pod comes back elsewhere, with its data."""
    (pod,) = [item for item in cluster.ready_pods("app=db") if item["metadata"]["name"] == "db-1"]
    node = pod["spec"]["nodeName"]
    cluster.testbed("node", "remove", node)
    wait_for("db-1 is elsewhere", lambda: [
        item for item in cluster.ready_pods("app=db")
        if item["metadata"]["name"] == "db-1" and item["spec"]["nodeName"] != node])
    assert inside(cluster, "db-1", "cat /data/hostname") == "db-1"


def test_ss_12_claims_and_their_data_go_with_the_set(cluster: Cluster) -> None:
    cluster.testbed("delete", "statefulset", "db")
    wait_for("the engine has no volumes of ours", lambda: not volumes(cluster))
    wait_for("no claims are left", lambda: not cluster.get("pvc")["items"] and not cluster.get("pv")["items"])


def test_a_cluster_that_is_taken_down_leaves_no_volumes(cluster: Cluster) -> None:
    cluster.apply(MANIFEST)
    cluster.wait_ready("app=db", 2)
    assert volumes(cluster)
    assert condition(cluster.get("node", cluster.pods("app=db")[0]["spec"]["nodeName"]), "Ready") == "True"
