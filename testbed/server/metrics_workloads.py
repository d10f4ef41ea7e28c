"""What makes pods, under kube-state-metrics' names: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs.

Source: kubernetes/kube-state-metrics docs/metrics/workload/*.md, internal/store/*.go. A value that does not exist is
left out, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prometheus_client.core import Metric

from testbed.api import cron
from testbed.api.meta import parse_time
from testbed.api.resources import CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, JOBS, REPLICA_SETS, STATEFUL_SETS
from testbed.server.metrics_pieces import (
    Items,
    Json,
    all_conditions,
    condition_values,
    created,
    gauge,
    given_numbers,
    key_of,
    moments,
    numbers,
    owners,
    spec_of,
    status_of,
)

GENERATION = "Sequence number representing a specific generation of the desired state."
FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")


def workload_metrics(items: Items) -> Iterator[Metric]:
    yield from _deployments(items(DEPLOYMENTS))
    yield from _replica_sets(items(REPLICA_SETS))
    yield from _stateful_sets(items(STATEFUL_SETS))
    yield from _daemon_sets(items(DAEMON_SETS))
    yield from _jobs(items(JOBS))
    yield from _cron_jobs(items(CRON_JOBS))


def _deployments(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "deployment")
    yield gauge("kube_deployment_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_deployment_spec_paused", "Whether the deployment is paused and will not be processed by the "
                "deployment controller.", labels, numbers(items, "spec", "paused", 0))
    yield gauge("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", labels,
                numbers(items, "spec", "replicas", 1))
    yield gauge("kube_deployment_metadata_generation", GENERATION, labels, numbers(items, "metadata", "generation", 0))
    for suffix, field, text in (
        ("replicas", "replicas", "The number of replicas per deployment."),
        ("replicas_ready", "readyReplicas", "The number of ready replicas per deployment."),
        ("replicas_available", "availableReplicas", "The number of available replicas per deployment."),
        ("replicas_unavailable", "unavailableReplicas", "The number of unavailable replicas per deployment."),
        ("replicas_updated", "updatedReplicas", "The number of updated replicas per deployment."),
        ("observed_generation", "observedGeneration", "The generation observed by the deployment controller."),
    ):
        yield gauge(f"kube_deployment_status_{suffix}", text, labels, numbers(items, "status", field, 0))
    yield gauge(
        "kube_deployment_status_condition", "The current status conditions of a deployment.",
        (*labels, "condition", "status"),
        (((*key_of(item), *condition), value) for item, condition, value in all_conditions(items)),
    )


def _replica_sets(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "replicaset")
    yield gauge("kube_replicaset_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_replicaset_spec_replicas", "Number of desired pods for a ReplicaSet.", labels,
                numbers(items, "spec", "replicas", 1))
    yield gauge("kube_replicaset_metadata_generation", GENERATION, labels, numbers(items, "metadata", "generation", 0))
    for suffix, field, text in (
        ("replicas", "replicas", "The number of replicas per ReplicaSet."),
        ("fully_labeled_replicas", "fullyLabeledReplicas", "The number of fully labeled replicas per ReplicaSet."),
        ("ready_replicas", "readyReplicas", "The number of ready replicas per ReplicaSet."),
        ("observed_generation", "observedGeneration", "The generation observed by the ReplicaSet controller."),
    ):
        yield gauge(f"kube_replicaset_status_{suffix}", text, labels, numbers(items, "status", field, 0))
    yield owners("kube_replicaset_owner", "Information about the ReplicaSet's owner.", labels, items)


def _stateful_sets(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "statefulset")
    yield gauge("kube_statefulset_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_statefulset_replicas", "Number of desired pods for a StatefulSet.", labels,
                numbers(items, "spec", "replicas", 1))
    yield gauge("kube_statefulset_metadata_generation", GENERATION, labels, numbers(items, "metadata", "generation", 0))
    yield gauge("kube_statefulset_ordinals_start", "Start ordinal of the StatefulSet.", labels,
                ((key_of(item), float(spec_of(item)["ordinals"].get("start", 0))) for item in items
                 if spec_of(item).get("ordinals") is not None))
    for suffix, field, text in (
        ("replicas", "replicas", "The number of replicas per StatefulSet."),
        ("replicas_available", "availableReplicas", "The number of available replicas per StatefulSet."),
        ("replicas_current", "currentReplicas", "The number of current replicas per StatefulSet."),
        ("replicas_ready", "readyReplicas", "The number of ready replicas per StatefulSet."),
        ("replicas_updated", "updatedReplicas", "The number of updated replicas per StatefulSet."),
        ("observed_generation", "observedGeneration", "The generation observed by the StatefulSet controller."),
    ):
        yield gauge(f"kube_statefulset_status_{suffix}", text, labels, numbers(items, "status", field, 0))
    for which in ("current", "update"):
        yield gauge(f"kube_statefulset_status_{which}_revision",
                    f"Indicates the version of the StatefulSet used to generate {which} Pods.", (*labels, "revision"),
                    (((*key_of(item), revision), 1.0) for item in items
                     if (revision := status_of(item).get(f"{which}Revision"))))
    yield gauge(
        "kube_statefulset_persistentvolumeclaim_retention_policy", "Count of retention policy for StatefulSet template "
        "PVCs", (*labels, "when_deleted", "when_scaled"),
        (((*key_of(item), policy.get("whenDeleted", ""), policy.get("whenScaled", "")), 1.0) for item in items
         if (policy := spec_of(item).get("persistentVolumeClaimRetentionPolicy"))),
    )


def _daemon_sets(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "daemonset")
    yield gauge("kube_daemonset_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_daemonset_metadata_generation", GENERATION, labels, numbers(items, "metadata", "generation", 0))
    for suffix, field, text in (
        ("current_number_scheduled", "currentNumberScheduled", "The number of nodes running at least one daemon pod "
         "and are supposed to."),
        ("desired_number_scheduled", "desiredNumberScheduled", "The number of nodes that should be running the daemon "
         "pod."),
        ("number_available", "numberAvailable", "The number of nodes that should be running the daemon pod and have "
         "one or more of the daemon pod running and available"),
        ("number_misscheduled", "numberMisscheduled", "The number of nodes running a daemon pod but are not supposed "
         "to."),
        ("number_ready", "numberReady", "The number of nodes that should be running the daemon pod and have one or "
         "more of the daemon pod running and ready."),
        ("number_unavailable", "numberUnavailable", "The number of nodes that should be running the daemon pod and "
         "have none of the daemon pod running and available"),
        ("observed_generation", "observedGeneration", "The most recent generation observed by the daemon set "
         "controller."),
        ("updated_number_scheduled", "updatedNumberScheduled", "The total number of nodes that are running updated "
         "daemon pod"),
    ):
        yield gauge(f"kube_daemonset_status_{suffix}", text, labels, numbers(items, "status", field, 0))


def _jobs(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "job_name")
    yield gauge("kube_job_info", "Information about job.", labels, ((key_of(item), 1.0) for item in items))
    yield gauge("kube_job_created", "Unix creation timestamp", labels, created(items))
    for suffix, field, text in (
        ("parallelism", "parallelism", "The maximum desired number of pods the job should run at any given time."),
        ("completions", "completions", "The desired number of successfully finished pods the job should be run with."),
        ("active_deadline_seconds", "activeDeadlineSeconds", "The duration in seconds relative to the startTime that "
         "the job may be active before the system tries to terminate it."),
    ):
        yield gauge(f"kube_job_spec_{suffix}", text, labels, given_numbers(items, "spec", field))
    yield gauge("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded.", labels,
                numbers(items, "status", "succeeded", 0))
    yield gauge("kube_job_status_active", "The number of actively running pods.", labels,
                numbers(items, "status", "active", 0))
    yield gauge("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.",
                (*labels, "reason"), (((*key_of(item), reason), value) for item in items
                                      for reason, value in _failures(item)))
    for kind, text in (("Complete", "The job has completed its execution."), ("Failed", "The job has failed its "
                                                                               "execution.")):
        yield gauge(f"kube_job_{kind.lower()}", text, (*labels, "condition"),
                    (((*key_of(item), status), value) for item in items
                     for status, value in condition_values(item, kind)))
    yield gauge("kube_job_status_suspended", "The number of pods which reached Phase Suspended.",
                (*labels, "condition"), (((*key_of(item), status), value) for item in items
                                         for status, value in condition_values(item, "Suspended")))
    yield gauge("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job "
                "Manager.", labels, moments(items, "startTime"))
    yield gauge("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.", labels,
                moments(items, "completionTime"))
    yield owners("kube_job_owner", "Information about the Job's owner.", labels, items)


def _failures(job: Json) -> list[tuple[str, float]]:
    """By reason: one that is known is 1 and the others 0; without one, the number of failed pods."""
    count = float(status_of(job).get("failed", 0))
    failed = next((item for item in status_of(job).get("conditions") or () if item.get("type") == "Failed"), None)
    if not count or failed is None or failed.get("reason") not in FAILURES:
        return [("", count)]
    return [(reason, float(failed["reason"] == reason)) for reason in FAILURES]


def _cron_jobs(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "cronjob")
    yield gauge(
        "kube_cronjob_info", "Info about cronjob.", (*labels, "schedule", "concurrency_policy", "timezone"),
        (((*key_of(item), spec_of(item).get("schedule", ""), spec_of(item).get("concurrencyPolicy", ""),
           spec_of(item).get("timeZone") or "local"), 1.0) for item in items))
    yield gauge("kube_cronjob_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_cronjob_status_active", "Active holds pointers to currently running jobs.", labels,
                ((key_of(item), float(len(status_of(item).get("active") or ()))) for item in items))
    yield gauge("kube_cronjob_status_last_schedule_time", "LastScheduleTime keeps information of when was the last "
                "time the job was successfully scheduled.", labels, moments(items, "lastScheduleTime"))
    yield gauge("kube_cronjob_status_last_successful_time", "LastSuccessfulTime keeps information of when was the last "
                "time the job was completed successfully.", labels, moments(items, "lastSuccessfulTime"))
    yield gauge("kube_cronjob_spec_suspend", "Suspend flag tells the controller to suspend subsequent executions.",
                labels, numbers(items, "spec", "suspend", 0))
    for suffix, field, text in (
        ("starting_deadline_seconds", "startingDeadlineSeconds", "Deadline in seconds for starting the job if it "
         "misses scheduled time for any reason."),
        ("successful_job_history_limit", "successfulJobsHistoryLimit", "Successful job history limit tells the "
         "controller how many completed jobs should be preserved."),
        ("failed_job_history_limit", "failedJobsHistoryLimit", "Failed job history limit tells the controller how "
         "many failed jobs should be preserved."),
    ):
        yield gauge(f"kube_cronjob_spec_{suffix}", text, labels, given_numbers(items, "spec", field))
    yield gauge("kube_cronjob_next_schedule_time", "Next time the cronjob should be scheduled. The time after "
                "lastScheduleTime, or after the cron job's creation time if it's never been scheduled.", labels,
                ((key_of(item), at) for item in items for at in _next(item)))
    yield gauge("kube_cronjob_metadata_resource_version", "Resource version representing a specific version of the "
                "cronjob.", labels, ((key_of(item), float(item["metadata"]["resourceVersion"])) for item in items))


def _next(job: Json) -> list[float]:
    """Not of a suspended one."""
    if spec_of(job).get("suspend"):
        return []
    since = parse_time(status_of(job).get("lastScheduleTime") or job["metadata"]["creationTimestamp"])
    try:
        zone = ZoneInfo(spec_of(job).get("timeZone") or "UTC")
        found = cron.parse(spec_of(job).get("schedule", "")).next_after(since, zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return []
    return [] if found is None else [found.timestamp()]
