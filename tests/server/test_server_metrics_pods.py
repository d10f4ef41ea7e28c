"""kube-state-metrics' families of pods, nodes and Ingresses: labels and values, as Prometheus reads them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_world import make_registry, pod, service

from testbed.api import resources as r
from testbed.server.metrics_state import StateText
from testbed.server.registry import Registry

Json = dict[str, Any]
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]
NOON = 1767268800.0  # of the clock of these tests
AT = "2026-01-01T12:00:00Z"


def seconds_later(seconds: int) -> str:
    return f"2026-01-01T12:00:{seconds:02}Z"


def put_pod(registry: Registry, name: str, status: Json, **spec: Any) -> None:
    made = pod(name, **spec)
    made["metadata"]["uid"] = name
    registry.create(r.PODS, made, "default")
    registry.patch(r.PODS, name, {"status": status}, "default", subresource="status")


@pytest.fixture(scope="module")
def samples() -> Samples:
    registry = make_registry()
    registry.create(r.NODES, {"metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/worker": ""}}, "spec": {
        "podCIDR": "10.9.1.0/24", "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})
    registry.patch(r.NODES, "n1", {"status": {
        "nodeInfo": {"kernelVersion": "6.1", "systemUUID": "u"},
        "addresses": [{"type": "InternalIP", "address": "10.9.0.9"}],
        "conditions": [{"type": "Ready", "status": "Unknown"}],
        "capacity": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Ki", "pods": "110"}}}, subresource="status")
    put_pod(registry, "web", {
        "phase": "Running", "podIP": "10.9.1.7", "hostIP": "10.9.0.9", "startTime": AT, "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": AT},
            {"type": "Initialized", "status": "True", "lastTransitionTime": seconds_later(1)},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": seconds_later(2)},
            {"type": "Ready", "status": "True", "lastTransitionTime": seconds_later(3)},
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
             "lastTransitionTime": AT}],
        "containerStatuses": [{
            "name": "main", "image": "sample:v1", "imageID": "sha256:1", "containerID": "docker://c", "ready": True,
            "restartCount": 2, "state": {"running": {"startedAt": seconds_later(2)}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": seconds_later(1)}}}],
        "initContainerStatuses": [{
            "name": "prepare", "image": "sample:v1", "imageID": "", "containerID": "docker://i", "ready": True,
            "restartCount": 0, "state": {"terminated": {"reason": "Completed", "exitCode": 0, "startedAt": AT}}}],
    }, nodeName="n1", initContainers=[{"name": "prepare", "image": "sample:v1", "resources": {"limits": {"cpu": "1"}}}],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "db", "readOnly": True}}],
        containers=[{"name": "main", "image": "sample:v1",
                     "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}])
    put_pod(registry, "lost", {"phase": "Failed", "reason": "Strange", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": AT}],
        "containerStatuses": [{"name": "main", "image": "", "imageID": "", "restartCount": 0, "ready": False, "state": {
            "terminated": {"reason": "Evicted", "exitCode": 1, "finishedAt": seconds_later(9)}}}]})
    registry.create(r.SERVICES, service("web", type="LoadBalancer", externalIPs=["192.0.2.1"]), "default")
    registry.create(r.INGRESSES, {"metadata": {"name": "front"}, "spec": {
        "ingressClassName": "nginx", "tls": [{"hosts": ["a.example"], "secretName": "cert"}], "rules": [
            {"host": "a.example", "http": {"paths": [{"path": "/x", "pathType": "Prefix", "backend": {
                "service": {"name": "web", "port": {"number": 80}}}}]}}]}}, "default")
    found: Samples = {}
    text = "".join(StateText(lambda resource: registry.list(resource).items, pytest.fail).text())
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def of(name: str, **more: str) -> dict[str, str]:
    return {"namespace": "default", "pod": name, **more}


WEB, MAIN = of("web"), of("web", container="main")
PREPARE = of("web", container="prepare")


@pytest.mark.parametrize(("name", "labels", "value"), [
    ("kube_pod_info", of("web", host_ip="10.9.0.9", pod_ip="10.9.1.7", node="n1", created_by_kind="",
                         created_by_name="", priority_class="", host_network="false"), 1),
    ("kube_pod_owner", of("web", owner_kind="", owner_name="", owner_is_controller=""), 1),
    ("kube_pod_status_phase", of("web", phase="Running"), 1), ("kube_pod_status_phase", of("web", phase="Failed"), 0),
    ("kube_pod_status_qos_class", of("web", qos_class="Burstable"), 1),
    ("kube_pod_status_ready", of("web", condition="true"), 1),
    ("kube_pod_restart_policy", of("web", type="Always"), 1),
    ("kube_pod_status_scheduled_time", WEB, NOON), ("kube_pod_status_initialized_time", WEB, NOON + 1),
    ("kube_pod_status_container_ready_time", WEB, NOON + 2), ("kube_pod_status_ready_time", WEB, NOON + 3),
    ("kube_pod_status_disruption_reason", of("web", reason="EvictionByEvictionAPI"), 1),
    ("kube_pod_status_unschedulable", of("lost"), 1), ("kube_pod_status_reason", of("lost", reason="Other"), 1),
    ("kube_pod_status_reason", of("lost", reason="Evicted"), 1), ("kube_pod_completion_time", of("lost"), NOON + 9),
    ("kube_pod_spec_volumes_persistentvolumeclaims_info",
     of("web", volume="data", persistentvolumeclaim="db", ephemeral="false"), 1),
    ("kube_pod_spec_volumes_persistentvolumeclaims_readonly",
     of("web", volume="data", persistentvolumeclaim="db", ephemeral="false"), 1),
    ("kube_pod_container_info", of("web", container="main", image_spec="sample:v1", image="sample:v1",
                                   image_id="sha256:1", container_id="docker://c"), 1),
    ("kube_pod_container_status_restarts_total", MAIN, 2), ("kube_pod_container_status_running", MAIN, 1),
    ("kube_pod_container_status_waiting", MAIN, 0), ("kube_pod_container_state_started", MAIN, NOON + 2),
    ("kube_pod_container_status_last_terminated_reason", of("web", container="main", reason="OOMKilled"), 1),
    ("kube_pod_container_status_last_terminated_exitcode", MAIN, 137),
    ("kube_pod_container_status_last_terminated_timestamp", MAIN, NOON + 1),
    ("kube_pod_container_resource_requests", of("web", container="main", node="n1", resource="cpu", unit="core"), 0.25),
    ("kube_pod_container_resource_requests",
     of("web", container="main", node="n1", resource="memory", unit="byte"), 64 * 2**20),
    ("kube_pod_init_container_status_terminated", PREPARE, 1),
    ("kube_pod_init_container_status_terminated_reason", of("web", container="prepare", reason="Completed"), 1),
    ("kube_pod_init_container_info", of("web", container="prepare", image_spec="sample:v1", image="sample:v1",
                                        image_id="", container_id="docker://i", restart_policy=""), 1),
    ("kube_pod_init_container_resource_limits",
     of("web", container="prepare", node="n1", resource="cpu", unit="core"), 1),
])
def test_a_sample_of_a_pod(samples: Samples, name: str, labels: dict[str, str], value: float) -> None:
    found = {key - {item for item in key if item[0] == "uid"}: number for key, number in samples[name].items()}
    assert found[frozenset(labels.items())] == value


@pytest.mark.parametrize(("name", "labels", "value"), [
    ("kube_node_role", {"node": "n1", "role": "worker"}, 1),
    ("kube_node_spec_taint", {"node": "n1", "key": "k", "value": "v", "effect": "NoSchedule"}, 1),
    ("kube_node_status_addresses", {"node": "n1", "type": "InternalIP", "address": "10.9.0.9"}, 1),
    ("kube_node_status_condition", {"node": "n1", "condition": "Ready", "status": "unknown"}, 1),
    ("kube_node_status_condition", {"node": "n1", "condition": "Ready", "status": "true"}, 0),
    ("kube_node_status_capacity", {"node": "n1", "resource": "cpu", "unit": "core"}, 2),
    ("kube_node_status_capacity", {"node": "n1", "resource": "ephemeral_storage", "unit": "byte"}, 1024),
    ("kube_node_status_capacity", {"node": "n1", "resource": "pods", "unit": "integer"}, 110),
    ("kube_ingress_info", {"namespace": "default", "ingress": "front", "ingressclass": "nginx"}, 1),
    ("kube_ingress_path", {
        "namespace": "default", "ingress": "front", "host": "a.example", "path": "/x", "path_type": "Prefix",
        "service_name": "web", "service_port": "80", "resource_api_group": "", "resource_kind": "",
        "resource_name": ""}, 1),
    ("kube_ingress_tls", {"namespace": "default", "ingress": "front", "tls_host": "a.example", "secret": "cert"}, 1),
    ("kube_namespace_created", {"namespace": "default"}, NOON),
    ("kube_namespace_status_phase", {"namespace": "default", "phase": "Active"}, 1),
])
def test_a_sample_of_the_cluster(samples: Samples, name: str, labels: dict[str, str], value: float) -> None:
    assert samples[name][frozenset(labels.items())] == value


def test_a_service_shows_its_addresses(samples: Samples) -> None:
    (labels,) = (dict(item) for item in samples["kube_service_spec_external_ip"])
    assert labels["external_ip"] == "192.0.2.1" and labels["service"] == "web" and labels["uid"]


def test_of_a_pod_that_never_ended_no_end_is_told(samples: Samples) -> None:
    assert {dict(labels)["pod"] for labels in samples["kube_pod_completion_time"]} == {"lost"}
    assert "kube_pod_deletion_timestamp" not in samples
    assert "kube_pod_container_status_waiting_reason" not in samples
