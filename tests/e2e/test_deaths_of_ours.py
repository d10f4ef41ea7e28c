"""Each of our own processes is killed in turn: no container is restarted, nothing is orphaned, the cluster goes on."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from support.cluster import Cluster, condition, wait_for
from support.manifests import web

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def workload(cluster: Cluster) -> None:
    # Patient probes: a starved test machine must not restart what no fault has touched.
    cluster.apply(web("web", replicas=3, liveness_failures=30))
    cluster.wait_ready("app=web", 3)


def container_ids(cluster: Cluster) -> set[str]:
    return {item["containerID"] for pod in cluster.pods("app=web") for item in pod["status"]["containerStatuses"]}


def status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.testbed("status", "-o", "json"))[cluster.name]
    return found


def pid_of(cluster: Cluster, process: str) -> int:
    found = status(cluster)
    if process == "room":
        return int(found["room_pid"])
    return next(int(item["pid"]) for item in found["processes"] if item["name"] == process)


@pytest.mark.parametrize("process", ["api", "agent-node-1", "cable-node-1", "chaos", "gateway"])
def test_process_that_is_killed_comes_back_and_changes_nothing(cluster: Cluster, process: str) -> None:
    before, pid = container_ids(cluster), pid_of(cluster, process)
    os.kill(pid, signal.SIGKILL)
    wait_for(f"a new {process}", lambda: pid_of(cluster, process) not in (0, pid))
    wait_for("all nodes ready", lambda: all(
        condition(node, "Ready") == "True" for node in cluster.get("nodes")["items"]))
    assert {item["metadata"]["name"] for item in cluster.wait_ready("app=web", 3)}
    assert container_ids(cluster) == before


def test_machine_room_can_die_and_finds_everything_again(cluster: Cluster) -> None:
    before = {item["name"]: item["pid"] for item in status(cluster)["processes"]}
    os.kill(pid_of(cluster, "room"), signal.SIGKILL)
    from testbed.machines.room_start import start_room

    start_room(cluster.instance)
    wait_for("the same processes, adopted",
             lambda: {item["name"]: item["pid"] for item in status(cluster)["processes"]} == before)


def test_readiness_survives_the_death_of_the_api(cluster: Cluster) -> None:
    moments = {pod["metadata"]["name"]: [item["lastTransitionTime"] for item in pod["status"]["conditions"]
                                         if item["type"] == "Ready"] for pod in cluster.ready_pods("app=web")}
    pid = pid_of(cluster, "api")
    os.kill(pid, signal.SIGKILL)
    wait_for("a new API", lambda: pid_of(cluster, "api") not in (0, pid))
    after = {pod["metadata"]["name"]: [item["lastTransitionTime"] for item in pod["status"]["conditions"]
                                       if item["type"] == "Ready"] for pod in cluster.wait_ready("app=web", 3)}
    assert after == moments
