"""What a swarm and its engines say, as tasks and machines in words that all orchestrators share. Pure.

The manager says which tasks there are and whether they shall run; the engine of a task's node says how its container
is. They tell it at different moments: the engine knows first that a container has died, the manager knows first that
its successor is coming.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from testbed.api import labels
from testbed.api.instance import ENGINE
from testbed.runtime.architecture import called
from testbed.runtime.containers import ContainerState
from testbed.supervisors.containers import DEPLOYMENT
from testbed.supervisors.swarm.translate import pod_name
from testbed.supervisors.tasks import Machine, Task, checks_of, life_of

Json = dict[str, Any]
TASK_ID = "com.docker.swarm.task.id"  # label that Swarm itself puts on a task's container
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
_UNPLACED = frozenset({"new", "pending", "allocated"})


@dataclass(frozen=True)
class Managed:
    """What a manager says at one moment."""

    tasks: tuple[Json, ...] = ()
    nodes: tuple[Json, ...] = ()
    services: tuple[Json, ...] = ()

    def hostnames(self) -> dict[str, str]:
        """By id."""
        return {str(node["ID"]): str(node["Description"]["Hostname"]) for node in self.nodes}

    def lost(self) -> frozenset[str]:
        """Names of nodes that the manager has given up."""
        return frozenset(str(node["Description"]["Hostname"]) for node in self.nodes
                         if node["Status"]["State"] == "down")


@dataclass(frozen=True)
class Scene:
    """``containers``: of all engines that ever answered, by the task's id. ``gossip``: names of the nodes that take
    part in it; None: nobody who does could be asked yet. ``told_to_end``: ids of containers that their engine was asked
    to end."""

    managed: Managed
    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    gossip: Collection[str] | None = None
    told_to_end: Collection[str] = ()


def tasks(scene: Scene, before: Collection[str]) -> tuple[Task, ...]:
    """``before``: keys of those that ran at the last look: what has ended since is shown once more, ended."""
    hosts, lost, found = scene.managed.hostnames(), scene.managed.lost(), []
    for json in scene.managed.tasks:
        spec = json["Spec"].get("ContainerSpec") or {}
        node = hosts.get(str(json.get("NodeID") or ""), "")
        if not node or DEPLOYMENT not in (spec.get("Labels") or {}) or json["Status"]["State"] in _UNPLACED:
            continue
        task = _task(json, node, scene)
        ordered = json["DesiredState"] not in ("ready", "running")
        if (node in lost and ordered) or (not task.running and (ordered or _ended(json)) and task.key not in before):
            continue
        found.append(task)
    return tuple(found)


def _ended(json: Json) -> bool:
    return json["Status"]["State"] in _ENDED


def _task(json: Json, node: str, scene: Scene) -> Task:
    spec, status = json["Spec"]["ContainerSpec"], json["Status"]
    namespace, _, deployment = spec["Labels"][DEPLOYMENT].partition("/")
    state = scene.containers.get(str(json["ID"]))
    task = Task(
        namespace=namespace, name=pod_name(deployment, int(json.get("Slot") or 0), str(json["ID"])),
        deployment=deployment, revision=spec["Labels"].get(labels.SPEC_HASH, ""),
        container=spec["Labels"][labels.CONTAINER_NAME], node=node, image=spec["Image"],
        stopping=json["DesiredState"] not in ("ready", "running") or _ended(json),
        error=str(status.get("Err") or ""),
        waiting="" if state is not None and state.status != "created" else "ContainerCreating")
    if state is None:
        return task
    if state.id in scene.told_to_end:
        task = replace(task, stopping=True)
    return _with_container(task, state, reached=scene.gossip is None or node in scene.gossip)


def _with_container(task: Task, state: ContainerState, *, reached: bool) -> Task:
    """``reached``: whether the node takes part in the swarm's gossip. Swarm's balancers leave out a task whose health
    is not good (yet), that is ordered to end, or whose node the gossip has given up: then it is not ready, as a pod of
    a lost node is not."""
    health = state.health
    healthy = reached and (health is None or health.status == "healthy")
    return Task(
        task.namespace, task.name, task.deployment, task.revision, task.container, task.node, state.id, life_of(state),
        task.image, state.image_id, state.address, state.created_at, state.started_at, state.finished_at,
        state.exit_code, state.oom_killed, state.error or task.error, stopping=task.stopping,
        checked=health is not None, healthy=healthy, checks=checks_of(state), waiting=task.waiting,
        reachable=state.running and healthy and not task.stopping and bool(state.address))


def unsettled(managed: Managed, silent: Collection[str]) -> bool:
    """Whether something is under way, so that it pays to look often."""
    hosts, lost = managed.hostnames(), managed.lost()
    if any(name not in lost for name in silent):
        return True
    if any((service.get("UpdateStatus") or {}).get("State") == "updating" for service in managed.services):
        return True
    return any(json["Status"]["State"] != json["DesiredState"] and not _ended(json)
               and hosts.get(str(json.get("NodeID") or "")) not in lost for json in managed.tasks)


def delayed(managed: Managed) -> dict[str, datetime]:
    """Keys of tasks that wait for Swarm's restart delay, and since when: made, and not to run yet. Under an update they
    wait for the old one instead."""
    updating = {str(service["ID"]) for service in managed.services
                if (service.get("UpdateStatus") or {}).get("State") == "updating"}
    found = {}
    for json in managed.tasks:
        own = (json["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
        if json["DesiredState"] == "ready" and json["ServiceID"] not in updating and DEPLOYMENT in own:
            namespace, _, deployment = own[DEPLOYMENT].partition("/")
            name = pod_name(deployment, int(json.get("Slot") or 0), str(json["ID"]))
            found[f"{namespace}/{name}"] = datetime.fromisoformat(str(json["CreatedAt"]))
    return found


def machines(managed: Managed, infos: Mapping[str, Json], addresses: Mapping[str, str]) -> tuple[Machine, ...]:
    """As the swarm's manager judges them. ``infos``: what each node's own engine said last."""
    found = []
    for node in managed.nodes:
        name, status = str(node["Description"]["Hostname"]), node["Status"]
        resources = node["Description"].get("Resources") or {}
        engine = (node["Description"].get("Engine") or {}).get("EngineVersion", "")
        if name not in addresses:
            continue
        role = "manager" if node.get("ManagerStatus") else "worker"
        found.append(Machine(
            name, addresses[name], status["State"] == "ready", f"docker://{engine}", f"swarm {role} {engine}",
            f"{int(resources.get('NanoCPUs') or 0) // 10**6}m", str(int(resources.get("MemoryBytes") or 0)), ENGINE,
            str((infos.get(name) or {}).get("KernelVersion") or ""),
            str(status.get("Message") or f"the swarm says {status['State']}"),
            called(str((node["Description"].get("Platform") or {}).get("Architecture") or ""))))
    return tuple(found)


def services(managed: Managed, instance_id: str) -> dict[str, Json]:
    """Ours, by the Deployment that they are of."""
    found = {}
    for service in managed.services:
        own = service["Spec"].get("Labels") or {}
        if own.get(labels.INSTANCE) == instance_id and DEPLOYMENT in own:
            found[str(own[DEPLOYMENT])] = service
    return found


def used_revisions(managed: Managed) -> frozenset[tuple[str, str]]:
    """(Deployment, revision): of tasks that have not ended, of services, and of what these would be rolled back to."""
    specs = [json["Spec"].get("ContainerSpec") or {} for json in managed.tasks if not _ended(json)]
    for service in managed.services:
        specs += [service["Spec"], service.get("PreviousSpec") or {}]
    found = (spec.get("Labels") or {} for spec in specs)
    return frozenset((str(own[DEPLOYMENT]), str(own[labels.SPEC_HASH])) for own in found
                     if DEPLOYMENT in own and labels.SPEC_HASH in own)


def stuck(services: Iterable[Json]) -> dict[str, str]:
    """By Deployment, why an update of it does not get on."""
    return {
        str(service["Spec"]["Labels"][DEPLOYMENT]): str(status.get("Message") or status["State"])
        for service in services
        if (status := service.get("UpdateStatus") or {}).get("State") in ("paused", "rollback_paused")
    }
