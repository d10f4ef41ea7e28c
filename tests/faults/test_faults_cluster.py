"""Faults on a real cluster whose keepers are killed: everything ends at its deadline all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import leaks
from support.cluster import Cluster, bring_up_for_test, condition, processes, run_testbed, wait_for
from support.manifests import web

pytestmark = pytest.mark.engine


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short one: a socket's path ends at 107 bytes (unix(7)), and pytest's own hold a worker's and a test's name."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    leaks.STATE_ROOTS.add(tmp_path)
    with bring_up_for_test("test_faults", tmp_path) as found:
        yield found


def fault(kind: str, name: str, duration: str, node: str, action: str = "") -> str:
    group = "chaos-mesh.org" if kind == "PodChaos" else "testbed.io"
    act = f"action: {action}, " if action else ""
    label = "" if kind == "NodeChaos" else ", labelSelectors: {app: web}"
    notes = "annotations: {testbed.io/max-nodes: '2'}"
    return (f"apiVersion: {group}/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, {notes}}}\n"
            f"spec: {{{act}mode: one, duration: {duration}, selector: {{nodes: [{node}]{label}}}}}\n---\n")


def in_effect(cluster: Cluster, kind: str, name: str) -> dict[str, Any] | None:
    obj: dict[str, Any] = cluster.get(kind, name)
    return obj if condition(obj, "AllInjected") == "True" else None


def ready(cluster: Cluster) -> dict[str, str]:
    return {node["metadata"]["name"]: condition(node, "Ready") for node in cluster.get("nodes")["items"]}


FAULTS = (("freezechaos", "hang"), ("podchaos", "fail"), ("nodechaos", "cut"), ("nodechaos", "stop"))


def test_faults_end_at_their_deadline_whoever_has_died(cluster: Cluster) -> None:
    cluster.apply(web("web", replicas=3, liveness_failures=30))
    cluster.wait_ready("app=web", 3)
    began = time.monotonic()
    cluster.apply(fault("FreezeChaos", "hang", "8s", "node-1")
                  + fault("PodChaos", "fail", "8s", "node-1", "pod-failure")
                  + fault("NodeChaos", "cut", "8s", "node-2", "partition")
                  + fault("NodeChaos", "stop", "8s", "node-3", "freeze"))
    for kind, name in FAULTS[:1] + FAULTS[2:]:  # a frozen container is not exchanged before it is thawed
        wait_for(f"{name} to take effect", lambda kind=kind, name=name: in_effect(cluster, kind, name))
    holders = processes(cluster, "faults.holder")
    assert len(holders) == 3  # the cable is its own
    for module in ("testbed.machines", "faults"):
        for pid in processes(cluster, module):
            os.kill(pid, signal.SIGKILL)

    wait_for("nodes not Ready", lambda: list(ready(cluster).values()).count("True") == 1)
    wait_for("all nodes Ready again", lambda: set(ready(cluster).values()) == {"True"}, timeout_s=30)
    assert time.monotonic() - began < 25
    wait_for("holders to end", lambda: not processes(cluster, "faults.holder"), timeout_s=20)
    assert {container["image"] for pod in cluster.pods("app=web") for container in pod["spec"]["containers"]} == {
        "sample:v1"}
    assert not processes(cluster, "faults")

    run_testbed("up", "--name", cluster.name, check=False)  # the room comes back, and with it the daemon
    for kind, name in FAULTS:
        wait_for(f"{name} to be recovered", lambda kind=kind, name=name: condition(
            cluster.get(kind, name), "AllRecovered") == "True")
    cluster.wait_ready("app=web", 3)


@pytest.mark.long
def test_what_a_killed_runner_injected_ends_at_its_deadline(cluster: Cluster) -> None:
    cluster.apply(web("web", replicas=3, liveness_failures=30))
    cluster.wait_ready("app=web", 3)
    runner = subprocess.Popen(
        [sys.executable, "-m", "testbed", "inject", "freeze", "-l", "app=web", "--for", "6s", "--watch",
         "--name", cluster.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def injected() -> list[str]:
        return [item["metadata"]["name"] for item in cluster.get("freezechaos")["items"]
                if condition(item, "AllInjected") == "True"]

    (name,) = wait_for("the freeze to take effect", injected)
    runner.kill()
    runner.wait()
    wait_for("the freeze to be recovered", lambda: condition(
        cluster.get("freezechaos", name), "AllRecovered") == "True", timeout_s=20)
    wait_for("holders to end", lambda: not processes(cluster, "faults.holder"), timeout_s=20)
    cluster.wait_ready("app=web", 3)


def test_down_ends_a_cluster_with_a_frozen_node(cluster: Cluster) -> None:
    cluster.apply(fault("NodeChaos", "stop", "1h", "node-1", "freeze"))
    wait_for("the node to freeze", lambda: in_effect(cluster, "nodechaos", "stop"))
    run_testbed("down", "--name", cluster.name, timeout_s=60)
    assert not processes(cluster, "testbed.node")
    assert not processes(cluster, "faults.holder")
