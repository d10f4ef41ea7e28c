"""What creation does: metadata, defaults, admission; and what every cluster has. By upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import HandClock, deployment, make_registry, pod

from testbed.api import resources as r
from testbed.errors import (
    AlreadyExists,
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
)
from testbed.server.options import WriteOptions
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]


def test_a_new_cluster_has_its_namespaces_accounts_and_service(registry: Registry) -> None:
    names = {item.name for item in registry.list(r.NAMESPACES).items}
    assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}
    assert {item.namespace for item in registry.list(r.SERVICE_ACCOUNTS).items} == names
    assert registry.get(r.SERVICES, "kubernetes", "default").value["spec"]["clusterIP"] == "10.9.128.1"


def test_starting_again_changes_nothing() -> None:
    store = Store()
    make_registry(store=store)
    revision = store.revision
    make_registry(store=store)
    assert store.revision == revision


# --- create


def test_a_new_object_gets_its_metadata(registry: Registry, clock: HandClock) -> None:
    made = registry.create(r.PODS, pod(), "default").value["metadata"]
    assert made["creationTimestamp"] == "2026-01-01T12:00:00Z"
    assert made["namespace"] == "default" and len(made["uid"]) == 36 and made["resourceVersion"].isdigit()


def test_server_owned_metadata_of_the_client_is_ignored(registry: Registry) -> None:
    obj = pod()
    obj["metadata"] |= {"uid": "mine", "creationTimestamp": "1999-01-01T00:00:00Z", "generation": 99,
                        "deletionTimestamp": "1999-01-01T00:00:00Z"}
    made = registry.create(r.PODS, obj, "default").value["metadata"]
    assert made["uid"] != "mine" and made["creationTimestamp"].startswith("2026") and "deletionTimestamp" not in made


def test_generate_name_adds_five_characters(registry: Registry) -> None:
    obj = pod()
    obj["metadata"] = {"generateName": "web-"}
    first, second = (registry.create(r.PODS, obj, "default").name for _ in range(2))
    assert first != second and first.startswith("web-") and len(first) == len("web-") + 5


def test_the_same_name_twice_is_refused(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(AlreadyExists, match='pods "a" already exists'):
        registry.create(r.PODS, pod(), "default")


def test_a_resource_version_on_create_is_refused(registry: Registry) -> None:
    obj = pod()
    obj["metadata"]["resourceVersion"] = "5"
    with pytest.raises(BadRequest, match="resourceVersion should not be set"):
        registry.create(r.PODS, obj, "default")


def test_an_object_of_another_namespace_than_the_url_is_refused(registry: Registry) -> None:
    obj = pod()
    obj["metadata"]["namespace"] = "kube-system"
    with pytest.raises(BadRequest, match="does not match the namespace"):
        registry.create(r.PODS, obj, "default")


def test_a_missing_namespace_is_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        registry.create(r.PODS, pod(), "nowhere")


def test_another_kind_than_the_url_is_refused(registry: Registry) -> None:
    with pytest.raises(BadRequest, match="does not match the expected"):
        registry.create(r.PODS, deployment(), "default")


def test_a_dry_run_answers_as_if_and_stores_nothing(registry: Registry) -> None:
    revision = registry.store.revision
    answer = registry.create(r.PODS, pod(), "default", WriteOptions(dry_run=True)).value
    assert answer["spec"]["restartPolicy"] == "Always" and registry.store.revision == revision
    with pytest.raises(NotFound):
        registry.get(r.PODS, "a", "default")


def test_a_pod_gets_account_tolerations_and_a_pending_status(registry: Registry) -> None:
    made = registry.create(r.PODS, pod() | {"status": {"phase": "Running"}}, "default").value
    assert made["spec"]["serviceAccountName"] == "default"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert [(item["key"], item["tolerationSeconds"]) for item in made["spec"]["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 2), ("node.kubernetes.io/unreachable", 2)]


def test_a_toleration_of_the_manifest_is_not_overridden(registry: Registry) -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}
    made = registry.create(r.PODS, pod(tolerations=[own]), "default").value
    assert [item["tolerationSeconds"] for item in made["spec"]["tolerations"]] == [600, 2]
    everything = registry.create(r.PODS, pod("b", tolerations=[{"operator": "Exists"}]), "default").value
    assert everything["spec"]["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(("resources", "expected"), [
    ({}, "BestEffort"),
    ({"requests": {"cpu": "1"}}, "Burstable"),
    ({"limits": {"cpu": "1"}}, "Burstable"),
    ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
    ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ({"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 1, "memory": "1Gi"}}, "Guaranteed"),
])
def test_quality_of_service(registry: Registry, resources: Json, expected: str) -> None:
    obj = pod()
    obj["spec"]["containers"][0]["resources"] = resources
    assert registry.create(r.PODS, obj, "default").value["status"]["qosClass"] == expected


def test_an_unknown_priority_class_is_refused_and_a_known_one_is_looked_up(registry: Registry) -> None:
    with pytest.raises(Forbidden, match="no PriorityClass with name high"):
        registry.create(r.PODS, pod(priorityClassName="high"), "default")
    registry.create(r.PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 7})
    assert registry.create(r.PODS, pod(priorityClassName="high"), "default").value["spec"]["priority"] == 7


def test_a_pod_of_a_service_account_that_does_not_exist_is_refused(registry: Registry) -> None:
    told = 'pods "a" is forbidden: error looking up service account default/robot: serviceaccount "robot" not found'
    for field in ("serviceAccountName", "serviceAccount"):
        with pytest.raises(Forbidden) as refused:
            registry.create(r.PODS, pod(**{field: "robot"}), "default")
        assert refused.value.message == told and refused.value.details == {"name": "a", "kind": "pods"}
    registry.create(r.SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "kube-system")
    with pytest.raises(Forbidden, match="default/robot"):  # another namespace's
        registry.create(r.PODS, pod(serviceAccountName="robot"), "default")
    registry.create(r.SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    made = registry.create(r.PODS, pod(serviceAccount="robot"), "default").value
    assert made["spec"]["serviceAccountName"] == "robot"


def test_a_pod_of_the_default_service_account_is_never_refused_for_it(registry: Registry) -> None:
    registry.delete(r.SERVICE_ACCOUNTS, "default", "default")
    assert registry.create(r.PODS, pod(), "default").value["spec"]["serviceAccountName"] == "default"


def test_a_token_request_is_judged_before_its_pod_is_looked_for(registry: Registry) -> None:
    def ask(spec: Any) -> Json:
        return registry.create_subresource(r.SERVICE_ACCOUNTS, "default", "token", {"spec": spec}, "default")

    for wrong in ([], "x", {"boundObjectRef": "x"}):
        with pytest.raises(BadRequest):
            ask(wrong)
    with pytest.raises(Invalid) as refused:
        ask({"expirationSeconds": 9})
    assert refused.value.message == (
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 9: may not specify a '
        "duration less than 10 minutes")
    bound = {"boundObjectRef": {"kind": "Pod", "name": "a"}}
    with pytest.raises(BadRequest, match="there is no such pod"):
        ask(bound)
    registry.create(r.PODS, pod(), "default")
    assert ask(bound)["status"]["token"].count(".") == 2


def test_secrets_take_plain_text_and_keep_base64(registry: Registry) -> None:
    made = registry.create(r.SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}, "default").value
    assert made["data"] == {"a": "Yg=="} and "stringData" not in made and made["type"] == "Opaque"
