"""The kinds that make pods, as the API judges and shows them: defaults, validation in upstream's words, columns."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from server_world import pod

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.errors import Invalid, NotFound
from testbed.server.options import WriteOptions
from testbed.server.registry import STRATEGIC_PATCH, Registry
from testbed.server.tables import cells

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def workload(kind: str, **spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "db"}, "spec": {
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod()["spec"]}, **copy.deepcopy(spec)}}


def causes(registry: Registry, resource: ResourceType, obj: Json) -> list[str]:
    with pytest.raises(Invalid) as refused:
        registry.create(resource, obj, "default")
    return [f"{item['field']}: {item['message']}" for item in refused.value.details["causes"]]


def row(registry: Registry, resource: ResourceType, obj: Json) -> list[Any]:
    return cells(registry.catalog.of(resource), obj, NOW)


def test_a_stateful_set_gets_upstreams_defaults(registry: Registry) -> None:
    made = registry.create(r.STATEFUL_SETS, workload("StatefulSet", serviceName="db"), "default").value
    spec = made["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["revisionHistoryLimit"]) == (1, "OrderedReady", 10)
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    made["status"] = {"readyReplicas": 1}
    assert row(registry, r.STATEFUL_SETS, made) == ["db", "1/1", "60s", "main", "sample:v1"]
    assert registry.scale(r.STATEFUL_SETS, "db", "default")["spec"] == {"replicas": 1}


@pytest.mark.parametrize(("spec", "message"), [
    ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
    ({"podManagementPolicy": "Any"}, "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or "
                                     "'Parallel'"),
    ({"updateStrategy": {"type": "Now"}},
     "spec.updateStrategy: Invalid value: {\"type\": \"Now\"}: must be 'RollingUpdate' or 'OnDelete'"),
    ({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
     "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\": 1}: only allowed for updateStrategy "
     "'RollingUpdate'"),
    ({"updateStrategy": {"rollingUpdate": {"partition": -1}}},
     "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"),
    ({"ordinals": {"start": -2}}, "spec.ordinals.start: Invalid value: -2: must be greater than or equal to 0"),
    ({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Maybe"}},
     "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Maybe\": supported values: "
     "\"Delete\", \"Retain\""),
])
def test_a_wrong_stateful_set_is_refused_in_upstreams_words(registry: Registry, spec: Json, message: str) -> None:
    assert causes(registry, r.STATEFUL_SETS, workload("StatefulSet", **spec)) == [message]


@pytest.mark.skipif(any(item.plural == "persistentvolumeclaims" for item in r.BUILT_IN), reason="claims are served")
def test_claim_templates_are_refused_while_there_are_no_claims(registry: Registry) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    told = causes(registry, r.STATEFUL_SETS, workload("StatefulSet", volumeClaimTemplates=[claim]))
    assert told == ["spec.volumeClaimTemplates: Forbidden: this cluster serves no PersistentVolumeClaims; use an "
                    "emptyDir volume in spec.template instead"]


def test_only_some_fields_of_a_stateful_set_may_change(registry: Registry) -> None:
    registry.create(r.STATEFUL_SETS, workload("StatefulSet", serviceName="db"), "default")
    changes: list[Json] = [{"replicas": 2}, {"minReadySeconds": 3}, {"ordinals": {"start": 1}},
                           {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}]
    for change in changes:
        registry.patch(r.STATEFUL_SETS, "db", {"spec": change}, "default")
    with pytest.raises(Invalid) as refused:
        registry.patch(r.STATEFUL_SETS, "db", {"spec": {"serviceName": "other"}}, "default")
    assert "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy'" \
        in refused.value.message


def test_a_field_that_is_not_enforced_is_told(registry: Registry) -> None:
    options = WriteOptions("Warn")
    made = workload("StatefulSet", updateStrategy={"rollingUpdate": {"maxUnavailable": 2}})
    registry.create(r.STATEFUL_SETS, made, "default", options)
    assert options.warnings == ["spec.updateStrategy.rollingUpdate.maxUnavailable: this field is kept but has no "
                                "effect in this cluster"]


def test_a_revision_is_history_and_its_data_a_patch_that_undoes(registry: Registry) -> None:
    registry.create(r.STATEFUL_SETS, workload("StatefulSet"), "default")
    before = registry.get(r.STATEFUL_SETS, "db", "default").value["spec"]["template"]
    revision = registry.create(r.CONTROLLER_REVISIONS, {
        "metadata": {"name": "db-1", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1", "controller": True}]},
        "data": {"spec": {"template": {**before, "$patch": "replace"}}}, "revision": 1}, "default").value
    assert row(registry, r.CONTROLLER_REVISIONS, revision) == ["db-1", "statefulset.apps/db", 1, "60s"]
    with pytest.raises(Invalid, match="data: Invalid value"):
        registry.patch(r.CONTROLLER_REVISIONS, "db-1", {"data": {"spec": None}}, "default")
    registry.patch(r.STATEFUL_SETS, "db", {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}, "default")
    registry.patch(r.STATEFUL_SETS, "db", revision["data"], "default", patch_type=STRATEGIC_PATCH)
    assert registry.get(r.STATEFUL_SETS, "db", "default").value["spec"]["template"] == before
    with pytest.raises(NotFound):
        registry.scale(r.CONTROLLER_REVISIONS, "db-1", "default")


def test_a_daemon_set_gets_upstreams_defaults_and_no_scale(registry: Registry) -> None:
    made = registry.create(r.DAEMON_SETS, workload("DaemonSet"), "default").value
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert made["spec"]["updateStrategy"] == strategy and made["spec"]["revisionHistoryLimit"] == 10
    made["status"] = {"desiredNumberScheduled": 3, "numberReady": 2}
    assert row(registry, r.DAEMON_SETS, made)[:8] == ["db", 3, 0, 2, 0, 0, "<none>", "60s"]
    with pytest.raises(NotFound):
        registry.scale(r.DAEMON_SETS, "db", "default")
    with pytest.raises(Invalid, match="field is immutable"):
        registry.patch(r.DAEMON_SETS, "db", {"spec": {
            "selector": {"matchLabels": {"app": None, "a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}},
        }}, "default")


@pytest.mark.parametrize(("strategy", "message"), [
    ({"type": "Now"}, "spec.updateStrategy.type: Unsupported value: \"Now\": supported values: \"OnDelete\", "
                      "\"RollingUpdate\""),
    ({"rollingUpdate": {"maxUnavailable": 0}},
     "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
    ({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
     "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
    ({"rollingUpdate": {"maxUnavailable": "101%"}},
     "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"),
])
def test_a_wrong_daemon_set_is_refused_in_upstreams_words(registry: Registry, strategy: Json, message: str) -> None:
    assert causes(registry, r.DAEMON_SETS, workload("DaemonSet", updateStrategy=strategy)) == [message]
