"""Kubernetes objects as which an orchestrator's own things are shown. Pure: values in, JSON out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from testbed.api import labels
from testbed.api.core_v1 import Pod, Service
from testbed.api.instance import ENGINE
from testbed.api.meta import format_time
from testbed.core.conditions import with_condition
from testbed.core.endpoints import plan_slices
from testbed.core.pod_seen import ContainerSeen, PodSeen, SandboxSeen
from testbed.core.pod_status import StatusInput, pod_status
from testbed.core.pods import Waiting
from testbed.supervisors.tasks import Machine, Task

Json = dict[str, Any]
NOT_TRANSLATED = "NotTranslated"  # condition of a Deployment: what of it the orchestrator cannot do


def pod(supervisor: str, deployment: Mapping[str, Any], name: str, node: str, revision: str) -> Json:
    """A replica of ``deployment``. Its owner is the Deployment itself: there are no ReplicaSets."""
    meta, template = deployment["metadata"], deployment["spec"]["template"]
    described = template.get("metadata") or {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": meta["namespace"], "annotations": dict(described.get("annotations") or {}),
            "labels": {**(described.get("labels") or {}), labels.POD_TEMPLATE_HASH: revision,
                       labels.SUPERVISOR: supervisor},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"],
                                 "uid": meta["uid"], "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def status(json: Mapping[str, Any], task: Task, attempt: int, host_ip: str, now: datetime) -> Json:
    """Of the pod ``json``. ``attempt``: how often its container was started again."""
    view = Pod.of(dict(json))
    seen = ContainerSeen(
        task.container, task.id, attempt, task.life, image=task.image, image_id=task.image_id,
        exit_code=task.exit_code, oom_killed=task.oom_killed, error=task.error, created_at=task.created_at,
        started_at=task.started_at, finished_at=task.finished_at)
    containers = {task.container: seen} if task.id else {}
    sandbox = SandboxSeen(task.id, 0, task.running, task.address) if task.address or task.running else None
    name = frozenset({task.container})
    given = StatusInput(
        view, PodSeen(sandbox, containers), now, now, host_ip, ready=name if task.ready else frozenset(),
        started=name if task.running else frozenset(),
        waiting={task.container: Waiting(task.waiting)} if task.waiting else {}, ending=view.metadata.deleting)
    before = json.get("status") or {}
    return _with_last_end(pod_status(given, before), before, task)


def _with_last_end(fresh: Json, before: Mapping[str, Any], task: Task) -> Json:
    """The same container runs again: its end before that is in no other record than the engine's last word."""
    for item in fresh["containerStatuses"]:
        if item["name"] == task.container and item["restartCount"] and not item["lastState"] and task.finished_at:
            item["lastState"] = {"terminated": {
                "exitCode": task.exit_code, "reason": "Error" if task.exit_code else "Completed",
                "containerID": item["containerID"], "startedAt": None, "finishedAt": format_time(task.finished_at)}}
    return fresh


def slices(service: Mapping[str, Any], pods: Iterable[tuple[Mapping[str, Any], bool]], supervisor: str) -> list[Json]:
    """Its EndpointSlices, whole and named. ``pods``: pod and whether requests reach it: there that is what counts."""
    view = Service.of(dict(service))
    listed = [Pod.of(_as_ready(json, reachable)) for json, reachable in pods]
    made = plan_slices(view, listed, ()).create
    name = service["metadata"]["name"]
    return [{**item, "metadata": _named(item["metadata"], f"{name}-{supervisor}-{index}")}
            for index, item in enumerate(made)]


def _named(metadata: Mapping[str, Any], name: str) -> Json:
    return {**{key: value for key, value in metadata.items() if key != "generateName"}, "name": name}


def _as_ready(json: Mapping[str, Any], reachable: bool) -> Json:
    status = json.get("status") or {}
    conditions = [{"type": "Ready", "status": str(reachable)}]
    return {**json, "status": {**status, "conditions": conditions}}


def deployment_status(
    json: Mapping[str, Any], tasks: Sequence[Task], observed: int, revision: str, left_out: Sequence[str],
    now: datetime, stuck: str = "",
) -> Json:
    """``observed``: the generation that the orchestrator was told. ``revision``: of its template. ``stuck``: why it
    does not get on."""
    before = json.get("status") or {}
    standing = [task for task in tasks if not task.stopping]
    ready = sum(task.ready for task in standing)
    wanted = int(json["spec"].get("replicas", 1))
    counts = {
        "observedGeneration": observed, "replicas": len(standing), "readyReplicas": ready, "availableReplicas": ready,
        "updatedReplicas": sum(task.revision == revision for task in standing),
        "unavailableReplicas": max(0, wanted - ready),
    }
    conditions = with_condition(
        before.get("conditions") or (), "Available", str(ready >= wanted),
        "MinimumReplicasAvailable" if ready >= wanted else "MinimumReplicasUnavailable",
        f"{ready} of {wanted} are ready", now, update_time=True)
    conditions = with_condition(
        conditions, "Progressing", str(not stuck), "NewReplicaSetAvailable" if not stuck else "FailedCreate",
        stuck or "the orchestrator was told", now, update_time=True)
    conditions = with_condition(
        conditions, NOT_TRANSLATED, str(bool(left_out)), NOT_TRANSLATED if left_out else "AllTranslated",
        "; ".join(left_out)[:1000] or "everything of it is done", now)
    return {**counts, "conditions": list(conditions)}


def node(machine: Machine, instance_id: str, supervisor: str, now: datetime, before: Mapping[str, Any]) -> Json:
    """A Node, with its status."""
    resources = {"cpu": machine.cpu, "memory": machine.memory}  # nobody there limits how many containers run
    ready = with_condition(
        (before.get("status") or {}).get("conditions") or (), "Ready", str(machine.ready),
        "EngineAnswers" if machine.ready else "EngineSilent",
        "the container engine answers" if machine.ready else machine.why_not_ready or "it does not answer", now)
    kind = {labels.NODE_KIND: ENGINE} if machine.kind == ENGINE else {}
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": machine.name, "labels": {
            labels.HOSTNAME: machine.name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine.architecture, labels.SUPERVISOR: supervisor, **kind}},
        "spec": {"providerID": f"testbed://{instance_id}/{machine.name}"},
        "status": {
            "capacity": resources, "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": machine.address},
                          {"type": "Hostname", "address": machine.name}],
            "conditions": list(ready),
            "nodeInfo": {
                "machineID": instance_id, "systemUUID": instance_id, "bootID": "", "kernelVersion": machine.kernel,
                "osImage": f"{supervisor} on a container engine", "operatingSystem": "linux",
                "architecture": machine.architecture,
                "containerRuntimeVersion": machine.runs, "kubeletVersion": machine.supervisor,
                "kubeProxyVersion": machine.supervisor,
            },
        },
    }
