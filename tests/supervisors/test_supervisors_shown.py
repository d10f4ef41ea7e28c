"""As which Kubernetes objects an orchestrator's containers are shown, and which supervisors there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from testbed.api.instance import ENGINE, SLICE, TESTBED
from testbed.core.pod_seen import Life
from testbed.errors import InvalidInput
from testbed.machines.shape import Shape
from testbed.supervisors import shown
from testbed.supervisors.catalog import COMPOSE, PLATFORMS, SUPERVISORS
from testbed.supervisors.tasks import Machine, Task

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 2},
    "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
        "containers": [{"name": "web", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}]}}}}
TASK = Task("default", "web-1-x", "web", "r2", "web", "machine", id="c1", life=Life.RUNNING, address="10.0.0.2",
            started_at=NOW - timedelta(seconds=5), reachable=True)


def pod() -> dict[str, Any]:
    made = shown.pod("compose", DEPLOYMENT, "web-1-x", "machine", "r2")
    made["metadata"]["uid"] = "p"
    return made


def test_a_pod_belongs_to_its_deployment_and_tells_what_its_container_does() -> None:
    assert pod()["metadata"]["ownerReferences"][0] | {"kind": "Deployment", "controller": True} == \
        pod()["metadata"]["ownerReferences"][0]
    status = shown.status(pod(), TASK, 0, "10.0.0.1", NOW)
    assert (status["phase"], status["podIP"]) == ("Running", "10.0.0.2")
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "True"
    crashed = replace(TASK, life=Life.EXITED, exit_code=137, finished_at=NOW, waiting="CrashLoopBackOff")
    after = shown.status({**pod(), "status": status}, crashed, 0, "10.0.0.1", NOW)
    assert after["containerStatuses"][0]["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert {item["type"]: item["status"] for item in after["conditions"]}["Ready"] == "False"
    again = shown.status({**pod(), "status": after}, replace(TASK, finished_at=NOW, exit_code=137), 1, "", NOW)
    assert again["containerStatuses"][0]["restartCount"] == 1
    assert again["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


def test_endpoints_are_those_that_requests_reach_not_those_that_are_healthy() -> None:
    service = {"metadata": {"name": "web", "namespace": "default", "uid": "s"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}
    status = shown.status(pod(), replace(TASK, checked=True, healthy=False), 0, "", NOW)
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "False"
    (made,) = shown.slices(service, [({**pod(), "status": status}, True)], "compose")
    assert made["metadata"]["name"] == "web-compose-0"
    assert [item["conditions"]["ready"] for item in made["endpoints"]] == [True]
    (gone,) = shown.slices(service, [({**pod(), "status": status}, False)], "compose")
    assert [item["conditions"]["ready"] for item in gone["endpoints"]] == [False]


def test_a_deployment_counts_what_stands_and_lists_what_is_left_out() -> None:
    old = replace(TASK, name="web-2-y", revision="r1")
    tasks = [TASK, old, replace(TASK, stopping=True)]
    status = shown.deployment_status(DEPLOYMENT, tasks, 2, "r2", ["x: not run"], NOW)
    counts = {key: status[key] for key in ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas")}
    assert counts == {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}
    conditions = {item["type"]: item for item in status["conditions"]}
    assert (conditions["NotTranslated"]["status"], conditions["NotTranslated"]["message"]) == ("True", "x: not run")


@pytest.mark.parametrize(("shape", "told"), [
    (Shape(supervisor="nomad"), "there is no supervisor 'nomad'"),
    (Shape(supervisor="compose", supervisor_options={"heal": "true"}), "compose has no option 'heal'"),
    (Shape(supervisor="compose", supervisor_options={"autoheal": "yes"}), "is true or false, not 'yes'"),
    (Shape(supervisor_options={"autoheal": "true"}), "our own supervisor has no options"),
])
def test_a_shape_that_no_supervisor_has_is_refused(shape: Shape, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        shape.settled()


def test_a_supervisor_makes_of_a_shape_what_it_can() -> None:
    assert Shape(nodes=3, supervisor="compose").settled().nodes == 0, "the machine's own engine is one node"
    assert Shape(nodes=3, node_kind=ENGINE).settled().nodes == 3
    assert Shape(nodes=3, supervisor="swarm").settled().node_kind == ENGINE
    assert COMPOSE.node_kind(SLICE) == SLICE
    for name, (supervisor, switches) in PLATFORMS.items():
        assert supervisor in SUPERVISORS and set(switches) <= set(SUPERVISORS[supervisor].options)
        assert name != TESTBED and name.startswith(supervisor)


def test_a_node_is_of_its_own_architecture_and_limits_no_pods_where_nobody_does() -> None:
    machine = Machine("node-1", "10.0.0.1", True, "docker://20.10", "swarm worker 20.10", "2", "1Gi", ENGINE,
                      architecture="arm64")
    node = shown.node(machine, "abc", "swarm", NOW, {})
    assert (node["status"]["nodeInfo"]["architecture"], node["metadata"]["labels"]["kubernetes.io/arch"]) == (
        "arm64", "arm64")
    assert node["status"]["capacity"] == {"cpu": "2", "memory": "1Gi"}
