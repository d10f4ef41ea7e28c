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


def test_claim_templates_are_judged_as_claims_and_may_be_mounted(registry: Registry) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    wrong = workload("StatefulSet", volumeClaimTemplates=[claim])
    assert causes(registry, r.STATEFUL_SETS, wrong) == [
        "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value"]
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}  # type: ignore[index]
    right = workload("StatefulSet", volumeClaimTemplates=[claim])
    mount = {"name": "data", "mountPath": "/data"}
    right["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [mount]
    assert registry.create(r.STATEFUL_SETS, right, "default").value["spec"]["volumeClaimTemplates"][0]["kind"] == (
        "PersistentVolumeClaim")


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


def job(**spec: Any) -> Json:
    template = {"spec": {**pod()["spec"], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
            "spec": {"template": template, **spec}}


def test_a_job_gets_upstreams_defaults_and_a_selector_of_its_own(registry: Registry) -> None:
    made = registry.create(r.JOBS, job(), "default").value
    spec, uid = made["spec"], made["metadata"]["uid"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["podReplacementPolicy"]) == ("NonIndexed", "TerminatingOrFailed")
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"]["job-name"] == "job"
    made["status"] = {"startTime": "2026-01-01T12:00:00Z", "succeeded": 1, "completionTime": "2026-01-01T12:00:07Z",
                      "conditions": [{"type": "Complete", "status": "True"}]}
    assert row(registry, r.JOBS, made)[:5] == ["job", "Complete", "1/1", "7s", "60s"]
    queue = registry.create(r.JOBS, {**job(parallelism=2), "metadata": {"name": "queue"}}, "default").value
    assert "completions" not in queue["spec"] and row(registry, r.JOBS, queue)[1:3] == ["Running", "0/1 of 2"]
    with pytest.raises(Invalid, match="spec.template: Invalid value"):
        registry.patch(r.JOBS, "job", {"spec": {"template": {"spec": {"hostname": "x"}}}}, "default")
    registry.patch(r.JOBS, "job", {"spec": {"suspend": True, "parallelism": 3}}, "default")


@pytest.mark.parametrize(("spec", "message"), [
    ({"completions": -1}, "spec.completions: Invalid value: -1: must be greater than or equal to 0"),
    ({"completionMode": "Some"},
     "spec.completionMode: Unsupported value: \"Some\": supported values: \"Indexed\", \"NonIndexed\""),
    ({"completionMode": "Indexed", "parallelism": 1},
     "spec.completions: Required value: when completion mode is Indexed"),
    ({"backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
    ({"podReplacementPolicy": "Never"},
     "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\""),
    ({"podFailurePolicy": {"rules": [{"action": "Stop", "onExitCodes": {"operator": "In", "values": [1]}}]}},
     "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", "
     "\"FailJob\", \"Ignore\""),
    ({"podFailurePolicy": {"rules": [{"action": "Count", "onExitCodes": {"operator": "In", "values": [0]}}]}},
     "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
    ({"template": {"spec": pod()["spec"]}},
     "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
])
def test_a_wrong_job_is_refused_in_upstreams_words(registry: Registry, spec: Json, message: str) -> None:
    assert causes(registry, r.JOBS, job(**spec)) == [message]


def cron_job(**spec: Any) -> Json:
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cj"}, "spec": {
        "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": job()["spec"]["template"]}}, **spec}}


def test_a_cron_job_gets_upstreams_defaults(registry: Registry) -> None:
    made = registry.create(r.CRON_JOBS, cron_job(), "default").value
    spec = made["spec"]
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert row(registry, r.CRON_JOBS, made)[:7] == ["cj", "*/5 * * * *", "<none>", "False", 0, "<none>", "60s"]


@pytest.mark.parametrize(("spec", "start"), [
    ({"schedule": ""}, "spec.schedule: Required value"),
    ({"schedule": "61 * * * *"}, "spec.schedule: Invalid value: \"61 * * * *\": value 61 is not between 0 and 59"),
    ({"schedule": "TZ=UTC 0 * * * *"},
     "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field "
     "instead"),
    ({"timeZone": "Mars/Olympus"}, "spec.timeZone: Invalid value: \"Mars/Olympus\": unknown time zone Mars/Olympus"),
    ({"concurrencyPolicy": "Some"},
     "spec.concurrencyPolicy: Unsupported value: \"Some\": supported values: \"Allow\", \"Forbid\", \"Replace\""),
    ({"jobTemplate": {"spec": {"template": {"spec": pod()["spec"]}}}},
     "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
])
def test_a_wrong_cron_job_is_refused_in_upstreams_words(registry: Registry, spec: Json, start: str) -> None:
    assert causes(registry, r.CRON_JOBS, cron_job(**spec)) == [start]
