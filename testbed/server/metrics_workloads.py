"""What makes pods and keeps them, under kube-state-metrics' names: Deployments, ReplicaSets, StatefulSets, DaemonSets.

Source: kubernetes/kube-state-metrics docs/metrics/workload/*.md, internal/store/*.go. A value that does not exist is
left out, as there.
"""

from __future__ import annotations

from testbed.api.meta import scaled
from testbed.api.resources import DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS
from testbed.server.metrics_pieces import (
    CONDITION_STATUSES,
    CREATED,
    GENERATION,
    NAMELESS,
    OWNER,
    Json,
    Kind,
    Read,
    Row,
    Values,
    conditions,
    created,
    deletion,
    each,
    generation,
    key_of,
    number,
    owners,
    spec_of,
    status_of,
)

REASONS = frozenset({
    "", "ReplicaSetUpdated", "ReplicaSetCreateError", "NewReplicaSetCreated", "FoundNewReplicaSet",
    "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused", "DeploymentResumed",
    "MinimumReplicasAvailable", "MinimumReplicasUnavailable"})


def _conditions(deployment: Json) -> Values:
    """With their reasons; those that upstream's controller does not give are ``unknown``."""
    return [((reason if (reason := item.get("reason", "")) in REASONS else "unknown", item["type"], status),
             float(item["status"].lower() == status)) for item in conditions(deployment)
            for status in CONDITION_STATUSES]


def _rolling(field: str, *, up: bool) -> Read:
    """Of a Deployment that rolls: a percentage is of its replicas."""

    def read(obj: Json) -> Values:
        wanted = ((spec_of(obj).get("strategy") or {}).get("rollingUpdate") or {}).get(field)
        if wanted is None:
            return []
        return [(NAMELESS, float(scaled(wanted, int(spec_of(obj).get("replicas", 1)), round_up=up)))]

    return read


def _counts(prefix: str, *rows: tuple[str, str, str]) -> tuple[Row, ...]:
    """Numbers of the status: end of the name, field, meaning."""
    return tuple(Row(f"{prefix}_{end}", text, number("status", field)) for end, field, text in rows)


DEPLOYMENTS_SHOWN = Kind(DEPLOYMENTS, ("namespace", "deployment"), key_of, (
    Row("kube_deployment_created", CREATED, created),
    Row("kube_deployment_metadata_generation", GENERATION, generation),
    Row("kube_deployment_spec_paused", "Whether the deployment is paused and will not be processed by the deployment "
        "controller.", number("spec", "paused")),
    Row("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", number("spec", "replicas", 1)),
    Row("kube_deployment_spec_strategy_rollingupdate_max_unavailable", "Maximum number of unavailable replicas during "
        "a rolling update of a deployment.", _rolling("maxUnavailable", up=False)),
    Row("kube_deployment_spec_strategy_rollingupdate_max_surge", "Maximum number of replicas that can be scheduled "
        "above the desired number of replicas during a rolling update of a deployment.", _rolling("maxSurge", up=True)),
    *_counts(
        "kube_deployment_status",
        ("replicas", "replicas", "The number of replicas per deployment."),
        ("replicas_ready", "readyReplicas", "The number of ready replicas per deployment."),
        ("replicas_available", "availableReplicas", "The number of available replicas per deployment."),
        ("replicas_unavailable", "unavailableReplicas", "The number of unavailable replicas per deployment."),
        ("replicas_updated", "updatedReplicas", "The number of updated replicas per deployment."),
        ("observed_generation", "observedGeneration", "The generation observed by the deployment controller."),
    ),
    Row("kube_deployment_status_condition", "The current status conditions of a deployment.", _conditions,
        ("reason", "condition", "status")),
))

REPLICA_SETS_SHOWN = Kind(REPLICA_SETS, ("namespace", "replicaset"), key_of, (
    Row("kube_replicaset_created", CREATED, created),
    Row("kube_replicaset_metadata_generation", GENERATION, generation),
    Row("kube_replicaset_spec_replicas", "Number of desired pods for a ReplicaSet.", number("spec", "replicas", 1)),
    *_counts(
        "kube_replicaset_status",
        ("replicas", "replicas", "The number of replicas per ReplicaSet."),
        ("fully_labeled_replicas", "fullyLabeledReplicas", "The number of fully labeled replicas per ReplicaSet."),
        ("ready_replicas", "readyReplicas", "The number of ready replicas per ReplicaSet."),
        ("observed_generation", "observedGeneration", "The generation observed by the ReplicaSet controller."),
    ),
    Row("kube_replicaset_owner", "Information about the ReplicaSet's owner.", owners, OWNER),
))


def _ordinals(obj: Json) -> Values:
    ordinals = spec_of(obj).get("ordinals")
    return [] if ordinals is None else [(NAMELESS, float(ordinals.get("start", 0)))]


def _revision(field: str) -> Read:
    return each(lambda obj: [(revision,)] if (revision := status_of(obj).get(field)) else [])


def _retention(obj: Json) -> list[tuple[str, ...]]:
    policy = spec_of(obj).get("persistentVolumeClaimRetentionPolicy")
    return [(policy.get("whenDeleted", ""), policy.get("whenScaled", ""))] if policy else []


STATEFUL_SETS_SHOWN = Kind(STATEFUL_SETS, ("namespace", "statefulset"), key_of, (
    Row("kube_statefulset_created", CREATED, created),
    Row("kube_statefulset_deletion_timestamp", "Unix deletion timestamp", deletion),
    Row("kube_statefulset_metadata_generation", GENERATION, generation),
    Row("kube_statefulset_replicas", "Number of desired pods for a StatefulSet.", number("spec", "replicas", 1)),
    Row("kube_statefulset_ordinals_start", "Start ordinal of the StatefulSet.", _ordinals),
    *_counts(
        "kube_statefulset_status",
        ("replicas", "replicas", "The number of replicas per StatefulSet."),
        ("replicas_available", "availableReplicas", "The number of available replicas per StatefulSet."),
        ("replicas_current", "currentReplicas", "The number of current replicas per StatefulSet."),
        ("replicas_ready", "readyReplicas", "The number of ready replicas per StatefulSet."),
        ("replicas_updated", "updatedReplicas", "The number of updated replicas per StatefulSet."),
        ("observed_generation", "observedGeneration", "The generation observed by the StatefulSet controller."),
    ),
    Row("kube_statefulset_status_current_revision", "Indicates the version of the StatefulSet used to generate Pods in "
        "the sequence [0,currentReplicas).", _revision("currentRevision"), ("revision",)),
    Row("kube_statefulset_status_update_revision", "Indicates the version of the StatefulSet used to generate Pods in "
        "the sequence [replicas-updatedReplicas,replicas)", _revision("updateRevision"), ("revision",)),
    Row("kube_statefulset_persistentvolumeclaim_retention_policy", "Count of retention policy for StatefulSet template "
        "PVCs", each(_retention), ("when_deleted", "when_scaled")),
))

DAEMON_SETS_SHOWN = Kind(DAEMON_SETS, ("namespace", "daemonset"), key_of, (
    Row("kube_daemonset_created", CREATED, created),
    Row("kube_daemonset_metadata_generation", GENERATION, generation),
    *_counts(
        "kube_daemonset_status",
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
    ),
))
