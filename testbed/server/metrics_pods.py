"""Pods and their containers under kube-state-metrics' names.

Source: kubernetes/kube-state-metrics internal/store/pod.go. What is STABLE there is here; of the rest, when a pod
became what it is, and why it ended. Values that do not exist are left out, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from testbed.api.exposition import COUNTER
from testbed.api.resources import PODS
from testbed.server.metrics_pieces import (
    CREATED,
    NAMELESS,
    OWNER,
    Json,
    Kind,
    Read,
    Row,
    Values,
    amounts,
    condition,
    condition_met,
    conditions,
    created,
    deletion,
    fact,
    moment,
    one_of,
    owner_of,
    owners,
    spec_of,
    status_moment,
    status_of,
    text_of,
    unit,
)

PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
CLASSES = ("BestEffort", "Burstable", "Guaranteed")
STATES = ("waiting", "running", "terminated")
REASONS = ("Evicted", "NodeAffinity", "NodeLost", "PreemptionByScheduler", "SchedulingGated", "Shutdown",
           "TerminationByKubelet", "UnexpectedAdmissionError")
DISRUPTIONS = ("PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC",
               "TerminationByKubelet")


def _identify(pod: Json) -> tuple[str, ...]:
    return text_of(pod["metadata"], "namespace", "name", "uid")


def _info(pod: Json) -> tuple[str, ...]:
    return (*text_of(status_of(pod), "hostIP", "podIP"), *text_of(pod["spec"], "nodeName"), *owner_of(pod),
            *text_of(pod["spec"], "priorityClassName"), str(bool(pod["spec"].get("hostNetwork"))).lower())


def _completion(pod: Json) -> Values:
    ended = [at for item in status_of(pod).get("containerStatuses") or ()
             for at in moment(((item.get("state") or {}).get("terminated") or {}).get("finishedAt"))]
    return [(NAMELESS, max(ended))] if ended else []


def _unschedulable(pod: Json) -> Values:
    return [(NAMELESS, 1.0) for item in conditions(pod) if (item["type"], item["status"]) == ("PodScheduled", "False")]


def _reasons(pod: Json) -> Values:
    """Of the pod, its conditions and its ended containers; any other of the pod's own is ``Other``."""
    told = {status_of(pod).get("reason"), *(item.get("reason") for item in conditions(pod)),
            *(((item.get("state") or {}).get("terminated") or {}).get("reason")
              for item in status_of(pod).get("containerStatuses") or ())}
    found = [((reason,), 1.0) for reason in REASONS if reason in told]
    other = status_of(pod).get("reason") or ""
    return [*found, (("Other",), 1.0)] if other and other not in REASONS else found


def _disruptions(pod: Json) -> Values:
    return [((item["reason"],), 1.0) for item in conditions(pod)
            if item["type"] == "DisruptionTarget" and item.get("reason") in DISRUPTIONS]


def _claims(value: Callable[[Json], float]) -> Read:
    return lambda pod: [((volume["name"], claim.get("claimName", ""), "false"), value(claim))
                        for volume in spec_of(pod).get("volumes") or ()
                        if (claim := volume.get("persistentVolumeClaim")) is not None]


_POD_ROWS = (
    Row("kube_pod_info", "Information about pod.", fact(_info), (
        "host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network")),
    Row("kube_pod_created", CREATED, created),
    Row("kube_pod_start_time", "Start time in unix timestamp for a pod.", status_moment("startTime")),
    Row("kube_pod_completion_time", "Completion time in unix timestamp for a pod.", _completion),
    Row("kube_pod_deletion_timestamp", "Unix deletion timestamp", deletion),
    Row("kube_pod_owner", "Information about the Pod's owner.", owners, OWNER),
    Row("kube_pod_restart_policy", "Describes the restart policy in use by this pod.",
        fact(lambda pod: text_of(pod["spec"], "restartPolicy")), ("type",)),
    Row("kube_pod_status_phase", "The pods current phase.",
        one_of(PHASES, lambda pod: status_of(pod).get("phase")), ("phase",)),
    Row("kube_pod_status_qos_class", "The pods current qosClass.",
        one_of(CLASSES, lambda pod: status_of(pod).get("qosClass")), ("qos_class",)),
    Row("kube_pod_status_ready", "Describes whether the pod is ready to serve requests.", condition("Ready"),
        ("condition",)),
    Row("kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod.",
        condition("PodScheduled"), ("condition",)),
    Row("kube_pod_status_unschedulable", "Describes the unschedulable status for the pod.", _unschedulable),
    Row("kube_pod_status_scheduled_time", "Unix timestamp when pod moved into scheduled status",
        condition_met("PodScheduled")),
    Row("kube_pod_status_initialized_time", "Initialized time in unix timestamp for a pod.",
        condition_met("Initialized")),
    Row("kube_pod_status_container_ready_time", "Readiness achieved time in unix timestamp for a pod containers.",
        condition_met("ContainersReady")),
    Row("kube_pod_status_ready_time", "Readiness achieved time in unix timestamp for a pod.", condition_met("Ready")),
    Row("kube_pod_status_reason", "The pod status reasons", _reasons, ("reason",)),
    Row("kube_pod_status_disruption_reason", "The reason of the pod's condition DisruptionTarget.", _disruptions,
        ("reason",)),
    Row("kube_pod_spec_volumes_persistentvolumeclaims_info",
        "Information about persistentvolumeclaim volumes in a pod.", _claims(lambda claim: 1.0),
        ("volume", "persistentvolumeclaim", "ephemeral")),
    Row("kube_pod_spec_volumes_persistentvolumeclaims_readonly",
        "Describes whether a persistentvolumeclaim is mounted read only.",
        _claims(lambda claim: float(bool(claim.get("readOnly")))), ("volume", "persistentvolumeclaim", "ephemeral")),
)


# --- containers


class _Containers:
    """Rows over the containers of a pod, or over its init containers."""

    def __init__(self, prefix: str, what: str, specs: str, statuses: str) -> None:
        self._prefix, self._what, self._specs, self._statuses = prefix, what, specs, statuses

    def rows(self) -> Iterator[Row]:
        init = self._specs == "initContainers"
        yield self._row("info", "Information about a container in a pod.", self._info,
                        "image_spec", "image", "image_id", "container_id", *(("restart_policy",) if init else ()))
        yield self._row("status_restarts_total", "The number of container restarts per container.",
                        self._of_status(lambda item: [(NAMELESS, float(item.get("restartCount", 0)))]), type=COUNTER)
        yield self._row("status_ready", "Describes whether the containers readiness check succeeded.",
                        self._of_status(lambda item: [(NAMELESS, float(bool(item.get("ready"))))]))
        yield self._row("state_started", "Start time in unix timestamp for a pod container.",
                        self._of_status(_started))
        for state in STATES:
            yield self._row(f"status_{state}", f"Describes whether the container is currently in {state} state.",
                            self._of_status(_in_state(state)))
        for name, state, when, text in (
            ("waiting_reason", "waiting", "state", "Describes the reason the container is currently in waiting state."),
            ("terminated_reason", "terminated", "state", "Describes the reason the container is currently in "
             "terminated state."),
            ("last_terminated_reason", "terminated", "lastState", "Describes the last reason the container was in "
             "terminated state."),
        ):
            yield self._row(f"status_{name}", text, self._of_status(_reason(state, when)), "reason")
        yield self._row("status_last_terminated_exitcode", "Describes the exit code for the last container in "
                        "terminated state.", self._of_status(_last_exit))
        yield self._row("status_last_terminated_timestamp", "Last terminated time for a pod container in unix "
                        "timestamp.", self._of_status(_last_end))
        for part in ("requests", "limits"):
            yield self._row(f"resource_{part}", f"The number of {part} of a resource by a container.",
                            self._resources(part), "node", "resource", "unit")

    def _row(self, name: str, text: str, read: Read, *labels: str, type: str = "gauge") -> Row:
        text = text.replace("a container", self._what).replace("the container", f"the {self._what.split(' ', 1)[1]}")
        return Row(f"{self._prefix}_{name}", text, read, ("container", *labels), type)

    def _of_status(self, read: Callable[[Json], Values]) -> Read:
        return lambda pod: [((item["name"], *values), value)
                            for item in status_of(pod).get(self._statuses) or () for values, value in read(item)]

    def _info(self, pod: Json) -> Values:
        seen = {item["name"]: item for item in status_of(pod).get(self._statuses) or ()}
        init = self._specs == "initContainers"
        return [((item["name"], *text_of(item, "image"),
                  *text_of(seen[item["name"]], "image", "imageID", "containerID"),
                  *(text_of(item, "restartPolicy") if init else ())), 1.0)
                for item in spec_of(pod).get(self._specs) or () if item["name"] in seen]

    def _resources(self, part: str) -> Read:
        return lambda pod: [((item["name"], *text_of(pod["spec"], "nodeName"), *unit(resource)), amount)
                            for item in spec_of(pod).get(self._specs) or ()
                            for resource, amount in amounts((item.get("resources") or {}).get(part))]


def _in_state(state: str) -> Callable[[Json], Values]:
    return lambda item: [(NAMELESS, float(state in (item.get("state") or {})))]


def _reason(state: str, when: str) -> Callable[[Json], Values]:
    return lambda item: [((reason,), 1.0)] if (
        reason := ((item.get(when) or {}).get(state) or {}).get("reason")) else []


def _started(item: Json) -> Values:
    now = item.get("state") or {}
    return [(NAMELESS, at) for state in ("running", "terminated") for at in moment(
        (now.get(state) or {}).get("startedAt"))]


def _last_exit(item: Json) -> Values:
    ended = (item.get("lastState") or {}).get("terminated")
    return [(NAMELESS, float(ended.get("exitCode", 0)))] if ended else []


def _last_end(item: Json) -> Values:
    return [(NAMELESS, at) for at in moment(((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))]


PODS_SHOWN = Kind(PODS, ("namespace", "pod", "uid"), _identify, (
    *_POD_ROWS,
    *_Containers("kube_pod_container", "a container", "containers", "containerStatuses").rows(),
    *_Containers("kube_pod_init_container", "an init container", "initContainers", "initContainerStatuses").rows(),
))
