"""What a pod's status says: phase, conditions, container statuses, in upstream's words.

Source: kubernetes pkg/kubelet/kubelet_pods.go getPhase, convertToAPIContainerStatuses; pkg/kubelet/status/generate.go;
terminated reasons as cri-dockerd core/container_status.go gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.api.core_v1 import Container, Pod
from testbed.api.meta import format_time
from testbed.core.pod_seen import ContainerSeen, Life, PodSeen
from testbed.core.pods import Waiting, is_sidecar
from testbed.core.resources import qos_class
from testbed.core.termination_messages import share_bytes, shortened

Json = dict[str, Any]


@dataclass(frozen=True)
class StatusInput:
    """``ready`` and ``started``: names of containers. ``waiting``: why a container does not run. ``failed``: a verdict
    on the whole pod (reason, message), told once nothing runs any more. ``disruption``: the condition that then says
    who did it. ``begun_at``: when the agent took the pod."""

    pod: Pod
    seen: PodSeen
    begun_at: datetime
    now: datetime
    host_ip: str
    ready: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    failed: Waiting | None = None
    ending: bool = False
    disruption: Waiting | None = None


def pod_status(given: StatusInput, before: Mapping[str, Any]) -> Json:
    """The status to send. ``before``: the status (JSON) that was sent last; times of conditions that do not change,
    and previous terminations that the engine has forgotten, are taken from it."""
    pod = given.pod
    init = [_container_status(given, item, before, "initContainerStatuses") for item in pod.spec.init_containers]
    regular = [_container_status(given, item, before, "containerStatuses") for item in pod.spec.containers]
    _shorten_messages([*init, *regular])
    phase = _final_phase(given, before, init, regular)
    status: Json = {
        "phase": phase, "hostIP": given.host_ip, "hostIPs": [{"ip": given.host_ip}],
        "startTime": before.get("startTime") or format_time(given.begun_at), "qosClass": qos_class(pod.spec),
        "containerStatuses": regular,
    }
    if init:
        status["initContainerStatuses"] = init
    address = given.seen.sandbox.address if given.seen.sandbox is not None else str(before.get("podIP", ""))
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    if given.failed is not None and phase == "Failed":
        status |= {"reason": given.failed.reason, "message": given.failed.message}
    status["conditions"] = _conditions(given, phase, init, regular, before)
    return status


# --- phase


def _final_phase(given: StatusInput, before: Mapping[str, Any], init: Sequence[Json], regular: Sequence[Json]) -> str:
    old = str(before.get("phase", ""))
    if old in ("Succeeded", "Failed"):
        return old
    if given.failed is not None:
        # As upstream's status manager: a pod that may have running containers keeps its phase.
        running = any("running" in item["state"] for item in [*regular, *init])
        return old or "Pending" if running else "Failed"
    if given.ending:
        codes = [code for item in regular if (code := _exit_code(item)) is not None]
        all_ended = all("running" not in item["state"] for item in [*regular, *init])
        if all_ended:
            return "Succeeded" if len(codes) == len(regular) and not any(codes) else "Failed"
    return phase_of(given.pod, init, regular)


def _exit_code(status: Json) -> int | None:
    terminated = status["state"].get("terminated")
    return int(terminated["exitCode"]) if terminated else None


def phase_of(pod: Pod, init: Sequence[Json], regular: Sequence[Json]) -> str:
    """kubernetes: kubelet_pods.go getPhase."""
    policy = pod.spec.restart_policy
    begun = any("waiting" not in item["state"] or "terminated" in item["lastState"] for item in regular)
    for container, item in zip(pod.spec.init_containers, init, strict=True):
        code = _exit_code(item)
        if is_sidecar(container):
            if not begun and not item["started"]:
                return "Pending"
        elif code is not None and code != 0 and policy == "Never":
            return "Failed"
        elif code != 0 and not begun:
            return "Pending"
    running = sum(is_sidecar(container) and "running" in item["state"]  # a pod has not ended while one of them runs
                  for container, item in zip(pod.spec.init_containers, init, strict=True))
    stopped = waiting = succeeded = 0
    for item in regular:
        code, last = _exit_code(item), item["lastState"].get("terminated")
        if "running" in item["state"]:
            running += 1
        elif code is not None:
            stopped += 1
            succeeded += code == 0
        elif last is not None:
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running:
        return "Running"
    if policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


# --- containers


def _container_status(given: StatusInput, container: Container, before: Mapping[str, Any], key: str) -> Json:
    name = container.name
    old: Json = next((item for item in before.get(key) or () if item.get("name") == name), {})
    item = given.seen.containers.get(name)
    waiting = given.waiting.get(name)
    last = _terminated(previous) if (previous := given.seen.previous.get(name)) is not None else None
    if item is None:
        state, last = _state_of_absent(given, container, old, waiting)
    elif item.life is Life.RUNNING or (
        item.exited and waiting is None and (item.exit_code is None or item.message_pending)
    ):
        # Of a process that just ended the code is not known yet; a guess could end the whole pod for good.
        state = {"running": {"startedAt": format_time(item.started_at or given.now)}}
    elif item.life is Life.EXITED:
        state = {"terminated": _terminated(item)}
        if waiting is not None:
            state, last = {"waiting": _waiting(waiting)}, _terminated(item)
    else:
        state = {"waiting": _waiting(waiting or Waiting("ContainerCreating"))}
    old_last = (old.get("lastState") or {}).get("terminated")
    if last is None and item is not None and int(old.get("restartCount", 0)) == item.attempt:
        last = old_last
    attempt = item.attempt if item is not None else int(old.get("restartCount", 0))
    running = item is not None and item.running
    return {
        "name": name, "image": item.image if item is not None and item.image else container.image,
        "imageID": item.image_id if item is not None else str(old.get("imageID", "")),
        "containerID": f"docker://{item.id}" if item is not None else str(old.get("containerID", "")),
        "ready": _is_ready(given, container, item, running), "started": running and name in given.started,
        "restartCount": max(attempt, 0), "state": state, "lastState": {"terminated": last} if last else {},
    }


def _is_ready(given: StatusInput, container: Container, item: ContainerSeen | None, running: bool) -> bool:
    if container in given.pod.spec.init_containers and not is_sidecar(container):
        return item is not None and item.exited and item.exit_code == 0
    return running and container.name in given.ready


def _state_of_absent(
    given: StatusInput, container: Container, old: Mapping[str, Any], waiting: Waiting | None
) -> tuple[Json, Json | None]:
    """State and last termination of a container that the engine does not have: never made yet, or lost."""
    old_state, old_last = old.get("state") or {}, (old.get("lastState") or {}).get("terminated")
    if "terminated" in old_state and waiting is None:
        return {"terminated": old_state["terminated"]}, old_last
    last = old_state.get("terminated") or old_last
    if "running" in old_state:
        last = {
            "exitCode": 137, "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None, "finishedAt": None, "containerID": old.get("containerID", ""),
        }
        if given.ending or given.failed is not None or given.pod.spec.restart_policy == "Never":
            return {"terminated": last}, old_last
    default = "PodInitializing" if given.pod.spec.init_containers else "ContainerCreating"
    return {"waiting": _waiting(waiting or Waiting(default))}, last


def _shorten_messages(statuses: Sequence[Json]) -> None:
    most_bytes = share_bytes(len(statuses))
    for item in statuses:
        for state in (item["state"], item["lastState"]):
            if (ended := state.get("terminated")) and ended.get("message"):
                state["terminated"] = ended | {"message": shortened(ended["message"], most_bytes)}


def _waiting(waiting: Waiting) -> Json:
    return {"reason": waiting.reason} | ({"message": waiting.message} if waiting.message else {})


def _terminated(item: ContainerSeen) -> Json:
    """An exit code that the engine has not told yet is shown as that of SIGKILL."""
    code = 137 if item.exit_code is None else item.exit_code
    started, finished = item.started_at, item.finished_at
    if item.oom_killed:
        reason = "OOMKilled"
    elif started is None and code != 0:
        reason, started, finished = "ContainerCannotRun", item.created_at, item.created_at
    else:
        reason = "Completed" if code == 0 else "Error"
    state: Json = {
        "exitCode": code, "reason": reason, "containerID": f"docker://{item.id}",
        "startedAt": format_time(started) if started else None,
        "finishedAt": format_time(finished) if finished else None,
    }
    message = item.message or item.error
    return state | ({"message": message} if message else {})


# --- conditions


def _conditions(
    given: StatusInput, phase: str, init: Sequence[Json], regular: Sequence[Json], before: Mapping[str, Any]
) -> list[Json]:
    pod = given.pod
    sandbox = given.seen.sandbox is not None and given.seen.sandbox.running
    pending = [
        item["name"] for container, item in zip(pod.spec.init_containers, init, strict=True)
        if not (item["started"] if is_sidecar(container) else item["ready"])
    ]
    begun = any("waiting" not in item["state"] or item["lastState"] for item in regular)
    sidecars = [
        item for container, item in zip(pod.spec.init_containers, init, strict=True) if is_sidecar(container)
    ]
    unready = [item["name"] for item in [*sidecars, *regular] if not item["ready"]]
    initialized = _verdict("Initialized", not pending or begun, "ContainersNotInitialized",
                           f"containers with incomplete status: [{' '.join(pending)}]")
    ready = _verdict("ContainersReady", not unready, "ContainersNotReady",
                     f"containers with unready status: [{' '.join(unready)}]")
    if phase == "Succeeded":
        initialized = {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
        ready = {"type": "ContainersReady", "status": "False", "reason": "PodCompleted"}
    elif phase == "Failed":
        ready = {"type": "ContainersReady", "status": "False", "reason": "PodFailed"}
    conditions = [
        {"type": "PodReadyToStartContainers", "status": "True" if sandbox else "False"},
        initialized, _ready(given, ready, before), ready,
    ]
    if given.disruption is not None and phase == "Failed":
        why = given.disruption
        conditions.append(
            {"type": "DisruptionTarget", "status": "True", "reason": why.reason, "message": why.message})
    return [_dated(item, before, given.now) for item in conditions]


def _ready(given: StatusInput, containers: Json, before: Mapping[str, Any]) -> Json:
    """ContainersReady, and every readiness gate of the pod True (kubernetes: status/generate.go)."""
    if containers["status"] != "True":
        return containers | {"type": "Ready"}
    said = {item.get("type"): str(item.get("status")) for item in before.get("conditions") or ()}
    wrong = []
    for gate in given.pod.spec.readiness_gates:
        if (told := said.get(gate.condition_type)) is None:
            wrong.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif told != "True":
            wrong.append(f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {told}')
    return _verdict("Ready", not wrong, "ReadinessGatesNotReady", ", ".join(wrong))


def _verdict(kind: str, good: bool, reason: str, message: str) -> Json:
    return {"type": kind, "status": "True"} if good else {
        "type": kind, "status": "False", "reason": reason, "message": message,
    }


def _dated(condition: Json, before: Mapping[str, Any], now: datetime) -> Json:
    """With the time of its last change. Words that no longer hold are null: the patch merges conditions by type."""
    old = next((item for item in before.get("conditions") or () if item.get("type") == condition["type"]), None)
    same = old is not None and old.get("status") == condition["status"] and old.get("lastTransitionTime")
    stamp = old["lastTransitionTime"] if old is not None and same else format_time(now)
    return {"reason": None, "message": None} | condition | {"lastProbeTime": None, "lastTransitionTime": stamp}
