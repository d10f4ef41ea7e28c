"""What writes do: metadata, defaults, admission, conflicts, generations, deletion. By upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import HandClock, deployment, make_registry, pod, service

from testbed.api import resources as r
from testbed.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    UnsupportedMediaType,
)
from testbed.server.deletion import DeleteOptions
from testbed.server.options import WriteOptions
from testbed.server.registry import JSON_PATCH, STRATEGIC_PATCH, Registry
from testbed.store import Store

Json = dict[str, Any]


def bind(registry: Registry, name: str = "a", node: str = "n1") -> Json:
    registry.create_subresource(r.PODS, name, "binding", {"target": {"kind": "Node", "name": node}}, "default")
    return registry.get(r.PODS, name, "default").fresh()


# --- what every cluster has


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


# --- Services


def test_a_service_gets_an_address_of_the_range_and_its_target_port(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(), "default").value["spec"]
    assert made["clusterIP"].startswith("10.9.") and made["clusterIPs"] == [made["clusterIP"]]
    assert made["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_headless_and_external_services_get_no_address(registry: Registry) -> None:
    assert registry.create(r.SERVICES, service(clusterIP="None"), "default").value["spec"]["clusterIP"] == "None"
    external = service("ext", type="ExternalName", externalName="example.org", ports=[])
    assert "clusterIP" not in registry.create(r.SERVICES, external, "default").value["spec"]


def test_an_address_that_is_taken_or_outside_is_refused(registry: Registry) -> None:
    for address, why in (("10.9.128.1", "already allocated"), ("10.9.1.1", "not in the valid range")):
        with pytest.raises(Invalid, match=why):
            registry.create(r.SERVICES, service(clusterIP=address), "default")


def test_node_ports_come_from_the_published_ones_until_they_are_used_up(registry: Registry) -> None:
    ports = [registry.create(r.SERVICES, service(name, type="NodePort"),
                             "default").value["spec"]["ports"][0]["nodePort"]
             for name in ("a", "b")]
    assert ports == [30001, 30002]
    with pytest.raises(Invalid, match="no node port is free"):
        registry.create(r.SERVICES, service("c", type="NodePort"), "default")
    registry.delete(r.SERVICES, "a", "default")
    assert registry.create(r.SERVICES, service("c", type="NodePort"),
                           "default").value["spec"]["ports"][0]["nodePort"] == 30001


def test_an_update_without_address_keeps_it(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(type="NodePort"), "default").value["spec"]
    again = registry.update(r.SERVICES, service(type="NodePort", sessionAffinity="ClientIP"), "default").value["spec"]
    assert again["clusterIP"] == made["clusterIP"] and again["ports"] == made["ports"]
    plain = registry.update(r.SERVICES, service(), "default").value["spec"]
    assert "nodePort" not in plain["ports"][0] and plain["clusterIP"] == made["clusterIP"]


# --- update


def test_a_stale_version_is_a_conflict_and_none_is_unconditional(registry: Registry) -> None:
    made = registry.create(r.CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}}, "default").fresh()
    registry.update(r.CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "2"}}, "default")
    with pytest.raises(Conflict, match="has been modified"):
        registry.update(r.CONFIG_MAPS, made, "default")


def test_an_update_that_changes_nothing_writes_nothing(registry: Registry) -> None:
    made = registry.create(r.DEPLOYMENTS, deployment(), "default")
    assert registry.update(r.DEPLOYMENTS, deployment(), "default").revision == made.revision


def test_only_a_change_of_the_spec_is_a_new_generation(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")

    def generation(patch: Json, subresource: str = "") -> int:
        changed = registry.patch(r.DEPLOYMENTS, "web", patch, "default", subresource=subresource)
        return int(changed.value["metadata"]["generation"])

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"status": {"replicas": 3}}, "status") == 1
    assert generation({"spec": {"replicas": 3}}) == 2


def test_status_is_written_through_its_subresource_only(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    by_main = registry.patch(r.DEPLOYMENTS, "web", {"status": {"replicas": 9}}, "default").value
    assert "status" not in by_main
    both = {"spec": {"replicas": 9}, "status": {"replicas": 2}, "metadata": {"labels": {"x": "y"}}}
    by_status = registry.patch(r.DEPLOYMENTS, "web", both, "default", subresource="status").value
    assert by_status["status"] == {"replicas": 2} and by_status["spec"]["replicas"] == 1
    assert "labels" not in by_status["metadata"]


def test_uid_and_creation_cannot_be_changed(registry: Registry) -> None:
    made = registry.create(r.PODS, pod(), "default").value["metadata"]
    changed = registry.patch(r.PODS, "a", {"metadata": {"creationTimestamp": "1999-01-01T00:00:00Z"}}, "default").value
    assert changed["metadata"]["creationTimestamp"] == made["creationTimestamp"]
    with pytest.raises(Conflict, match="UID"):
        registry.patch(r.PODS, "a", {"metadata": {"uid": "other"}}, "default")


@pytest.mark.parametrize("patch", [
    {"spec": {"nodeName": "n1"}}, {"spec": {"restartPolicy": "Never"}},
    {"spec": {"containers": [{"name": "other", "image": "x:1"}]}},
])
def test_most_of_a_pods_spec_cannot_be_changed(registry: Registry, patch: Json) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(Invalid, match="pod updates may not change fields"):
        registry.patch(r.PODS, "a", patch, "default")


def test_a_pods_image_can_be_changed(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    patch = {"spec": {"containers": [{"name": "main", "image": "sample:v2"}]}}
    changed = registry.patch(r.PODS, "a", patch, "default", patch_type=STRATEGIC_PATCH).value
    assert changed["spec"]["containers"][0]["image"] == "sample:v2"


def test_a_deployments_selector_is_fixed(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    other = deployment(selector={"matchLabels": {"x": "y"}})
    other["spec"]["template"]["metadata"]["labels"] = {"x": "y"}
    with pytest.raises(Invalid, match="spec.selector.*immutable"):
        registry.update(r.DEPLOYMENTS, other, "default")


def test_scale_changes_replicas_alone(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    registry.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, "default", subresource="scale")
    scale = registry.scale(r.DEPLOYMENTS, "web", "default")
    assert scale["spec"] == {"replicas": 5} and scale["status"]["selector"] == "app=web"
    with pytest.raises(Invalid):
        registry.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": -1}}, "default", subresource="scale")


def test_a_custom_patch_type_is_unsupported(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(UnsupportedMediaType, match="accepted media types"):
        registry.patch(r.PODS, "a", {}, "default", patch_type="application/apply-patch+yaml")


def test_a_failed_json_patch_test_changes_nothing(registry: Registry) -> None:
    made = registry.create(r.PODS, pod(), "default")
    operations = [{"op": "add", "path": "/metadata/labels/x", "value": "y"},
                  {"op": "test", "path": "/metadata/name", "value": "other"}]
    with pytest.raises(Invalid):
        registry.patch(r.PODS, "a", operations, "default", patch_type=JSON_PATCH)
    assert registry.get(r.PODS, "a", "default").revision == made.revision


# --- binding


def test_a_pod_is_bound_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    bound = bind(registry)
    assert bound["spec"]["nodeName"] == "n1"
    assert {"PodScheduled"} == {item["type"] for item in bound["status"]["conditions"]}
    with pytest.raises(Conflict, match="already assigned"):
        bind(registry, node="n2")


# --- deletion


def test_a_pod_nobody_runs_goes_at_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    assert registry.delete(r.PODS, "a", "default")[1]


def test_a_bound_pod_is_marked_and_goes_when_its_node_says_so(registry: Registry, clock: HandClock) -> None:
    registry.create(r.PODS, pod(terminationGracePeriodSeconds=7), "default")
    bind(registry)
    stored, gone = registry.delete(r.PODS, "a", "default")
    metadata = stored.value["metadata"]
    assert not gone and metadata["deletionGracePeriodSeconds"] == 7
    assert metadata["deletionTimestamp"] == "2026-01-01T12:00:07Z"
    assert registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=0))[1]


@pytest.mark.parametrize(("second", "expected"), [(None, 30), (60, 30), (5, 5), (-3, 1)])
def test_a_second_delete_only_shortens(registry: Registry, second: int | None, expected: int) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.delete(r.PODS, "a", "default")
    stored, _ = registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=second))
    assert stored.value["metadata"]["deletionGracePeriodSeconds"] == expected
    assert stored.value["metadata"]["deletionTimestamp"] == f"2026-01-01T12:00:{expected:02}Z"


def test_an_ended_pod_goes_at_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.patch(r.PODS, "a", {"status": {"phase": "Failed"}}, "default", subresource="status")
    assert registry.delete(r.PODS, "a", "default")[1]


def test_finalizers_hold_an_object_until_the_last_is_taken_away(registry: Registry) -> None:
    obj = pod() | {"metadata": {"name": "a", "finalizers": ["example.io/a", "example.io/b"]}}
    registry.create(r.PODS, obj, "default")
    stored, gone = registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=0))
    assert not gone and stored.value["metadata"]["deletionTimestamp"]
    with pytest.raises(Invalid, match="no new finalizers"):
        registry.patch(r.PODS, "a", {"metadata": {"finalizers": ["example.io/a", "example.io/c"]}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"finalizers": ["example.io/b"]}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        registry.get(r.PODS, "a", "default")


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_propagation_leaves_the_work_to_the_collector(registry: Registry, propagation: str, finalizer: str) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    stored, gone = registry.delete(r.DEPLOYMENTS, "web", "default", DeleteOptions(propagation=propagation))
    assert not gone and stored.value["metadata"]["finalizers"] == [finalizer]
    assert registry.delete(r.DEPLOYMENTS, "web", "default", DeleteOptions(propagation="Background"))[1]


def test_preconditions_protect_a_successor(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(Conflict, match="UID in the precondition"):
        registry.delete(r.PODS, "a", "default", DeleteOptions(uid="another"))
    registry.delete(r.PODS, "a", "default",
                    DeleteOptions(uid=registry.get(r.PODS, "a", "default").value["metadata"]["uid"]))


def test_a_namespace_empties_before_it_goes(registry: Registry) -> None:
    registry.create(r.NAMESPACES, {"metadata": {"name": "x"}})
    stored, gone = registry.delete(r.NAMESPACES, "x")
    assert not gone and stored.value["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="being terminated") as refused:
        registry.create(r.PODS, pod(), "x")
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    registry.update(r.NAMESPACES, {"metadata": {"name": "x"}, "spec": {"finalizers": []}}, subresource="finalize")
    with pytest.raises(NotFound):
        registry.get(r.NAMESPACES, "x")


def test_the_clusters_own_namespaces_stay(registry: Registry) -> None:
    with pytest.raises(Forbidden):
        registry.delete(r.NAMESPACES, "kube-system")


def test_a_collection_is_deleted_by_selector(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        registry.create(r.PODS, pod(name), "default")
    registry.delete_collection(r.PODS, "default", label_selector="app in (a,b)")
    assert [item.name for item in registry.list(r.PODS, "default").items] == ["c"]


# --- eviction


def budget(registry: Registry, allowed: int, **spec: Any) -> None:
    registry.create(r.DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}, **spec}}, "default")
    registry.patch(r.DISRUPTION_BUDGETS, "b", {"status": {
        "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        "observedGeneration": 1}}, "default", subresource="status")


def running(registry: Registry, *, ready: bool = True) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.patch(r.PODS, "a", {"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": str(ready)}]}}, "default", subresource="status")


def evict(registry: Registry) -> None:
    registry.create_subresource(r.PODS, "a", "eviction", {"metadata": {"name": "a"}}, "default")


def test_without_a_budget_eviction_is_a_graceful_delete(registry: Registry) -> None:
    running(registry)
    evict(registry)
    left = registry.get(r.PODS, "a", "default").value
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    assert any(item["reason"] == "EvictionByEvictionAPI" for item in left["status"]["conditions"] if "reason" in item)


def test_a_budget_refuses_with_429_and_its_counts(registry: Registry) -> None:
    running(registry)
    budget(registry, 0)
    with pytest.raises(TooManyRequests) as refused:
        evict(registry)
    cause = refused.value.details["causes"][0]
    assert cause["reason"] == "DisruptionBudget" and "needs 1 healthy pods and has 1 currently" in cause["message"]
    assert "deletionTimestamp" not in registry.get(r.PODS, "a", "default").value["metadata"]


def test_an_allowed_disruption_is_used_up_and_recorded(registry: Registry) -> None:
    running(registry)
    budget(registry, 1)
    evict(registry)
    status = registry.get(r.DISRUPTION_BUDGETS, "b", "default").value["status"]
    assert status["disruptionsAllowed"] == 0 and set(status["disruptedPods"]) == {"a"}


def test_a_budget_not_looked_at_yet_says_come_again(registry: Registry) -> None:
    running(registry)
    budget(registry, 1)
    registry.patch(r.DISRUPTION_BUDGETS, "b", {"spec": {"minAvailable": 2}}, "default")
    with pytest.raises(TooManyRequests) as refused:
        evict(registry)
    assert refused.value.details["retryAfterSeconds"] == 10


def test_an_unready_pod_may_go_when_the_budget_always_allows_it(registry: Registry) -> None:
    running(registry, ready=False)
    budget(registry, 0, unhealthyPodEvictionPolicy="AlwaysAllow")
    evict(registry)
    assert "deletionTimestamp" in registry.get(r.PODS, "a", "default").value["metadata"]


# --- lists and watches


def test_pages_cover_everything_once_and_can_be_watched_from_their_beginning(registry: Registry) -> None:
    for name in "abcde":
        registry.create(r.PODS, pod(name), "default")
    seen, token, revisions = [], "", set()
    while True:
        page = registry.list(r.PODS, limit=2, token=token)
        seen += [item.name for item in page.items]
        revisions.add(page.revision)
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"n": str(len(seen))}}}, "default")
        if not (token := page.next):
            break
    assert seen == list("abcde") and len(revisions) == 1


def test_an_old_page_is_gone_and_a_forged_one_refused() -> None:
    registry = make_registry(store=Store(history=2))
    for name in "abcde":
        registry.create(r.PODS, pod(name), "default")
    token = registry.list(r.PODS, limit=2).next
    for number in range(5):
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"n": str(number)}}}, "default")
    with pytest.raises(Gone):
        registry.list(r.PODS, limit=2, token=token)
    with pytest.raises(BadRequest):
        registry.list(r.PODS, token="not-a-token")


async def test_a_watch_with_a_selector_turns_transitions_into_added_and_deleted(registry: Registry) -> None:
    stream = registry.watch(r.PODS, "default", resource_version=str(registry.store.revision), label_selector="app=a")
    registry.create(r.PODS, pod("a"), "default")
    registry.create(r.PODS, pod("b"), "default")
    left = registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": "z"}}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": "a"}}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"labels": {"x": "y"}}}, "default")
    events = await stream.next()
    assert [kind for kind, _ in events] == ["ADDED", "DELETED", "ADDED", "MODIFIED"]
    departed = events[1][1].value
    assert departed["metadata"]["labels"] == {"app": "a"}  # its last matching state
    assert departed["metadata"]["resourceVersion"] == str(left.revision)


async def test_a_watch_without_a_version_begins_with_what_is_there(registry: Registry) -> None:
    registry.create(r.PODS, pod("a"), "default")
    stream = registry.watch(r.PODS, "default")
    assert [(kind, stored.name) for kind, stored in await stream.next()] == [("ADDED", "a")]
    registry.delete(r.PODS, "a", "default")
    assert [kind for kind, _ in await stream.next()] == ["DELETED"]


def test_events_are_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.server.registry.MAX_EVENTS", 20)
    for number in range(100):
        registry.create(r.EVENTS, {"metadata": {"name": f"e{number}"}, "involvedObject": {"namespace": "default"}},
                        "default")
    names = [item.name for item in registry.list(r.EVENTS).items]
    assert len(names) <= 20 and "e99" in names


def balancer_ips(value: Json) -> list[str]:
    return [item["ip"] for item in value["status"]["loadBalancer"].get("ingress", ())]


def test_a_load_balancer_has_an_address_of_its_own_for_as_long_as_it_is_one(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(type="LoadBalancer"), "default").value
    other = {**service(type="LoadBalancer"), "metadata": {"name": "other"}}
    assert balancer_ips(made) == ["10.9.255.1"]
    assert balancer_ips(registry.create(r.SERVICES, other, "default").value) == ["10.9.255.2"]
    again = registry.patch(r.SERVICES, "web", {"spec": {"selector": {"a": "b"}}}, "default").value
    assert balancer_ips(again) == ["10.9.255.1"]
    plain = registry.patch(r.SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default").value
    assert balancer_ips(plain) == [] and "externalTrafficPolicy" not in plain["spec"]


def test_a_load_balancer_of_another_class_is_left_pending(registry: Registry) -> None:
    other = service(type="LoadBalancer", loadBalancerClass="example.com/lb")
    made = registry.create(r.SERVICES, other, "default").value
    assert balancer_ips(made) == []


def test_a_load_balancer_gets_the_address_it_wishes_and_no_node_port_where_it_wants_none(registry: Registry) -> None:
    wish = service(type="LoadBalancer", loadBalancerIP="10.9.255.9", allocateLoadBalancerNodePorts=False)
    made = registry.create(r.SERVICES, wish, "default").value
    assert balancer_ips(made) == ["10.9.255.9"] and "nodePort" not in made["spec"]["ports"][0]
    with pytest.raises(Invalid):
        registry.create(r.SERVICES, wish | {"metadata": {"name": "other"}}, "default")


@pytest.mark.parametrize(("spec", "field"), [
    ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
     "spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
    ({"internalTrafficPolicy": "Near"}, "spec.internalTrafficPolicy"),
    ({"externalTrafficPolicy": "Local"}, "spec.externalTrafficPolicy"),
    ({"type": "NodePort", "externalTrafficPolicy": "Near"}, "spec.externalTrafficPolicy"),
    ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "spec.loadBalancerSourceRanges"),
    ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]}, "spec.loadBalancerSourceRanges[0]"),
    ({"type": "NodePort", "healthCheckNodePort": 30001}, "spec.healthCheckNodePort"),
    ({"allocateLoadBalancerNodePorts": True}, "spec.allocateLoadBalancerNodePorts"),
    ({"clusterIP": "10.9.255.7"}, "spec.clusterIPs"),
])
def test_a_service_that_upstream_refuses_is_refused(registry: Registry, spec: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create(r.SERVICES, service(**spec), "default")
    assert field in str(refused.value)


def test_a_services_address_does_not_change(registry: Registry) -> None:
    registry.create(r.SERVICES, service(), "default")
    with pytest.raises(Invalid, match="may not change once set"):
        change = {"clusterIP": "10.9.128.77", "clusterIPs": ["10.9.128.77"]}
        registry.patch(r.SERVICES, "web", {"spec": change}, "default")
