"""A Deployment as a service of a swarm, and what of it a swarm cannot do. Pure: manifest in, service spec out.

The container itself is what plain Docker would be given (``supervisors.containers``); here it becomes the template of
tasks. What differs from task to task is said by templates that Swarm fills in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from testbed.api import labels
from testbed.api.apps_v1 import DeploymentSpec
from testbed.api.core_v1 import Container, PodSpec
from testbed.api.meta import quantity
from testbed.core.rounding import resolve
from testbed.runtime.containers import Mount
from testbed.runtime.supervision import HealthCheck, SupervisedSpec
from testbed.supervisors.containers import DEPLOYMENT
from testbed.supervisors.health import health_check
from testbed.supervisors.swarm.membership import NETWORK
from testbed.supervisors.swarm.timers import Timers

Json = dict[str, Any]
POD_NAME, NODE_NAME = "__testbed_pod_name__", "__testbed_node_name__"  # stand for what only Swarm knows
TASK_ID_CHARS = 8
_OF_ONE_POD = (labels.POD_NAME, labels.POD_UID, labels.NODE, labels.ATTEMPT)
_OPENING = re.compile(r"\{\{")


def service_name(namespace: str, deployment: str) -> str:
    return f"{namespace}_{deployment}"


def pod_name(deployment: str, slot: int, task_id: str) -> str:
    return f"{deployment}-{slot}-{task_id[:TASK_ID_CHARS]}"


def service_spec(deployment: Mapping[str, Any], container: SupervisedSpec, revision: str, timers: Timers) -> Json:
    """``container``: what plain Docker would be given, of a pod named POD_NAME on a node named NODE_NAME."""
    meta, view = deployment["metadata"], DeploymentSpec.model_validate(deployment["spec"])
    pod = view.template.spec
    mine = {labels.INSTANCE: container.labels[labels.INSTANCE], DEPLOYMENT: f"{meta['namespace']}/{meta['name']}",
            labels.SPEC_HASH: revision}
    task: Json = {
        "ContainerSpec": _container(meta["name"], container),
        "Resources": _resources(pod.containers[0], container),
        "RestartPolicy": {"Condition": "any", "Delay": int(timers.restart_delay_s * 1e9)},
        "Placement": {"Constraints": _constraints(pod)},
        "Networks": [{"Target": NETWORK}],
    }
    return {
        "Name": service_name(meta["namespace"], meta["name"]), "Labels": mine, "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": view.replicas}}, "UpdateConfig": update_config(view),
        "RollbackConfig": update_config(view), "EndpointSpec": {"Mode": "dnsrr"},
    }


def scaled(spec: Mapping[str, Any], deployment: Mapping[str, Any]) -> Json:
    """The same service with the Deployment's replicas and strategy: nothing of this replaces a task."""
    view = DeploymentSpec.model_validate(deployment["spec"])
    return {**spec, "Mode": {"Replicated": {"Replicas": view.replicas}}, "UpdateConfig": update_config(view),
            "RollbackConfig": update_config(view)}


def update_config(view: DeploymentSpec) -> Json:
    """Swarm replaces tasks one by one, either the new one first or the old one; both at once it cannot. A surge means
    the new one first, as many at a time as may be too many; none, the old one first, as many as may be missing.
    ``Recreate``: all at once."""
    if view.strategy.type == "Recreate":
        parallelism, order = 0, "stop-first"
    else:
        rolling = view.strategy.rolling_update
        posts = resolve(rolling.max_surge, rolling.max_unavailable, view.replicas)
        parallelism, order = (posts.surge, "start-first") if posts.surge else (posts.unavailable, "stop-first")
    return {"Parallelism": parallelism, "Order": order, "Delay": int(view.min_ready_seconds * 1e9),
            "FailureAction": "pause"}


def _container(deployment: str, spec: SupervisedSpec) -> Json:
    """By an allow-list, as ``docker_translate`` has it."""
    name = f'{deployment}-{{{{.Task.Slot}}}}-{{{{printf "%.{TASK_ID_CHARS}s" .Task.ID}}}}'
    body: Json = {
        "Image": spec.image, "Labels": {key: value for key, value in spec.labels.items() if key not in _OF_ONE_POD},
        "Env": [f"{key}={_filled_in(value, name)}" for key, value in spec.env],
        "Dir": spec.working_dir, "User": spec.user, "Groups": list(spec.groups), "TTY": spec.tty,
        "OpenStdin": spec.stdin, "ReadOnly": spec.read_only_root, "Init": spec.init,
        "CapabilityAdd": list(spec.cap_add), "CapabilityDrop": list(spec.cap_drop),
        "StopGracePeriod": int(spec.stop_grace_s * 1e9), "Healthcheck": _health(spec.health),
        "Mounts": [*(_mount(item) for item in spec.mounts),
                   *({"Type": "volume", "Target": target} for target in spec.anonymous_volumes)],
        "DNSConfig": {"Nameservers": list(spec.dns_servers), "Search": list(spec.dns_search),
                      "Options": list(spec.dns_options)},
    }
    if len(deployment) + TASK_ID_CHARS + 6 <= 63:  # a longer name is no host's: then it is the container's id
        body["Hostname"] = name
    if spec.command is not None:
        body["Command"] = list(spec.command)
    if spec.args is not None:
        body["Args"] = list(spec.args)
    return body


def _filled_in(text: str, name: str) -> str:
    """Swarm expands templates in an environment (not in arguments): what of ours looks like one stays as it is."""
    kept = _OPENING.sub('{{"{{"}}', text)
    return kept.replace(POD_NAME, name).replace(NODE_NAME, "{{.Node.Hostname}}")


def _health(check: HealthCheck | None) -> Json:
    if check is None:
        return {"Test": ["NONE"]}
    return {"Test": ["CMD", *check.argv], "Interval": int(check.interval_s * 1e9),
            "Timeout": int(check.timeout_s * 1e9), "Retries": check.retries,
            "StartPeriod": int(check.start_period_s * 1e9)}


def _mount(mount: Mount) -> Json:
    if not mount.source:
        options = {"TmpfsOptions": {"SizeBytes": mount.tmpfs_size_bytes}} if mount.tmpfs_size_bytes else {}
        return {"Type": "tmpfs", "Target": mount.target, "ReadOnly": mount.read_only, **options}
    kind = "bind" if mount.source.startswith("/") else "volume"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _resources(container: Container, spec: SupervisedSpec) -> Json:
    limits: Json = {"Pids": spec.limits.pids} if spec.limits.pids else {}
    if spec.limits.cpu_quota_us:
        limits["NanoCPUs"] = spec.limits.cpu_quota_us * 10_000
    if spec.limits.memory_bytes:
        limits["MemoryBytes"] = spec.limits.memory_bytes
    requests = container.resources.requests
    reserved: Json = {}
    if "cpu" in requests:
        reserved["NanoCPUs"] = int(quantity(requests["cpu"]) * 10**9)
    if "memory" in requests:
        reserved["MemoryBytes"] = int(quantity(requests["memory"]))
    return {"Limits": limits, "Reservations": reserved}


def _constraints(pod: PodSpec) -> list[str]:
    wanted = [pod.node_name] if pod.node_name else []
    wanted += [value for key, value in pod.node_selector.items() if key == labels.HOSTNAME]
    return [f"node.hostname=={name}" for name in wanted]


# --- what there are no words for


def left_out(deployment: Mapping[str, Any], timers: Timers) -> tuple[str, ...]:
    """What of a Deployment a swarm cannot do, each in one line; none of it by its ``timers``."""
    view = DeploymentSpec.model_validate(deployment["spec"])
    pod = view.template.spec
    if not pod.containers:
        return ()
    container = pod.containers[0]
    annotations = (deployment["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    found = [f"container {item.name}: a task has one container, the first" for item in pod.containers[1:]]
    found += [f"initContainer {item.name}: not run" for item in pod.init_containers]
    if container.lifecycle is not None:
        found.append("lifecycle: hooks are not run")
    found += health_check(container, annotations)[1]
    if container.liveness_probe is None and container.readiness_probe is not None:
        found.append("readinessProbe: an unhealthy task is ended, not only taken out of rotation")
    return (*found, *_of_updates(view), *_of_pod(pod))


def _of_updates(view: DeploymentSpec) -> list[str]:
    found = []
    rolling = view.strategy.rolling_update
    if view.strategy.type == "RollingUpdate":
        posts = resolve(rolling.max_surge, rolling.max_unavailable, view.replicas)
        if posts.surge and posts.unavailable:
            found.append(f"maxUnavailable {posts.unavailable} beside maxSurge {posts.surge}: "
                         "the new task comes first, the old one stays until then")
    if view.paused:
        found.append("paused: a new template waits until it is not")
    return found


def _of_pod(pod: PodSpec) -> list[str]:
    named = (
        ("affinity", pod.affinity is not None, "Swarm spreads tasks by itself"),
        ("nodeSelector", bool(set(pod.node_selector) - {labels.HOSTNAME}), "only the host's name counts"),
        ("tolerations", bool(pod.tolerations), "a swarm has no taints"),
        ("topologySpreadConstraints", bool(pod.topology_spread_constraints), "Swarm spreads tasks by itself"),
        ("priorityClassName", bool(pod.priority_class_name), "a swarm has no priorities"),
        ("readinessGates", bool(pod.readiness_gates), "unknown to Swarm"),
    )
    found = [f"{name}: {why}" for name, given, why in named if given]
    found += [f"volume {volume.name}: a PersistentVolumeClaim is not mounted" for volume in pod.volumes
              if volume.persistent_volume_claim is not None]
    return [*found, "no-new-privileges: a service of this engine's version cannot ask for it"]
