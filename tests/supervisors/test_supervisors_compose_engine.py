"""Plain Docker behind the face of a cluster, on a real engine: what it heals, what it does not, and what it leaves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, condition, run_testbed, state_home_for_test, wait_for
from support.manifests import own_chaos, pod_chaos, web

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    options = [word for switch in ("autoheal", "equal-timers")
               for word in ("--supervisor-option", f"{switch}=true")]
    with state_home_for_test(tmp_path_factory.mktemp("c")) as home, \
            bring_up_for_test("test_compose", home, "--supervisor", "compose", *options) as found:
        found.apply(web("web", replicas=3, drain_s=0))
        found.wait_ready("app=web", 3)
        yield found


def events(cluster: Cluster, reason: str, pod: str) -> list[dict[str, Any]]:
    return [item for item in cluster.get("events")["items"]
            if item["reason"] == reason and item["involvedObject"]["name"] == pod]


def in_rotation(cluster: Cluster) -> set[str]:
    return {endpoint["targetRef"]["name"] for item in cluster.get("endpointslices")["items"]
            for endpoint in item.get("endpoints") or () if endpoint["conditions"]["ready"]}


def restarts(pod: dict[str, Any]) -> int:
    return sum(item["restartCount"] for item in pod["status"].get("containerStatuses", ()))


def test_logs_are_read_through_the_api(cluster: Cluster) -> None:
    pod = cluster.pods("app=web")[0]["metadata"]["name"]
    cluster.testbed("logs", pod)  # the sample says nothing, and is read all the same
    refused = run_testbed("logs", pod, "--previous", TESTBED_NAME=cluster.name, check=False)
    assert refused.returncode != 0 and "all of its lives" in refused.stderr


def test_a_crash_is_mended_by_the_restart_policy_in_the_same_pod(cluster: Cluster) -> None:
    wait_for("an answer", lambda: cluster.versions("web") == {"v1"})
    before = {pod["metadata"]["name"] for pod in cluster.pods("app=web")}
    cluster.apply(pod_chaos("crash", "container-kill", "web"))
    (mended,) = wait_for("one restart", lambda: [pod for pod in cluster.pods("app=web") if restarts(pod)])
    cluster.wait_ready("app=web", 3)
    assert {pod["metadata"]["name"] for pod in cluster.pods("app=web")} == before
    name = mended["metadata"]["name"]
    died, started = (events(cluster, reason, name) for reason in ("ContainerDied", "Started"))
    stamps = [int(item["metadata"]["annotations"]["testbed.io/monotonic-ns"]) for item in (*died, *started)]
    assert died and min(stamps) < max(stamps)
    assert in_rotation(cluster) == before


def test_a_hang_stays_in_rotation_until_autoheal_has_restarted_it(cluster: Cluster) -> None:
    cluster.apply(own_chaos("FreezeChaos", "hang", "web", duration="60s"))
    (hit,) = wait_for("an unhealthy pod", lambda: [
        pod for pod in cluster.pods("app=web") if condition(pod, "Ready") == "False"])
    name = hit["metadata"]["name"]
    assert name in in_rotation(cluster), "Docker's DNS asks nobody how he feels"
    wait_for("autoheal to act", lambda: events(cluster, "Killing", name))
    wait_for("three ready pods", lambda: len(cluster.ready_pods("app=web")) == 3)
    cluster.testbed("delete", "freezechaos", "hang")


def test_what_needs_a_sandbox_of_ours_is_refused_by_word(cluster: Cluster) -> None:
    cluster.apply("apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {name: late}\nspec:\n"
                  "  {action: delay, mode: one, delay: {latency: 50ms}, duration: 5s, "
                  "selector: {labelSelectors: {app: web}}}\n")
    told = wait_for("a refusal", lambda: [
        item for item in cluster.get("networkchaos", "late").get("status", {}).get("conditions", ())
        if item.get("reason") == "Refused"])
    assert "is run by compose" in told[0]["message"]
    cluster.testbed("delete", "networkchaos", "late")


def test_up_scales_and_recreates_all_at_once(cluster: Cluster) -> None:
    cluster.testbed("scale", "deployment/web", "--replicas", "4")
    cluster.wait_ready("app=web", 4)
    old = {pod["metadata"]["name"] for pod in cluster.pods("app=web")}
    cluster.testbed("scale", "deployment/web", "--replicas", "2")
    left = {pod["metadata"]["name"] for pod in cluster.wait_ready("app=web", 2)}
    assert sorted(name.split("-")[1] for name in left) == ["1", "2"], "the highest numbers go first"
    assert left < old
    cluster.apply(web("web", replicas=2, image="sample:v2", drain_s=0))
    wait_for("new pods", lambda: not left & {pod["metadata"]["name"] for pod in cluster.wait_ready("app=web", 2)})
    wait_for("only the new version", lambda: cluster.versions("web") == {"v2"})
    (deployment,) = cluster.get("deployments")["items"]
    assert deployment["status"]["updatedReplicas"] == 2
    notes = {item["type"]: item for item in deployment["status"]["conditions"]}["NotTranslated"]["message"]
    assert "strategy RollingUpdate" in notes and "readinessProbe" in notes


@pytest.mark.long
def test_a_driver_that_was_killed_carries_on_and_touches_nothing(cluster: Cluster) -> None:
    def containers() -> set[str]:
        return set(subprocess.run(
            ["docker", "ps", "--quiet", "--filter", f"label=testbed.io/instance={cluster.instance.id}",
             "--filter", "label=testbed.io/role=container"], capture_output=True, text=True, check=True).stdout.split())

    cluster.testbed("scale", "deployment/web", "--replicas", "2")
    cluster.wait_ready("app=web", 2)
    running = containers()
    status = json.loads(run_testbed("status", "--name", cluster.name, "-o", "json").stdout)[cluster.name]
    (driver,) = [item for item in status["processes"] if item["name"] == "driver"]
    subprocess.run(["kill", "-KILL", str(driver["pid"])], check=True)
    cluster.testbed("scale", "deployment/web", "--replicas", "3")
    cluster.wait_ready("app=web", 3)
    assert running < containers()


@pytest.mark.long
def test_a_pod_that_is_killed_is_a_removed_container_and_nobody_makes_another(cluster: Cluster) -> None:
    before = {pod["metadata"]["name"] for pod in cluster.pods("app=web")}
    cluster.apply(pod_chaos("gone", "pod-kill", "web"))
    left = wait_for("two pods", lambda: {
        pod["metadata"]["name"] for pod in cluster.pods("app=web")} if len(cluster.pods("app=web")) == 2 else None)
    assert left < before
    wait_for("it to be counted", lambda: cluster.get("deployment", "web")["status"]["readyReplicas"] == 2)
    cluster.testbed("delete", "deployment", "web")
    wait_for("no pods", lambda: not cluster.pods("app=web"))

