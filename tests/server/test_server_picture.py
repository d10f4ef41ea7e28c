"""What the live page is told of each kind of object, as values."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from server_world import HandClock, deployment, make_registry, pod, service
from support.page_world import PageWorld

from testbed.api import resources as r
from testbed.api.labels import RUNBOOK
from testbed.server import picture
from testbed.server.picture_faults import fault, phase
from testbed.server.picture_pods import pod as pod_part
from testbed.server.registry import Registry
from testbed.server.sketch import Changed, Sketch

Json = dict[str, Any]


def no_owner(namespace: str, name: str) -> None:
    return None


def running(name: str = "web", **more: Any) -> Json:
    return {"name": name, "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}, **more}


def a_pod(status: Json, **meta: Any) -> Json:
    spec = {"nodeName": "node-1", "containers": [{"name": "web", "readinessProbe": {}, "startupProbe": {"exec": {}}}]}
    return {"metadata": {"namespace": "default", "name": "web-1", **meta}, "spec": spec, "status": status}


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [running()]}


@pytest.mark.parametrize("status, meta, expected", [
    (READY, {}, {"reason": "Running", "ready": True, "phase": "Running", "deleting": False, "restarts": 0}),
    ({}, {}, {"reason": "", "ready": False, "phase": "Pending"}),
    ({**READY, "containerStatuses": [running(ready=False, restartCount=3, state={"waiting": {
        "reason": "CrashLoopBackOff"}})]}, {}, {"reason": "CrashLoopBackOff", "restarts": 3}),
    (READY, {"deletionTimestamp": "2026-01-01T12:00:00Z"}, {"reason": "Terminating", "deleting": True}),
    (READY, {"labels": {"app.kubernetes.io/name": "shop"}}, {"app": "shop"}),
    (READY, {"labels": {"app.kubernetes.io/name": "shop", "app": "web"}}, {"app": "web"}),
])
def test_a_pod_is_told_in_kubectls_words(status: Json, meta: Json, expected: Json) -> None:
    part = pod_part(a_pod(status, **meta), no_owner)
    assert {key: part[key] for key in expected} == expected  # type: ignore[literal-required]


def test_a_containers_probes_and_state_are_told() -> None:
    [container] = pod_part(a_pod(READY), no_owner)["containers"]
    assert container == {"name": "web", "init": False, "state": "running", "reason": "", "ready": True, "restarts": 0,
                         "probes": ["startup"], "started": True}
    assert pod_part(a_pod({}), no_owner)["containers"][0]["state"] == ""


def test_a_pod_belongs_to_the_deployment_behind_its_replica_set() -> None:
    owned = a_pod(READY, ownerReferences=[{"kind": "ReplicaSet", "name": "web-5d9", "controller": True}])
    behind = {"metadata": {"ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]}}
    assert pod_part(owned, lambda namespace, name: behind)["owner"] == "Deployment/web"
    assert pod_part(owned, no_owner)["owner"] == "ReplicaSet/web-5d9"
    assert pod_part(a_pod(READY), no_owner)["owner"] == ""


def fault_with(*conditions: tuple[str, str, str], records: Any = ()) -> Json:
    found = [{"type": kind, "status": status, "reason": reason, "message": reason and f"because of {reason}"}
             for kind, status, reason in conditions]
    return {"kind": "PodChaos", "metadata": {"name": "x", "creationTimestamp": "2026-01-01T12:00:00Z"},
            "spec": {"action": "pod-kill"},
            "status": {"conditions": found, "experiment": {"containerRecords": list(records)}}}


@pytest.mark.parametrize("conditions, expected", [
    ((), "Injecting"),
    ((("Selected", "True", ""), ("AllInjected", "False", "")), "Injecting"),
    ((("Selected", "False", ""), ("AllInjected", "False", "")), "Injecting"),
    ((("Selected", "True", ""), ("AllInjected", "True", ""), ("AllRecovered", "False", "")), "Injected"),
    ((("Selected", "True", ""), ("AllInjected", "False", ""), ("AllRecovered", "True", "")), "Recovered"),
    ((("Selected", "False", "BlastRadius"), ("AllInjected", "False", "BlastRadius")), "Refused"),
    ((("Selected", "True", ""), ("AllInjected", "False", "NotInEffect")), "Failed"),
    ((("Selected", "True", "DryRun"), ("AllInjected", "False", "DryRun"), ("AllRecovered", "True", "")), "Recovered"),
])
def test_how_far_a_fault_is(conditions: Any, expected: str) -> None:
    assert phase(fault_with(*conditions)) == expected


def test_a_kill_is_done_where_another_fault_is_in_effect() -> None:
    found = (("AllInjected", "True", ""), ("AllRecovered", "False", ""))
    assert phase(fault_with(*found, records=[{"id": "default/web-1", "oneShot": True}])) == "Done"
    assert phase(fault_with(*found, records=[{"id": "default/web-1"}])) == "Injected"


def test_a_refusal_is_told_in_the_daemons_words_and_an_injection_with_its_targets() -> None:
    refused = fault(fault_with(("Selected", "False", "BlastRadius")))
    assert refused["message"] == "because of BlastRadius" and refused["since"] == "2026-01-01T12:00:00.000000Z"
    told = fault(fault_with(("AllInjected", "True", ""), records=[
        {"id": "default/web-1", "node": "node-1", "events": [
            {"type": "Started", "timestamp": "2026-01-01T12:00:01Z"},
            {"type": "Succeeded", "timestamp": "2026-01-01T12:00:02Z"}]}]))
    assert (told["targets"], told["nodes"]) == (["default/web-1"], ["node-1"])
    assert told["since"] == "2026-01-01T12:00:02.000000Z"


@pytest.mark.parametrize("last, once, expected", [
    ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00.500000Z", "2026-01-01T12:00:00.500000Z"),
    ("2026-01-01T12:00:01Z", "2026-01-01T12:00:00.500000Z", "2026-01-01T12:00:01.000000Z"),
    ("2026-01-01T13:00:00+02:00", "2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000000Z"),
    ("2026-01-01T12:00:00", "2026-01-01T11:00:00Z", "2026-01-01T12:00:00.000000Z"),
    ("yesterday", None, ""),
])
def test_an_event_is_told_at_the_last_of_its_moments_in_a_form_that_can_be_put_in_order(
    last: str, once: str | None, expected: str,
) -> None:
    assert picture.event({"lastTimestamp": last, "eventTime": once, "firstTimestamp": None})["at"] == expected


def test_the_forms_are_kept_to_the_letter() -> None:
    """The page and ``top`` read every key without asking whether it is there."""
    for made, form in (
        (pod_part(a_pod({}), no_owner), "PodPart"), (picture.node({"metadata": {"name": "n"}}), "NodePart"),
        (picture.service({"metadata": {}}, ()), "ServicePart"), (fault(fault_with()), "FaultPart"),
        (picture.workload({"kind": "DaemonSet"}), "WorkloadPart"), (picture.workload({"kind": "Deployment"}),
                                                                    "WorkloadPart"), (picture.event({}), "EventPart"),
    ):
        import testbed.server.picture as forms

        assert made.keys() == get_type_hints(getattr(forms, form)).keys(), form


# --- kept up with the store


@pytest.fixture
def registry(clock: HandClock) -> Registry:
    return make_registry(clock)


def told(sketch: Sketch) -> list[tuple[str, str]]:
    return [(item.part, item.key) for item in sketch.look() or ()]


def test_what_is_there_is_in_the_first_picture_and_changes_come_one_by_one(registry: Registry) -> None:
    registry.create(r.PODS, pod("a"), "default")
    sketch = Sketch(registry)
    assert list(sketch.whole()["pods"]) == ["default/a"]
    assert sketch.look() == []
    registry.create(r.PODS, pod("b"), "default")
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    registry.create(r.NODES, {"metadata": {"name": "n1"}})
    assert told(sketch) == [("pods", "default/b"), ("workloads", "Deployment/default/web"), ("nodes", "n1")]
    registry.delete_object(r.PODS, "a", "default", grace_s=0, propagation="Background", uid="")
    assert sketch.look() == [Changed("pods", "default/a", None)]
    assert list(sketch.whole()["pods"]) == ["default/b"]


def test_what_does_not_look_different_is_not_told(registry: Registry) -> None:
    registry.create(r.NODES, {"metadata": {"name": "n1"}})
    sketch = Sketch(registry)
    registry.patch(r.NODES, "n1", {"metadata": {"annotations": {"heartbeat": "1"}}})
    assert sketch.look() == []


def test_many_writes_of_one_object_between_two_looks_are_one_change(registry: Registry) -> None:
    registry.create(r.PODS, pod("a"), "default")
    sketch = Sketch(registry)
    for number in range(20):
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": str(number)}}}, "default")
    [change] = sketch.look() or ()
    assert change.value["app"] == "19"
    registry.create(r.PODS, pod("gone"), "default")
    registry.delete_object(r.PODS, "gone", "default", grace_s=0, propagation="Background", uid="")
    assert told(sketch) == []


def test_a_service_follows_its_endpoints(registry: Registry) -> None:
    sketch = Sketch(registry)
    registry.create(r.SERVICES, service(), "default")
    assert told(sketch) == [("services", "default/web")]
    slice_ = {"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
              "endpoints": [{"addresses": ["10.9.1.1"], "conditions": {"ready": True}},
                            {"addresses": ["10.9.1.2"], "conditions": {"ready": False}}]}
    registry.create(r.ENDPOINT_SLICES, slice_, "default")
    [change] = sketch.look() or ()
    assert (change.value["ready"], change.value["unready"]) == (1, 1)
    registry.delete_object(r.ENDPOINT_SLICES, "web-1", "default", grace_s=None, propagation="Background", uid="")
    [change] = sketch.look() or ()
    assert (change.value["ready"], change.value["unready"]) == (0, 0)


def test_of_events_the_newest_are_shown_and_one_that_comes_again_is_new(
    registry: Registry, monkeypatch: pytest.MonkeyPatch,
) -> None:
    from testbed.server import sketch as module

    monkeypatch.setitem(module.LIMITS, picture.EVENTS, 3)

    def tell(name: str) -> None:
        registry.create(r.EVENTS, {"metadata": {"name": name}, "involvedObject": {}, "reason": "Killing"}, "default")

    for name in "abcde":
        tell(name)
    sketch = Sketch(registry)
    assert list(sketch.whole()["events"]) == ["default/c", "default/d", "default/e"]
    registry.patch(r.EVENTS, "c", {"count": 2}, "default")
    assert told(sketch) == [("events", "default/c")]
    tell("f")
    assert sorted(told(sketch)) == [("events", "default/d"), ("events", "default/f")]
    assert list(sketch.whole()["events"]) == ["default/e", "default/c", "default/f"]


@pytest.mark.parametrize(("annotations", "shown"), [
    ({RUNBOOK: "https://127.0.0.1:1/testbed/v1/runbooks#a"}, "https://127.0.0.1:1/testbed/v1/runbooks#a"),
    ({RUNBOOK: "javascript:alert(1)"}, ""), ({}, ""),
])
def test_of_an_alert_the_address_of_its_runbook_is_shown(annotations: dict[str, str], shown: str) -> None:
    assert picture.event({"metadata": {"annotations": annotations}})["runbook"] == shown


def test_kinds_that_come_later_are_followed_too(registry: Registry, tmp_path: Any) -> None:
    filled = PageWorld(tmp_path)
    sketch = Sketch(filled.registry)
    filled.fault("kill", "default/web-1")
    filled.fault("cut", "node-1", kind="NodeChaos", action="kill", phase="Refused", message="too many nodes")
    faults = {item.key: item.value for item in sketch.look() or ()}
    assert faults["NodeChaos/default/cut"]["phase"] == "Refused"
    assert faults["PodChaos/default/kill"]["targets"] == ["default/web-1"]
    filled.registry.delete_object(r.CUSTOM_RESOURCE_DEFINITIONS, "podchaos.chaos-mesh.org", None, grace_s=None,
                                  propagation="Background", uid="")
    assert sketch.look() is None  # the whole is to be told again
    assert list(sketch.whole()["faults"]) == ["NodeChaos/default/cut"]


def test_a_run_is_shown_as_its_runner_publishes_it(tmp_path: Any) -> None:
    filled = PageWorld(tmp_path)
    sketch = Sketch(filled.registry)
    filled.experiment("crash-1", {"phase": "Running", "experiment": "crash"})
    [change] = sketch.look() or ()
    assert change == Changed("experiments", "default/crash-1", {"phase": "Running", "experiment": "crash"})


def test_a_look_after_very_much_has_happened_is_a_whole_one(registry: Registry) -> None:
    sketch = Sketch(registry)
    registry.create(r.PODS, pod("a"), "default")
    for number in range(5000):
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": str(number)}}}, "default")
    assert sketch.look() is None
    assert sketch.whole()["pods"]["default/a"]["app"] == "4999"
    assert sketch.look() == []


def test_an_object_that_cannot_be_shown_hides_no_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    from testbed.server import sketch as module

    def odd(obj: Json, owner: Any) -> Any:
        return {"name": obj["metadata"]["labels"]["app"]} if obj["metadata"]["name"] != "odd" else obj["nothing"]

    monkeypatch.setattr(module, "pod", odd)
    registry.create(r.PODS, pod("odd"), "default")
    registry.create(r.PODS, pod("a"), "default")
    assert list(Sketch(registry).whole()["pods"]) == ["default/a"]
    assert "pods default/odd cannot be shown" in caplog.text


def test_nothing_is_followed_any_more_once_it_is_closed(registry: Registry) -> None:
    sketch = Sketch(registry)
    sketch.close()
    assert sketch.ended
