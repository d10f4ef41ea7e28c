"""A Deployment in plain Docker's terms: manifest in, container and list of what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.api.core_v1 import Container
from testbed.core.environment import Sources
from testbed.runtime.supervision import HealthCheck
from testbed.supervisors.compose.timers import Timers
from testbed.supervisors.compose.translate import autoheal_labels, left_out
from testbed.supervisors.containers import Place, container_spec
from testbed.supervisors.health import ANNOTATION, PROGRAM, health_check
from testbed.supervisors.shown import pod as pod_of

PLACE = Place("abc", "c", "net", "machine", "/cg", "/dir/check")
HTTP = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 4,
        "initialDelaySeconds": 5}
PORTS = [{"name": "http", "containerPort": 8080}]


def deployment(container: dict[str, Any], pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    first = {"name": "web", "image": "sample:v1", **container}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [first], **(pod or {})}}
    return {"metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"replicas": 1, "strategy": {"type": "Recreate"}, "template": template, **spec}}


def spec_of(body: dict[str, Any], place: Place = PLACE, **volumes: str) -> Any:
    pod = pod_of("compose", body, "web-1-x", "machine", "r1")
    pod["metadata"]["uid"] = "pod-uid"
    sources = Sources(lambda name: None, lambda name: None)
    return container_spec(place, body, pod, 1, "r1", sources, volumes)


@pytest.mark.parametrize(("container", "annotations", "check", "left"), [
    pytest.param({}, {}, None, 0, id="no probe"),
    pytest.param({"livenessProbe": HTTP, "ports": PORTS}, {},
                 HealthCheck((PROGRAM, "http", "8080", "/healthz"), 2, 3, 4, 5), 0, id="liveness over HTTP"),
    pytest.param({"readinessProbe": {"tcpSocket": {"port": 80}}}, {},
                 HealthCheck((PROGRAM, "tcp", "80"), 10, 1, 3, 0), 0, id="readiness over TCP"),
    pytest.param({"livenessProbe": {"exec": {"command": ["true"]}}}, {}, HealthCheck(("true",), 10, 1, 3, 0), 0,
                 id="exec"),
    pytest.param({"livenessProbe": HTTP, "readinessProbe": HTTP, "ports": PORTS}, {},
                 HealthCheck((PROGRAM, "http", "8080", "/healthz"), 2, 3, 4, 5), 1, id="both: liveness it is"),
    pytest.param({"livenessProbe": {"exec": {"command": ["true"]}},
                  "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 30}}, {},
                 HealthCheck(("true",), 10, 1, 3, 60), 1, id="a startup probe is patience"),
    pytest.param({"livenessProbe": {"grpc": {"port": 9}}}, {}, None, 1, id="gRPC cannot be said"),
    pytest.param({"livenessProbe": {"grpc": {"port": 9}}}, {ANNOTATION: '["CMD", "curl", "-f", "localhost"]'},
                 HealthCheck(("curl", "-f", "localhost"), 10, 1, 3, 0), 0, id="the annotation says how"),
    pytest.param({"livenessProbe": HTTP}, {}, None, 1, id="a port that has no number"),
    pytest.param({"livenessProbe": {"exec": {"command": ["true"]}}}, {ANNOTATION: "curl"},
                 HealthCheck(("true",), 10, 1, 3, 0), 1, id="an annotation that says nothing"),
])
def test_probes_become_one_health_check(
    container: dict[str, Any], annotations: dict[str, str], check: HealthCheck | None, left: int,
) -> None:
    found, missing = health_check(Container.model_validate({"name": "web", **container}), annotations)
    assert found == check
    assert len(missing) == left


def test_a_container_restarts_by_itself_and_is_found_by_its_labels() -> None:
    spec = spec_of(deployment({"env": [{"name": "A", "value": "1"}], "command": ["run"], "args": ["$(A)"],
                               "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}},
                              {"terminationGracePeriodSeconds": 7}))
    assert (spec.restart, spec.stop_grace_s, spec.health) == ("always", 7, None)
    assert (spec.command, spec.args, ("A", "1") in spec.env) == (("run",), ("1",), True)
    assert (spec.limits.cpu_quota_us, spec.limits.memory_bytes) == (50_000, 64 << 20)
    assert spec.labels["io.kubernetes.pod.uid"] == "pod-uid" and spec.labels["testbed.io/instance"] == "abc"
    assert spec.aliases == ("containers.web.default",)
    assert "autoheal" not in spec.labels


def test_empty_directories_outlive_restarts_and_files_are_mounted() -> None:
    body = deployment({"volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"},
                                        {"name": "fast", "mountPath": "/fast"}]},
                      {"volumes": [{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "c"}},
                                   {"name": "fast", "emptyDir": {"medium": "Memory"}}]})
    spec = spec_of(body, conf="/dir/conf")
    assert spec.anonymous_volumes == ("/data",)
    assert {(mount.target, mount.source) for mount in spec.mounts} == {("/conf", "/dir/conf"), ("/fast", "")}


@pytest.mark.parametrize(("timers", "labels"), [
    (Timers(), {}),
    (Timers(autoheal=True), {"autoheal": "true"}),
    (Timers(autoheal=True, interval_s=1.0, equal=True), {"autoheal": "true", "autoheal.stop.timeout": "2"}),
])
def test_autoheal_looks_after_those_that_carry_its_label(timers: Timers, labels: dict[str, str]) -> None:
    body = deployment({"livenessProbe": {"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 2}})
    assert autoheal_labels(timers, body) == labels


@pytest.mark.parametrize(("body", "words"), [
    pytest.param(deployment({}), [], id="nothing"),
    pytest.param(deployment({}, strategy={"type": "RollingUpdate"}), ["strategy RollingUpdate"], id="rolling update"),
    pytest.param(deployment({}, minReadySeconds=3), ["minReadySeconds"], id="min ready"),
    pytest.param(deployment({}, {"initContainers": [{"name": "first", "image": "i"}]}), ["initContainer first"],
                 id="init container"),
    pytest.param(deployment({}, {"affinity": {"podAntiAffinity": {}}, "nodeSelector": {"a": "b"},
                                 "tolerations": [{"operator": "Exists"}]}),
                 ["affinity", "nodeSelector", "tolerations"], id="placement"),
    pytest.param(deployment({}, {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]}),
                 ["volume d"], id="claim"),
    pytest.param(deployment({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}), ["lifecycle.preStop"], id="hook"),
    pytest.param(deployment({"livenessProbe": {"exec": {"command": ["true"]}}}), ["readiness: Docker's DNS"],
                 id="who checks does not route"),
])
def test_what_cannot_be_said_is_listed(body: dict[str, Any], words: list[str]) -> None:
    found = left_out(body, Timers())
    assert len(found) == len(words)
    assert all(line.startswith(word) for line, word in zip(found, words, strict=True))


def test_a_second_container_is_listed_as_not_run() -> None:
    body = deployment({})
    body["spec"]["template"]["spec"]["containers"].append({"name": "helper", "image": "i"})
    assert left_out(body, Timers()) == ("container helper: only the first container of a pod is run",)


def test_the_probes_own_grace_is_left_out_unless_autoheal_has_the_kubelets_timers() -> None:
    body = deployment({"livenessProbe": {"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 2}})
    lines = {timers: [line for line in left_out(body, timers) if "terminationGrace" in line] for timers in (
        Timers(), Timers(autoheal=True), Timers(equal=True), Timers(autoheal=True, equal=True))}
    assert [len(found) for found in lines.values()] == [1, 1, 1, 0]
