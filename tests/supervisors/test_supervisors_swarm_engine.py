"""Docker Swarm behind the face of a cluster, on engines of its own: what it heals, and what a lost node does to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, condition, run_testbed, state_home_for_test, wait_for
from support.manifests import own_chaos, pod_chaos, web

pytestmark = [pytest.mark.engine, pytest.mark.long]  # swarms of nested engines


def app(replicas: int, image: str = "sample:v1") -> str:
    """A busy machine is late with health checks, and Swarm ends what has failed too many of them."""
    return web("web", replicas=replicas, image=image, drain_s=0, liveness_failures=5)


@contextmanager
def swarm(place: Path, name: str, *, nodes: int, replicas: int) -> Iterator[Cluster]:
    with state_home_for_test(place) as home, bring_up_for_test(
            name, home, "--supervisor", "swarm", "--supervisor-option", "equal-timers=true", nodes=nodes) as found:
        found.apply(app(replicas))
        found.wait_ready("app=web", replicas, timeout_s=180)  # the image is copied to each node first
        yield found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node: everything but the loss of one can be seen on it."""
    with swarm(tmp_path_factory.mktemp("s"), "test_swarm", nodes=1, replicas=2) as found:
        yield found


def names(cluster: Cluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.ready_pods("app=web")}


def moments(cluster: Cluster, pod: str) -> dict[str, int]:
    """By reason, when its last Event was, in ns."""
    return {item["reason"]: int(item["metadata"]["annotations"]["testbed.io/monotonic-ns"])
            for item in cluster.get("events")["items"] if item["involvedObject"]["name"] == pod}


def in_rotation(cluster: Cluster) -> set[str]:
    return {endpoint["targetRef"]["name"] for item in cluster.get("endpointslices")["items"]
            for endpoint in item.get("endpoints") or () if endpoint["conditions"]["ready"]}


def replaced(cluster: Cluster, before: set[str], count: int) -> tuple[set[str], set[str]]:
    """Who went and who came, once as many are ready again."""
    def whole() -> set[str] | None:
        found = names(cluster)  # read once: between two looks one may have gone
        return found if len(found) == count and found != before else None

    after = wait_for("another task in its place", whole)
    return before - after, after - before


def test_a_crash_is_mended_by_another_task(cluster: Cluster) -> None:
    before = names(cluster)
    wait_for("all in rotation", lambda: in_rotation(cluster) == before)
    cluster.apply(pod_chaos("crash", "container-kill", "web"))
    (gone,), (came,) = replaced(cluster, before, 2)
    died, started = moments(cluster, gone)["ContainerDied"], moments(cluster, came)["Started"]
    assert died < started
    assert gone.split("-")[1] == came.split("-")[1], "the same slot"
    wait_for("the new one in rotation", lambda: in_rotation(cluster) == names(cluster))
    assert cluster.versions("web") == {"v1"}
    cluster.testbed("delete", "podchaos", "crash")


def test_a_deleted_pod_is_a_stopped_container_and_the_swarm_answers(cluster: Cluster) -> None:
    before = names(cluster)
    cluster.apply(pod_chaos("deleted", "pod-kill", "web"))
    (gone,), (came,) = replaced(cluster, before, 2)
    assert gone.split("-")[1] == came.split("-")[1], "the same slot"
    cluster.testbed("delete", "podchaos", "deleted")


def test_a_hang_is_found_by_the_health_check_and_ended(cluster: Cluster) -> None:
    before = names(cluster)
    cluster.apply(own_chaos("FreezeChaos", "hang", "web", duration="60s"))
    (hit,) = wait_for("one out of rotation", lambda: before - in_rotation(cluster))
    wait_for("two in rotation", lambda: len(in_rotation(cluster) - {hit}) == 2)
    told = [item["message"] for item in cluster.get("events")["items"]
            if item["involvedObject"]["name"] == hit and item["reason"] == "Killing"]
    assert told == ["Stopping container web, which is unhealthy"]
    cluster.testbed("delete", "freezechaos", "hang")


def test_an_update_goes_forward_and_back(cluster: Cluster) -> None:
    cluster.apply(app(2, "sample:v2"))
    wait_for("only the new version", lambda: cluster.versions("web") == {"v2"} and len(names(cluster)) == 2,
             timeout_s=120)
    cluster.apply(app(2))
    wait_for("only the old version", lambda: cluster.versions("web") == {"v1"} and len(names(cluster)) == 2,
             timeout_s=120)
    assert "rolled back" in (cluster.directory / "logs" / "driver.log").read_text()


def test_a_driver_that_was_killed_carries_on_and_touches_nothing(cluster: Cluster) -> None:
    before = names(cluster)
    status = json.loads(run_testbed("status", "--name", cluster.name, "-o", "json").stdout)[cluster.name]
    (driver,) = [item for item in status["processes"] if item["name"] == "driver"]
    subprocess.run(["kill", "-KILL", str(driver["pid"])], check=True)
    cluster.testbed("scale", "deployment/web", "--replicas", "3")
    cluster.wait_ready("app=web", 3)
    assert before < names(cluster)


def test_a_deployment_deleted_in_the_foreground_is_gone_with_its_pods(cluster: Cluster) -> None:
    cluster.testbed("delete", "deployment/web", "--cascade", "foreground")
    wait_for("no pod", lambda: not cluster.pods("app=web"))
    wait_for("no Deployment", lambda: not cluster.get("deployments")["items"])
    cluster.apply(app(2))
    cluster.wait_ready("app=web", 2)


@pytest.mark.timeout(900)
def test_a_lost_node_is_out_of_rotation_by_gossip_and_its_tasks_are_started_elsewhere(
    tmp_path_factory: pytest.TempPathFactory
) -> None:
    with swarm(tmp_path_factory.mktemp("n"), "test_swarm_loss", nodes=3, replicas=3) as cluster:
        where = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.pods("app=web")}
        assert sorted(where.values()) == ["node-1", "node-2", "node-3"]
        cluster.apply(own_chaos("NodeChaos", "loss", "web", action="kill", duration="120s"))
        (lost,) = wait_for("one out of rotation", lambda: set(where) - in_rotation(cluster), timeout_s=60)
        wait_for("the manager to give it up", lambda: not ready(cluster)[where[lost]], timeout_s=90)
        wait_for("three in rotation", lambda: len(in_rotation(cluster)) == 3, timeout_s=90)
        assert {pod["spec"]["nodeName"] for pod in cluster.pods("app=web")} == set(where.values()) - {where[lost]}
        cluster.testbed("delete", "nodechaos", "loss")
        wait_for("all nodes again", lambda: all(ready(cluster).values()), timeout_s=90)


def ready(cluster: Cluster) -> dict[str, bool]:
    nodes: list[dict[str, Any]] = cluster.get("nodes")["items"]
    return {node["metadata"]["name"]: condition(node, "Ready") == "True" for node in nodes}
