"""A Deployment as a service of a swarm: manifest in, service spec and list of what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.api import labels
from testbed.core.environment import Sources
from testbed.core.profile import FAST, KUBERNETES
from testbed.supervisors.containers import DEPLOYMENT, Place, container_spec
from testbed.supervisors.shown import pod as pod_of
from testbed.supervisors.swarm.membership import manager_count
from testbed.supervisors.swarm.timers import Timers, timers
from testbed.supervisors.swarm.translate import NODE_NAME, POD_NAME, left_out, pod_name, scaled, service_spec

PLACE = Place("abc", "c", "", NODE_NAME, "", "/dir/check")
NAME = 'web-{{.Task.Slot}}-{{printf "%.8s" .Task.ID}}'


def deployment(container: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **spec: Any) -> Any:
    first = {"name": "web", "image": "sample:v1", **(container or {})}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [first], **(pod or {})}}
    return {"metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"replicas": 4, "template": template, **spec}}


def service_of(body: Any, timing: Timers | None = None) -> Any:
    pod = pod_of("swarm", body, POD_NAME, NODE_NAME, "r1")
    pod["metadata"]["uid"] = ""
    sources = Sources(lambda name: None, lambda name: None, node_name=NODE_NAME)
    container = container_spec(PLACE, body, pod, 0, "r1", sources, {})
    return service_spec(body, container, "r1", timing or Timers())


def test_a_service_carries_what_faults_and_the_mirror_look_for() -> None:
    service = service_of(deployment())
    container = service["TaskTemplate"]["ContainerSpec"]
    assert service["Name"] == "default_web"
    assert service["Mode"] == {"Replicated": {"Replicas": 4}}
    for own in (service["Labels"], container["Labels"]):
        assert (own[labels.INSTANCE], own[DEPLOYMENT], own[labels.SPEC_HASH]) == ("abc", "default/web", "r1")
    assert container["Labels"][labels.ROLE] == labels.ROLE_CONTAINER
    assert not {labels.POD_NAME, labels.POD_UID, labels.NODE} & set(container["Labels"]), "all tasks have these labels"
    assert container["Hostname"] == NAME
    assert pod_name("web", 3, "abcdefghijkl") == "web-3-abcdefgh", "the same as what the template gives"


@pytest.mark.parametrize(("strategy", "parallelism", "order", "noted"), [
    ({"type": "Recreate"}, 0, "stop-first", False),
    ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, 1, "start-first", False),
    ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}}, 2, "stop-first", False),
    ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, 1, "start-first", True),
    ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 1, "stop-first", False),
])
def test_a_strategy_becomes_an_order_and_a_number(
    strategy: dict[str, Any], parallelism: int, order: str, noted: bool
) -> None:
    body = deployment(strategy=strategy, minReadySeconds=2)
    config = service_of(body)["UpdateConfig"]
    assert (config["Parallelism"], config["Order"], config["Delay"]) == (parallelism, order, 2_000_000_000)
    assert any("maxUnavailable" in line for line in left_out(body, Timers())) is noted


def test_a_change_of_the_number_replaces_no_task() -> None:
    before = service_of(deployment())
    after = scaled(before, deployment(replicas=7))
    assert after["Mode"] == {"Replicated": {"Replicas": 7}}
    assert after["TaskTemplate"] == before["TaskTemplate"]


def test_environment_is_filled_in_by_the_swarm_and_nothing_else_is_a_template() -> None:
    env = [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
           {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
           {"name": "TEXT", "value": "{{.Service.Name}} {x}"}]
    found = service_of(deployment({"env": env}))["TaskTemplate"]["ContainerSpec"]["Env"]
    assert f"WHO={NAME}" in found and "WHERE={{.Node.Hostname}}" in found
    assert 'TEXT={{"{{"}}.Service.Name}} {x}' in found


def test_resources_and_the_health_check() -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2, "timeoutSeconds": 3,
             "failureThreshold": 4}
    task = service_of(deployment({
        "livenessProbe": probe,
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}},
    }, {"nodeSelector": {"kubernetes.io/hostname": "node-2"}, "terminationGracePeriodSeconds": 7}))["TaskTemplate"]
    assert task["Resources"]["Limits"]["NanoCPUs"] == 500_000_000
    assert task["Resources"]["Limits"]["MemoryBytes"] == 64 << 20
    assert task["Resources"]["Reservations"] == {"NanoCPUs": 250_000_000, "MemoryBytes": 32 << 20}
    check = task["ContainerSpec"]["Healthcheck"]
    assert check["Test"][0] == "CMD" and check["Test"][2:] == ["http", "8080", "/healthz"]
    assert (check["Interval"], check["Timeout"], check["Retries"]) == (2_000_000_000, 3_000_000_000, 4)
    assert task["Placement"]["Constraints"] == ["node.hostname==node-2"]
    assert task["ContainerSpec"]["StopGracePeriod"] == 7_000_000_000
    assert service_of(deployment())["TaskTemplate"]["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.parametrize(("container", "pod", "words"), [
    ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, {}, "hooks are not run"),
    ({"readinessProbe": {"tcpSocket": {"port": 80}}}, {}, "an unhealthy task is ended"),
    ({}, {"initContainers": [{"name": "first", "image": "i"}]}, "initContainer first"),
    ({}, {"nodeSelector": {"disk": "ssd"}}, "nodeSelector"),
    ({}, {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]}, "volume data"),
])
def test_what_a_swarm_cannot_do_is_told(container: dict[str, Any], pod: dict[str, Any], words: str) -> None:
    assert any(words in line for line in left_out(deployment(container, pod), Timers()))
    assert not any(words in line for line in left_out(deployment(), Timers()))


def test_timers_are_swarms_own_or_as_near_to_ours_as_they_go() -> None:
    assert timers(FAST, equal=False) == timers(KUBERNETES, equal=False) == Timers(5.0, 5.0)
    assert timers(FAST, equal=True) == Timers(0.0, 1.2), "given up after 1.5 s + 2 s, which are three beats"
    assert timers(KUBERNETES, equal=True).node_lost_s == pytest.approx(350, rel=0.01)
    assert service_of(deployment())["TaskTemplate"]["RestartPolicy"] == {"Condition": "any", "Delay": 5_000_000_000}
    equal = service_of(deployment(), timers(FAST, equal=True))
    assert equal["TaskTemplate"]["RestartPolicy"]["Delay"] == 0


@pytest.mark.parametrize(("nodes", "managers"), [(1, 1), (2, 1), (3, 3), (7, 3)])
def test_a_majority_survives_the_loss_of_a_node_where_that_can_be(nodes: int, managers: int) -> None:
    assert manager_count(nodes) == managers
