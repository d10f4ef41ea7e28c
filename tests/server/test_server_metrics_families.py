"""kube-state-metrics' families of what supervises: names, labels and values, as Prometheus reads them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_world import make_registry, pod

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.server.metrics_state import StateText
from testbed.server.registry import Registry

Json = dict[str, Any]
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]
NOON = 1767268800.0  # of the clock of these tests


def put(registry: Registry, resource: ResourceType, name: str, spec: Json, status: Json | None = None) -> None:
    registry.create(resource, {"metadata": {"name": name}, **spec}, "default")
    if status:
        registry.patch(resource, name, {"status": status}, "default", subresource="status")


def template(**spec: Any) -> Json:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {**pod()["spec"], **spec}}


def workload(**spec: Any) -> Json:
    return {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template(), **spec}}


@pytest.fixture(scope="module")
def samples() -> Samples:
    registry = make_registry()
    put(registry, r.STATEFUL_SETS, "db", workload(serviceName="db", replicas=3, ordinals={"start": 2}), {
        "replicas": 3, "readyReplicas": 2, "availableReplicas": 1, "currentReplicas": 3, "updatedReplicas": 3,
        "currentRevision": "db-1", "updateRevision": "db-2", "observedGeneration": 1})
    put(registry, r.DAEMON_SETS, "log", workload(), {
        "currentNumberScheduled": 2, "desiredNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 1,
        "numberUnavailable": 2})
    done = {"spec": {"completions": 2, "template": template(restartPolicy="Never")}}
    put(registry, r.JOBS, "done", done, {
        "succeeded": 2, "startTime": "2026-01-01T12:00:00Z", "completionTime": "2026-01-01T12:00:07Z",
        "conditions": [{"type": "Complete", "status": "True"}]})
    put(registry, r.JOBS, "bad", done, {"failed": 1, "conditions": [
        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]})
    put(registry, r.CRON_JOBS, "cron", {"spec": {"schedule": "0 13 * * *", "jobTemplate": {"spec": done["spec"]}}}, {
        "lastScheduleTime": "2026-01-01T11:00:00Z"})
    put(registry, r.AUTOSCALERS, "web", {"spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5}}, {
        "currentReplicas": 2, "desiredReplicas": 3, "conditions": [{"type": "AbleToScale", "status": "True"}],
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {
            "averageUtilization": 40, "averageValue": "200m"}}}]})
    put(registry, r.DISRUPTION_BUDGETS, "web", {"spec": {"minAvailable": 1}}, {
        "currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 2, "expectedPods": 3})
    put(registry, r.RESOURCE_QUOTAS, "all", {"spec": {"hard": {"pods": "4"}}}, {
        "hard": {"pods": "4", "requests.memory": "1Gi"}, "used": {"pods": "1"}})
    put(registry, r.LIMIT_RANGES, "all", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}})
    failures: list[str] = []
    text = "".join(StateText(lambda resource: registry.list(resource).items, failures.append).text())
    assert not failures
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


STATEFUL, DAEMON = {"namespace": "default", "statefulset": "db"}, {"namespace": "default", "daemonset": "log"}
DONE, BAD = {"namespace": "default", "job_name": "done"}, {"namespace": "default", "job_name": "bad"}
CRON, SCALER = {"namespace": "default", "cronjob": "cron"}, {"namespace": "default", "horizontalpodautoscaler": "web"}
BUDGET = {"namespace": "default", "poddisruptionbudget": "web"}


@pytest.mark.parametrize(("name", "labels", "value"), [
    ("kube_statefulset_replicas", STATEFUL, 3), ("kube_statefulset_ordinals_start", STATEFUL, 2),
    ("kube_statefulset_status_replicas_ready", STATEFUL, 2),
    ("kube_statefulset_status_replicas_available", STATEFUL, 1),
    ("kube_statefulset_status_current_revision", {**STATEFUL, "revision": "db-1"}, 1),
    ("kube_statefulset_status_update_revision", {**STATEFUL, "revision": "db-2"}, 1),
    ("kube_statefulset_persistentvolumeclaim_retention_policy",
     {**STATEFUL, "when_deleted": "Retain", "when_scaled": "Retain"}, 1),
    ("kube_statefulset_created", STATEFUL, NOON), ("kube_statefulset_metadata_generation", STATEFUL, 1),
    ("kube_daemonset_status_desired_number_scheduled", DAEMON, 3), ("kube_daemonset_status_number_ready", DAEMON, 1),
    ("kube_daemonset_status_number_unavailable", DAEMON, 2), ("kube_daemonset_status_number_misscheduled", DAEMON, 0),
    ("kube_job_info", DONE, 1), ("kube_job_status_succeeded", DONE, 2), ("kube_job_spec_completions", DONE, 2),
    ("kube_job_complete", {**DONE, "condition": "true"}, 1), ("kube_job_status_completion_time", DONE, NOON + 7),
    ("kube_job_status_failed", {**DONE, "reason": ""}, 0),
    ("kube_job_status_failed", {**BAD, "reason": "BackoffLimitExceeded"}, 1),
    ("kube_job_status_failed", {**BAD, "reason": "DeadlineExceeded"}, 0),
    ("kube_job_failed", {**BAD, "condition": "true"}, 1),
    ("kube_job_owner", {**DONE, "owner_kind": "", "owner_name": "", "owner_is_controller": ""}, 1),
    ("kube_cronjob_info", {**CRON, "schedule": "0 13 * * *", "concurrency_policy": "Allow", "timezone": "local"}, 1),
    ("kube_cronjob_next_schedule_time", CRON, NOON + 3600), ("kube_cronjob_spec_suspend", CRON, 0),
    ("kube_cronjob_status_last_schedule_time", CRON, NOON - 3600), ("kube_cronjob_status_active", CRON, 0),
    ("kube_cronjob_spec_successful_job_history_limit", CRON, 3),
    ("kube_horizontalpodautoscaler_info", {
        **SCALER, "scaletargetref_api_version": "apps/v1", "scaletargetref_kind": "Deployment",
        "scaletargetref_name": "web"}, 1),
    ("kube_horizontalpodautoscaler_spec_max_replicas", SCALER, 5),
    ("kube_horizontalpodautoscaler_spec_target_metric",
     {**SCALER, "metric_name": "cpu", "metric_target_type": "utilization", "container": ""}, 80),
    ("kube_horizontalpodautoscaler_status_target_metric",
     {**SCALER, "metric_name": "cpu", "metric_target_type": "average", "container": ""}, 0.2),
    ("kube_horizontalpodautoscaler_status_condition", {**SCALER, "condition": "AbleToScale", "status": "true"}, 1),
    ("kube_horizontalpodautoscaler_status_desired_replicas", SCALER, 3),
    ("kube_poddisruptionbudget_status_pod_disruptions_allowed", BUDGET, 2),
    ("kube_poddisruptionbudget_status_expected_pods", BUDGET, 3),
    ("kube_resourcequota", {"namespace": "default", "resourcequota": "all", "resource": "requests.memory",
                            "type": "hard"}, 2**30),
    ("kube_resourcequota", {"namespace": "default", "resourcequota": "all", "resource": "pods", "type": "used"}, 1),
    ("kube_limitrange", {"namespace": "default", "limitrange": "all", "resource": "cpu", "type": "Container",
                         "constraint": "defaultRequest"}, 0.5),
])
def test_a_sample(samples: Samples, name: str, labels: dict[str, str], value: float) -> None:
    assert samples[name][frozenset(labels.items())] == value


def test_what_does_not_exist_is_left_out(samples: Samples) -> None:
    assert frozenset(BAD.items()) not in samples["kube_job_status_completion_time"]
    assert "kube_job_spec_active_deadline_seconds" not in samples
    assert {dict(labels)["service"] for labels in samples["kube_service_info"]} == {"kubernetes"}
