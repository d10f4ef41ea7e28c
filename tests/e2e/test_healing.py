"""What dies is healed: a crash, a hang, a node without power, a node cut off."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import Cluster, condition, wait_for
from support.manifests import own_chaos, pod_chaos, web

pytestmark = pytest.mark.engine


def restarts(pod: dict[str, Any]) -> int:
    return sum(item["restartCount"] for item in pod.get("status", {}).get("containerStatuses", []))


def injected(cluster: Cluster, kind: str, name: str) -> bool:
    return condition(cluster.get(kind, name), "AllInjected") == "True"


def recovered(cluster: Cluster, kind: str, name: str) -> bool:
    return condition(cluster.get(kind, name), "AllRecovered") == "True"


@pytest.fixture(scope="module", autouse=True)
def workload(cluster: Cluster) -> None:
    cluster.apply(web("web", replicas=3))
    cluster.wait_ready("app=web", 3)


def test_crashed_container_is_restarted_in_its_pod(cluster: Cluster) -> None:
    before = {pod["metadata"]["uid"]: restarts(pod) for pod in cluster.ready_pods("app=web")}
    cluster.apply(pod_chaos("crash", "container-kill", "web"))
    wait_for("the crash is injected", lambda: injected(cluster, "podchaos", "crash"))
    wait_for("one restart", lambda: sum(map(restarts, cluster.pods("app=web"))) == sum(before.values()) + 1)
    after = cluster.wait_ready("app=web", 3)
    assert {pod["metadata"]["uid"] for pod in after} == set(before)
    victim = next(pod for pod in after if restarts(pod) > before[pod["metadata"]["uid"]])
    ended = victim["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


def test_hung_container_is_restarted_by_its_liveness_probe(cluster: Cluster) -> None:
    before = sum(map(restarts, cluster.pods("app=web")))
    cluster.apply(own_chaos("FreezeChaos", "hang", "web", duration="20s"))
    wait_for("the freeze is injected", lambda: injected(cluster, "freezechaos", "hang"))
    wait_for("one restart", lambda: sum(map(restarts, cluster.pods("app=web"))) == before + 1)
    cluster.wait_ready("app=web", 3)
    cluster.testbed("delete", "freezechaos", "hang")


def test_pods_of_a_node_without_power_are_replaced_elsewhere(cluster: Cluster) -> None:
    cluster.apply(own_chaos("NodeChaos", "power", "web", action="kill", duration="8s"))
    wait_for("the node has no power", lambda: injected(cluster, "nodechaos", "power"))
    dead = cluster.get("nodechaos", "power")["status"]["experiment"]["containerRecords"][0]["id"].split("/")[-1]
    wait_for("the node is not ready", lambda: condition(cluster.get("node", dead), "Ready") != "True")
    wait_for("three ready pods on other nodes", lambda: len(
        [pod for pod in cluster.ready_pods("app=web") if pod["spec"]["nodeName"] != dead]) == 3)
    wait_for("power is back", lambda: recovered(cluster, "nodechaos", "power"))
    wait_for("the node is ready again", lambda: condition(cluster.get("node", dead), "Ready") == "True")
    cluster.wait_ready("app=web", 3)


def test_node_that_was_cut_off_keeps_running_and_is_cleaned_of_what_was_given_away(cluster: Cluster) -> None:
    cluster.apply(own_chaos("NodeChaos", "cut", "web", action="partition", duration="8s"))
    wait_for("the cable is cut", lambda: injected(cluster, "nodechaos", "cut"))
    lost = cluster.get("nodechaos", "cut")["status"]["experiment"]["containerRecords"][0]["id"].split("/")[-1]
    wait_for("the node is unknown", lambda: condition(cluster.get("node", lost), "Ready") == "Unknown")
    wait_for("three ready pods on other nodes", lambda: len(
        [pod for pod in cluster.ready_pods("app=web") if pod["spec"]["nodeName"] != lost]) == 3)
    wait_for("the node is ready again", lambda: condition(cluster.get("node", lost), "Ready") == "True")
    cluster.wait_ready("app=web", 3)
