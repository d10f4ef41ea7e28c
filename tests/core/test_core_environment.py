"""Environments: sources, order, expansion (kubernetes: kubelet_pods_test.go, expansion/expand_test.go)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from testbed.api.core_v1 import ConfigMap, Container, Pod, Secret, Service
from testbed.core.environment import MissingConfig, Sources, command_and_args, environment, expand, service_variables

CONFIG = ConfigMap.of({"metadata": {"name": "c"}, "data": {"A": "config-a", "B": "config-b"}})
SECRET = Secret.of({"metadata": {"name": "s"}, "data": {"B": base64.b64encode(b"secret-b").decode()}})
SOURCES = Sources(
    lambda name: CONFIG if name == "c" else None, lambda name: SECRET if name == "s" else None, pod_ip="10.0.0.2",
    node_name="n1", allocatable={"cpu": "4", "memory": "1Gi"},
)


def env(container: dict[str, Any], sources: Sources = SOURCES) -> dict[str, str]:
    pod = Pod.of({"metadata": {"name": "p", "namespace": "default", "uid": "u", "labels": {"app": "web"}},
                  "spec": {"containers": [{"name": "app", **container}]}})
    return dict(environment(pod, pod.spec.containers[0], sources))


@pytest.mark.parametrize(("text", "result"), [
    ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("$A", "$A"), ("$$", "$"),
    ("$(A", "$(A"), ("$$$(A)", "$1"),
])
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_later_sources_win() -> None:
    value = env({"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
                 "env": [{"name": "A", "value": "own"}, {"name": "C", "value": "$(B)-$(A)"}]})
    assert value == {"A": "own", "B": "secret-b", "C": "secret-b-own"}


def test_references_to_one_key() -> None:
    value = env({"env": [
        {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "A"}}},
        {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "s", "key": "B"}}},
        {"name": "Z", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none", "optional": True}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]})
    assert value == {"X": "config-a", "Y": "secret-b", "N": "p", "L": "web", "I": "10.0.0.2", "M": "1024"}


@pytest.mark.parametrize("container", [
    {"envFrom": [{"configMapRef": {"name": "none"}}]}, {"envFrom": [{"secretRef": {"name": "none"}}]},
    {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none"}}}]},
    {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "B"}}}]},
])
def test_what_is_missing_is_named(container: dict[str, Any]) -> None:
    with pytest.raises(MissingConfig) as caught:
        env(container)
    assert "secret-b" not in str(caught.value)


def test_service_variables() -> None:
    services = [
        Service.of({"metadata": {"name": "my-web", "namespace": "default"}, "spec": {
            "clusterIP": "10.1.0.5", "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}}),
        Service.of({"metadata": {"name": "none", "namespace": "default"}, "spec": {
            "clusterIP": "None", "ports": [{"port": 80}]}}),
        Service.of({"metadata": {"name": "other", "namespace": "kube-system"}, "spec": {
            "clusterIP": "10.1.0.6", "ports": [{"port": 80}]}}),
        Service.of({"metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {
            "clusterIP": "10.1.0.1", "ports": [{"name": "https", "port": 443}]}}),
    ]
    value = service_variables(services, "default", links=True)
    assert value["MY_WEB_SERVICE_HOST"] == "10.1.0.5"
    assert value["MY_WEB_SERVICE_PORT"] == "80"
    assert value["MY_WEB_SERVICE_PORT_ADMIN"] == "81"
    assert value["MY_WEB_PORT_81_TCP"] == "tcp://10.1.0.5:81"
    assert not any(name.startswith(("NONE_", "OTHER_")) for name in value)
    assert set(service_variables(services, "default", links=False)) == {
        name for name in value if name.startswith("KUBERNETES_")
    }


def test_command_and_args() -> None:
    def both(**more: Any) -> Any:
        return command_and_args(Container.of({"name": "c", **more}), [("A", "1")])

    assert both() == (None, None)
    assert both(command=["run", "$(A)"]) == (("run", "1"), ())
    assert both(args=["$(A)"]) == (None, ("1",))
