"""What is wrong in an object is told: unknown fields, types, values; all at once; and never a secret's value."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_world import definition, deployment, make_registry, pod, service

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.errors import ApiError, BadRequest, Forbidden, Invalid, NotFound, UnsupportedMediaType
from testbed.server.fields import examine
from testbed.server.negotiation import parse_body
from testbed.server.options import WriteOptions
from testbed.server.registry import STRATEGIC_PATCH, Registry
from testbed.server.schema import SCALARS, Type, fields_of, type_names

Json = dict[str, Any]
WIDGETS = ResourceType("example.io", "v1", "widgets", "Widget")


def changed(obj: Json, path: str, value: Any) -> Json:
    """A copy with one field set; path as ``spec.containers.0.image``."""
    result = copy.deepcopy(obj)
    target: Any = result
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in parents:
        target = target[part] if isinstance(part, int) else target.setdefault(part, {})
    target[last] = value
    return result


# --- names and types of fields


def test_every_type_of_the_schema_is_known() -> None:
    def parts(kind: Type) -> list[Type]:
        return [kind] if kind.item is None else parts(kind.item)

    missing = {leaf.name for name in type_names() for field in fields_of(name).values() for leaf in parts(field.type)
               if leaf.form == "struct" and leaf.name not in type_names()}
    strange = {leaf.form for name in type_names() for field in fields_of(name).values() for leaf in parts(field.type)
               if leaf.form not in SCALARS and leaf.form != "struct"}
    assert not missing and not strange
    assert {resource.kind for resource in r.BUILT_IN} <= set(type_names())


def test_strict_tells_every_unknown_field_with_a_suggestion(registry: Registry) -> None:
    obj = changed(changed(deployment(), "spec.replica", 3), "spec.template.spec.containers.0.imag", "x")
    with pytest.raises(BadRequest) as refused:
        registry.create(r.DEPLOYMENTS, obj, "default", WriteOptions("Strict"))
    assert 'unknown field "spec.replica" (did you mean "replicas"?)' in refused.value.message
    assert 'unknown field "spec.template.spec.containers[0].imag" (did you mean "image"?)' in refused.value.message
    assert [cause["field"] for cause in refused.value.details["causes"]] == [
        "spec.template.spec.containers[0].imag", "spec.replica"]


def test_warn_keeps_going_and_drops_what_it_does_not_know(registry: Registry) -> None:
    options = WriteOptions("Warn")
    made = registry.create(r.DEPLOYMENTS, changed(deployment(), "spec.replica", 3), "default", options).value
    assert "replica" not in made["spec"] and options.warnings == [
        'unknown field "spec.replica" (did you mean "replicas"?)']


def test_a_field_that_is_not_enforced_is_kept_and_warned_of(registry: Registry) -> None:
    options = WriteOptions("Strict")
    obj = changed(pod(), "spec.hostAliases", [{"ip": "10.0.0.1", "hostnames": ["x"]}])
    made = registry.create(r.PODS, obj, "default", options).value
    assert made["spec"]["hostAliases"] == [{"ip": "10.0.0.1", "hostnames": ["x"]}]
    assert options.warnings == ["spec.hostAliases: this field is kept but has no effect in this cluster"]


def test_wrong_types_are_told_all_at_once_under_every_field_validation(registry: Registry) -> None:
    obj = changed(changed(deployment(), "spec.replicas", "three"), "spec.template.metadata.labels", ["a"])
    with pytest.raises(BadRequest, match="expected map, got list; .*spec.replicas: expected integer, got string|"
                                         "spec.replicas: expected integer, got string; .*expected map, got list"):
        registry.create(r.DEPLOYMENTS, obj, "default")


def test_types_unknown_fields_and_values_are_told_in_one_answer(registry: Registry) -> None:
    obj = changed(changed(deployment(), "spec.replicas", "two"), "spec.template.metadata.labels", {"app": "other"})
    container = obj["spec"]["template"]["spec"]["containers"][0]
    container["imagee"] = container.pop("image")
    container["livenessProbe"] = {"httpGet": {"port": 8080}, "successThreshold": 2}
    with pytest.raises(BadRequest) as refused:
        registry.create(r.DEPLOYMENTS, obj, "default", WriteOptions("Strict"))
    fields = [cause["field"] for cause in refused.value.details["causes"]]
    assert sorted(fields) == [
        "spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].imagee",
        "spec.template.spec.containers[0].livenessProbe.successThreshold"], "imagee hides that image is missing"
    assert all(field in refused.value.message for field in fields)


def test_a_subresource_is_not_judged_as_a_whole_object(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    with pytest.raises(BadRequest) as refused:
        registry.update(r.DEPLOYMENTS, {"metadata": {"name": "web"}, "status": {"replicas": "x"}}, "default",
                        subresource="status")
    assert [cause["field"] for cause in refused.value.details["causes"]] == ["status.replicas"]


def test_null_means_absent(registry: Registry) -> None:
    made = registry.create(r.DEPLOYMENTS, changed(deployment(), "spec.replicas", None), "default").value
    assert made["spec"]["replicas"] == 1


def test_duplicate_keys_are_found_with_their_path(registry: Registry) -> None:
    body, twice = parse_body(b'{"metadata": {"name": "a", "name": "b"}, "spec": [{"x": 1, "x": 2}]}')
    assert body["metadata"]["name"] == "b" and twice == ("metadata.name", "spec[0].x")
    with pytest.raises(BadRequest, match='duplicate field "metadata.name"'):
        registry.create(r.PODS, pod(), "default", WriteOptions("Strict", duplicates=twice))


@pytest.mark.parametrize("body",
                         [b"", b"{", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"NaN", b"\xff\xfe{}",
                                  b'{"a": Infinity}'])
def test_bodies_that_are_no_json_are_bad_requests(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_body(body)


ANYTHING = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
                        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                            st.sampled_from(["spec", "metadata", "containers", "name", "ports", "image", "labels",
                                             "env",
                                             "selector", "template", "data", "x"]), inner, max_size=4), max_leaves=20)


@settings(max_examples=50)
@given(st.sampled_from(r.BUILT_IN),
       st.dictionaries(st.sampled_from(["spec", "metadata", "data", "status", "type"]), ANYTHING))
def test_no_object_whatever_breaks_the_registry(resource: ResourceType, obj: Json) -> None:
    """It is stored or refused with an error of the API."""
    registry = make_registry()
    try:
        registry.create(resource, obj, "default" if resource.namespaced else None, WriteOptions("Warn"))
    except ApiError:
        pass


@settings(max_examples=50)
@given(st.sampled_from(r.BUILT_IN),
       st.dictionaries(st.sampled_from(["spec", "metadata", "data", "status", "type"]), ANYTHING))
def test_whatever_is_refused_is_refused_with_an_error_of_the_api(resource: ResourceType, obj: Json) -> None:
    try:
        make_registry().create(resource, obj | {"misspelt": 1}, "default" if resource.namespaced else None,
                               WriteOptions("Strict"))
    except ApiError:
        pass


@settings(max_examples=50)
@given(st.sampled_from(["", "status", "scale"]), ANYTHING, st.sampled_from(["merge", "strategic"]))
def test_no_patch_whatever_breaks_the_registry(subresource: str, patch: Any, kind: str) -> None:
    registry = make_registry()
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    try:
        registry.patch(r.DEPLOYMENTS, "web", patch, "default", subresource=subresource,
                       patch_type=f"application/{kind}-patch+json".replace("strategic", "strategic-merge"))
    except ApiError:
        pass
    assert registry.get(r.DEPLOYMENTS, "web", "default").value["metadata"]["name"] == "web"


@given(ANYTHING)
def test_examining_a_pod_never_fails_and_keeps_only_known_fields(value: Any) -> None:
    cleaned, found = examine("Pod", {"spec": value})
    again, second = examine("Pod", cleaned) if not found.wrong else (cleaned, None)
    assert second is None or (again == cleaned and not second.unknown)


# --- values


CONTAINER = "spec.containers.0"


@pytest.mark.parametrize(("path", "value", "field"), [
    ("metadata.name", "Web", "metadata.name"),
    ("metadata.name", "a" * 254, "metadata.name"),
    ("metadata.name", "a\n", "metadata.name"),
    ("metadata.labels", {"a": "not valid!"}, "metadata.labels"),
    ("metadata.labels", {"-a": "b"}, "metadata.labels"),
    ("spec.containers", [], "spec.containers"),
    (f"{CONTAINER}.name", "A_b", "spec.containers[0].name"),
    (f"{CONTAINER}.image", "", "spec.containers[0].image"),
    (f"{CONTAINER}.imagePullPolicy", "Sometimes", "spec.containers[0].imagePullPolicy"),
    (f"{CONTAINER}.command", ["a\x00b"], "spec.containers[0].command[0]"),
    (f"{CONTAINER}.ports", [{"containerPort": 70000}], "spec.containers[0].ports[0].containerPort"),
    (f"{CONTAINER}.ports", [{"containerPort": 80, "protocol": "ICMP"}], "spec.containers[0].ports[0].protocol"),
    (f"{CONTAINER}.env", [{"name": "a=b"}], "spec.containers[0].env[0].name"),
    (f"{CONTAINER}.env", [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
     "spec.containers[0].env[0].valueFrom"),
    (f"{CONTAINER}.volumeMounts", [{"name": "nowhere", "mountPath": "/x"}], "spec.containers[0].volumeMounts[0].name"),
    (f"{CONTAINER}.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
     "spec.containers[0].resources.requests"),
    (f"{CONTAINER}.resources", {"requests": {"memory": "lots"}}, "spec.containers[0].resources.requests[memory]"),
    (f"{CONTAINER}.livenessProbe", {}, "spec.containers[0].livenessProbe"),
    (f"{CONTAINER}.livenessProbe", {"httpGet": {"port": 80}, "tcpSocket": {"port": 80}},
     "spec.containers[0].livenessProbe.tcpSocket"),
    (f"{CONTAINER}.livenessProbe", {"httpGet": {"port": 80}, "successThreshold": 2},
     "spec.containers[0].livenessProbe.successThreshold"),
    (f"{CONTAINER}.readinessProbe", {"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 3},
     "spec.containers[0].readinessProbe.terminationGracePeriodSeconds"),
    (f"{CONTAINER}.startupProbe", {"tcpSocket": {"port": 80}, "periodSeconds": -1},
     "spec.containers[0].startupProbe.periodSeconds"),
    (f"{CONTAINER}.readinessProbe", {"httpGet": {"port": 80, "httpHeaders": [{"name": "A", "value": "x\r\ny"}]}},
     "spec.containers[0].readinessProbe.httpGet.httpHeaders[0].value"),
    (f"{CONTAINER}.lifecycle", {"preStop": {"exec": {"command": []}}},
     "spec.containers[0].lifecycle.preStop.exec.command"),
    ("spec.volumes", [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}], "spec.volumes[0].secret"),
    ("spec.volumes", [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}],
     "spec.volumes[0].configMap.items[0].path"),
    ("spec.restartPolicy", "Maybe", "spec.restartPolicy"),
    ("spec.readinessGates", [{"conditionType": "a b"}], "spec.readinessGates[0].conditionType"),
    ("spec.tolerations", [{"operator": "Equal", "value": "x"}], "spec.tolerations[0].operator"),
    ("spec.tolerations", [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}],
     "spec.tolerations[0].effect"),
])
def test_wrong_pods(registry: Registry, path: str, value: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create(r.PODS, changed(pod(), path, value), "default")
    assert field in [cause["field"] for cause in refused.value.details["causes"]]


@pytest.mark.parametrize(("path", "value", "field"), [
    ("spec.selector", {}, "spec.selector"),
    ("spec.selector", {"matchLabels": {"app": "other"}}, "spec.template.metadata.labels"),
    ("spec.replicas", -1, "spec.replicas"),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
     "spec.strategy.rollingUpdate.maxUnavailable"),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": "a lot"}}, "spec.strategy.rollingUpdate.maxSurge"),
    ("spec.strategy", {"type": "Recreate", "rollingUpdate": {}}, "spec.strategy.rollingUpdate"),
    ("spec.progressDeadlineSeconds", 0, "spec.progressDeadlineSeconds"),
    ("spec.template.spec.restartPolicy", "Never", "spec.template.spec.restartPolicy"),
])
def test_wrong_deployments(registry: Registry, path: str, value: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create(r.DEPLOYMENTS, changed(deployment(), path, value), "default")
    assert field in [cause["field"] for cause in refused.value.details["causes"]]


@pytest.mark.parametrize(("obj", "field"), [
    (service("9lives"), "metadata.name"),
    (service(ports=[]), "spec.ports"),
    (service(ports=[{"port": 80}, {"port": 81}]), "spec.ports[0].name"),
    (service(ports=[{"name": "a", "port": 80}, {"name": "a", "port": 81}]), "spec.ports[1].name"),
    (service(ports=[{"port": 0}]), "spec.ports[0].port"),
    (service(type="Magic"), "spec.type"),
    (service(type="NodePort", ports=[{"port": 80, "nodePort": 99}]), "spec.ports[0].nodePort"),
    (service(clusterIP="banana"), "spec.clusterIPs[0]"),
])
def test_wrong_services(registry: Registry, obj: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create(r.SERVICES, obj, "default")
    assert field in [cause["field"] for cause in refused.value.details["causes"]]


def test_all_mistakes_are_told_at_once(registry: Registry) -> None:
    obj = changed(changed(pod("Bad"), f"{CONTAINER}.image", ""), "spec.restartPolicy", "Maybe")
    with pytest.raises(Invalid) as refused:
        registry.create(r.PODS, obj, "default")
    assert len(refused.value.details["causes"]) == 3
    assert refused.value.message.startswith('Pod "Bad" is invalid: [')


@pytest.mark.parametrize("text", [";rm -rf /", "$(canary)", "a|b", "--privileged", "../../etc", "a\x00", "a b", "ü",
                                  "x" * 65536])
def test_names_that_could_mean_something_elsewhere_are_refused(registry: Registry, text: str) -> None:
    for path in ("metadata.name", f"{CONTAINER}.name", "spec.hostname"):
        with pytest.raises(ApiError):
            registry.create(r.PODS, changed(pod(), path, text), "default")


def test_a_secrets_value_is_in_no_error_and_no_warning(registry: Registry) -> None:
    canary = "canary-7d1f"
    options = WriteOptions("Strict")
    for obj in ({"metadata": {"name": "s"}, "data": {"key": canary}},
                {"metadata": {"name": "s"}, "data": {"a b": canary}},
                {"metadata": {"name": "s"}, "stringData": {"key": 3}, "dat": {"key": canary}}):
        with pytest.raises(ApiError) as refused:
            registry.create(r.SECRETS, obj, "default", options)
        assert canary not in str(refused.value) and canary not in str(refused.value.details)
    assert canary not in str(options.warnings)


# --- custom resources

SCHEMA: Json = {"type": "object", "properties": {
    "spec": {"type": "object", "required": ["mode"], "properties": {
        "mode": {"type": "string", "enum": ["one", "all"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
        "size": {"x-kubernetes-int-or-string": True},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "items": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }},
    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}}


def widgets(**version: Any) -> Registry:
    registry = make_registry()
    registry.create(r.CUSTOM_RESOURCE_DEFINITIONS, definition(SCHEMA, **version))
    return registry


def widget(**spec: Any) -> Json:
    return {"apiVersion": "example.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"mode": "one", **spec}}


def test_a_definition_serves_its_kind_at_once_and_says_so() -> None:
    registry = widgets()
    stored = registry.get(r.CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.io").value
    assert {"Established", "NamesAccepted"} == {item["type"] for item in stored["status"]["conditions"]}
    made = registry.create(WIDGETS, widget(), "default").value
    assert made["spec"] == {"mode": "one", "count": 2}
    assert [item.name for item in registry.list(WIDGETS).items] == ["w"]


@pytest.mark.parametrize(("spec", "field"), [
    ({"mode": "none"}, "spec.mode"), ({"count": 0}, "spec.count"), ({"count": 10}, "spec.count"),
    ({"count": "2"}, "spec.count"), ({"size": []}, "spec.size"), ({"name": "A"}, "spec.name"),
    ({"name": "abcdef"}, "spec.name"), ({"items": []}, "spec.items"), ({"items": [{"a": 1}]}, "spec.items[0].a"),
    ({"labels": {"x": 1}}, "spec.labels.x"), ({"mode": None}, "spec.mode"),
])
def test_a_custom_resource_is_held_to_its_schema(spec: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        widgets().create(WIDGETS, widget(**spec), "default")
    assert [cause["field"] for cause in refused.value.details["causes"]] == [field]


def test_unknown_fields_of_a_custom_resource_are_pruned_warned_of_or_refused() -> None:
    registry = widgets()
    options = WriteOptions("Warn")
    made = registry.create(WIDGETS, widget(coun=1, free={"any": 1}, size="50%"), "default", options).value
    assert made["spec"] == {"mode": "one", "count": 2, "free": {"any": 1}, "size": "50%"}
    assert options.warnings == ['unknown field "spec.coun" (did you mean "count"?)']
    with pytest.raises(BadRequest, match="did you mean"):
        registry.create(WIDGETS, widget(coun=1), "default", WriteOptions("Strict"))


def test_a_custom_status_and_scale_are_subresources_when_the_definition_says_so() -> None:
    registry = widgets(subresources={"status": {}, "scale": {
        "specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"}})
    registry.create(WIDGETS, widget() | {"status": {"count": 9}}, "default")
    assert "status" not in registry.get(WIDGETS, "w", "default").value
    registry.patch(WIDGETS, "w", {"status": {"count": 4}}, "default", subresource="status")
    registry.patch(WIDGETS, "w", {"spec": {"replicas": 5}}, "default", subresource="scale")
    stored = registry.get(WIDGETS, "w", "default").value
    assert stored["status"] == {"count": 4} and stored["spec"]["count"] == 5
    assert stored["metadata"]["generation"] == 2
    assert registry.scale(WIDGETS, "w", "default")["status"]["replicas"] == 4


def test_a_strategic_patch_of_a_custom_resource_is_unsupported() -> None:
    registry = widgets()
    registry.create(WIDGETS, widget(), "default")
    with pytest.raises(UnsupportedMediaType):
        registry.patch(WIDGETS, "w", {}, "default", patch_type=STRATEGIC_PATCH)


def test_a_definition_goes_with_its_instances_and_waits_for_their_finalizers() -> None:
    registry = widgets()
    registry.create(WIDGETS, widget() | {"metadata": {"name": "w", "finalizers": ["example.io/hold"]}}, "default")
    registry.create(WIDGETS, widget() | {"metadata": {"name": "x"}}, "default")
    _, gone = registry.delete(r.CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.io")
    assert not gone and [item.name for item in registry.list(WIDGETS).items] == ["w"]
    registry.patch(WIDGETS, "w", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        registry.get(r.CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.io")
    with pytest.raises(NotFound, match="could not find the requested resource"):
        registry.list(WIDGETS)


def test_definitions_are_there_after_a_restart() -> None:
    registry = widgets()
    registry.create(WIDGETS, widget(), "default")
    again = make_registry(store=registry.store)
    assert again.get(WIDGETS, "w", "default").name == "w"


@pytest.mark.parametrize(("path", "value"), [
    ("metadata.name", "gadgets.example.io"), ("spec.group", "apps"), ("spec.scope", "Everywhere"),
    ("spec.versions", []),
    ("spec.versions.0.storage", False), ("spec.versions.0.schema", {}), ("spec.names.plural", "Widgets"),
    ("spec.versions.0.schema.openAPIV3Schema",
     {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
])
def test_wrong_definitions(registry: Registry, path: str, value: Any) -> None:
    with pytest.raises(Invalid):
        registry.create(r.CUSTOM_RESOURCE_DEFINITIONS, changed(definition(SCHEMA), path, value))


def test_a_kind_that_is_taken_is_refused() -> None:
    registry = widgets()
    other = definition(SCHEMA)
    other["metadata"]["name"] = "things.example.io"
    other["spec"]["names"]["plural"] = "things"
    with pytest.raises(Forbidden, match="already in use"):
        registry.create(r.CUSTOM_RESOURCE_DEFINITIONS, other)
