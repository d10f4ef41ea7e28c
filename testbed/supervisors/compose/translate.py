"""A Deployment in plain Docker's terms, and what of it has no such terms. Pure: manifest in, container spec out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from testbed.api import labels
from testbed.api.core_v1 import Container, Pod, PodSpec
from testbed.core.environment import Sources, command_and_args, environment
from testbed.core.projections import Files, is_projection, volume_files
from testbed.core.resources import cpu_quota_us, cpu_shares, memory_limit_bytes
from testbed.core.termination import StopCause, grace_s
from testbed.node.container_specs import DROPPED, PIDS_LIMIT, check_allowed
from testbed.runtime.protocol import Limits, Mount
from testbed.runtime.supervision import SupervisedSpec
from testbed.supervisors.compose.health import PROGRAM, health_check
from testbed.supervisors.compose.timers import Timers

Json = dict[str, Any]
DEPLOYMENT = "testbed.io/deployment"  # label: namespace/name
DEPLOYMENT_UID = "testbed.io/deployment-uid"
REPLICA = "testbed.io/replica"  # label: Compose's container number, from 1
AUTOHEAL = "autoheal"  # label: docker-autoheal looks after those that have it
STOP_TIMEOUT = "autoheal.stop.timeout"  # label: seconds of grace of its restarts, instead of its usual ones
_DOMAIN = "cluster.local"
_STRATEGY = "docker compose up stops every replica before the new ones start"


@dataclass(frozen=True)
class Place:
    """Where containers are made. ``check_file``: the program for health checks, on the engine's machine. ``cgroup``:
    their parent. ``timers``: autoheal's. ``dns_servers``: asked for names that Docker's own DNS does not know."""

    instance_id: str
    instance_name: str
    network: str
    node: str
    cgroup: str
    check_file: str
    timers: Timers = Timers()
    dns_servers: tuple[str, ...] = ()


def alias(deployment: str, namespace: str) -> str:
    """The name by which Docker's DNS knows all containers of a Deployment."""
    return f"containers.{deployment}.{namespace}"


def container_spec(
    place: Place, deployment: Mapping[str, Any], pod_json: Mapping[str, Any], number: int, revision: str,
    sources: Sources, volumes: Mapping[str, str],
) -> SupervisedSpec:
    """``volumes``: of the pod's volumes that are files, where they lie.

    Raises: MissingConfig (a ConfigMap or Secret is not there), container_specs.Refused (a right that nobody gets here).
    """
    pod = Pod.of(dict(pod_json))
    container = pod.spec.containers[0]
    check_allowed(pod, container, "")
    env = environment(pod, container, sources)
    command, args = command_and_args(container, env)
    meta, security = pod.metadata, container.security_context
    check, _ = health_check(container, meta.annotations)
    wanted = security.capabilities if security and security.capabilities else None
    add = tuple(name.upper().removeprefix("CAP_") for name in (wanted.add if wanted else ()))
    drop = tuple(name.upper().removeprefix("CAP_") for name in (wanted.drop if wanted else ()))
    uses_program = check is not None and check.argv[0] == PROGRAM
    return SupervisedSpec(
        name=f"testbed-{place.instance_id}_{meta.namespace}_{meta.name}", image=container.image,
        labels=_labels(place, deployment, pod, number, revision), command=command, args=args, env=env,
        working_dir=container.working_dir, user=_user(pod.spec, container), network=place.network,
        hostname=meta.name[:63], aliases=(alias(deployment["metadata"]["name"], meta.namespace),),
        mounts=(*_mounts(pod.spec, container, volumes),
                *((Mount(PROGRAM, place.check_file, read_only=True),) if uses_program else ())),
        cgroup_parent=place.cgroup,
        limits=Limits(cpu_shares=cpu_shares(container), cpu_quota_us=cpu_quota_us(container, Decimal(0)),
                      memory_bytes=memory_limit_bytes(container, 0), pids=PIDS_LIMIT),
        cap_add=add, cap_drop=tuple(sorted({*DROPPED, *drop} - set(add))), stdin=container.stdin, tty=container.tty,
        dns_servers=place.dns_servers, dns_search=_search(meta.namespace) if place.dns_servers else (),
        read_only_root=bool(security and security.read_only_root_filesystem),
        anonymous_volumes=_anonymous(pod.spec, container), restart="always", health=check,
        stop_grace_s=pod.spec.termination_grace_period_seconds,
    )


def _search(namespace: str) -> tuple[str, ...]:
    return (f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN)


def files(pod_json: Mapping[str, Any], sources: Sources) -> dict[str, Files]:
    """What its volumes of configuration hold, by volume. Raises: MissingConfig."""
    pod = Pod.of(dict(pod_json))
    return {volume.name: volume_files(pod, volume, sources) for volume in pod.spec.volumes if is_projection(volume)}


def _labels(place: Place, deployment: Mapping[str, Any], pod: Pod, number: int, revision: str) -> dict[str, str]:
    meta = pod.metadata
    return {
        labels.INSTANCE: place.instance_id, labels.INSTANCE_NAME: place.instance_name,
        labels.ROLE: labels.ROLE_CONTAINER, labels.NODE: place.node, labels.POD_NAMESPACE: meta.namespace,
        labels.POD_NAME: meta.name, labels.POD_UID: meta.uid, labels.CONTAINER_NAME: pod.spec.containers[0].name,
        labels.ATTEMPT: "0", labels.SPEC_HASH: revision, REPLICA: str(number),
        DEPLOYMENT: f"{meta.namespace}/{deployment['metadata']['name']}",
        DEPLOYMENT_UID: deployment["metadata"]["uid"],
        **_for_autoheal(place.timers, pod.spec),
    }


def _for_autoheal(timers: Timers, spec: PodSpec) -> dict[str, str]:
    if not timers.autoheal:
        return {}
    if not timers.equal:
        return {AUTOHEAL: "true"}
    return {AUTOHEAL: "true", STOP_TIMEOUT: f"{grace_s(spec, spec.containers[0], StopCause.LIVENESS, None):.0f}"}


def _user(spec: PodSpec, container: Container) -> str:
    own, shared = container.security_context, spec.security_context
    users = [item.run_as_user for item in (own, shared) if item is not None and item.run_as_user is not None]
    groups = [item.run_as_group for item in (own, shared) if item is not None and item.run_as_group is not None]
    if not users:
        return ""
    return f"{users[0]}:{groups[0]}" if groups else str(users[0])


def _mounts(spec: PodSpec, container: Container, volumes: Mapping[str, str]) -> tuple[Mount, ...]:
    kinds = {volume.name: volume for volume in spec.volumes}
    found = []
    for wanted in container.volume_mounts:
        volume = kinds.get(wanted.name)
        if wanted.name in volumes:
            source = f"{volumes[wanted.name]}/{wanted.sub_path}" if wanted.sub_path else volumes[wanted.name]
            found.append(Mount(wanted.mount_path, source, read_only=True))
        elif volume is not None and volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            found.append(Mount(wanted.mount_path, read_only=wanted.read_only))
    return tuple(found)


def _anonymous(spec: PodSpec, container: Container) -> tuple[str, ...]:
    """emptyDirs on disk: an anonymous volume stays through restarts and goes with its container."""
    on_disk = {volume.name for volume in spec.volumes
               if volume.empty_dir is not None and volume.empty_dir.medium != "Memory"}
    return tuple(wanted.mount_path for wanted in container.volume_mounts if wanted.name in on_disk)


# --- what there are no words for


def left_out(deployment: Mapping[str, Any], timers: Timers) -> tuple[str, ...]:
    """What of a Deployment plain Docker (and autoheal, where it is on) cannot do, each in one line."""
    spec = deployment["spec"]
    template = spec["template"]
    pod = PodSpec.model_validate(template["spec"])
    if not pod.containers:
        return ()
    container = pod.containers[0]
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    found = [*_of_updates(spec), *_of_pod(pod), *_of_volumes(pod)]
    found += [f"container {item.name}: only the first container of a pod is run" for item in pod.containers[1:]]
    found += [f"initContainer {item.name}: not run" for item in pod.init_containers]
    if container.lifecycle is not None:
        hooks = [name for name, hook in (("postStart", container.lifecycle.post_start),
                                         ("preStop", container.lifecycle.pre_stop)) if hook is not None]
        found += [f"lifecycle.{name}: not run" for name in hooks]
    return (*found, *health_check(container, annotations, graceful=timers.autoheal and timers.equal)[1],
            *_of_routing(container))


def _of_updates(spec: Mapping[str, Any]) -> list[str]:
    found = []
    if (spec.get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
        found.append(f"strategy RollingUpdate: {_STRATEGY}")
    if spec.get("minReadySeconds"):
        found.append("minReadySeconds: ready is available")
    if spec.get("paused"):
        found.append("paused: the new template waits for the next change that is not paused")
    return found


def _of_pod(pod: PodSpec) -> list[str]:
    named = (
        ("affinity", pod.affinity is not None), ("nodeSelector", bool(pod.node_selector)),
        ("tolerations", bool(pod.tolerations)), ("topologySpreadConstraints", bool(pod.topology_spread_constraints)),
        ("readinessGates", bool(pod.readiness_gates)), ("priorityClassName", bool(pod.priority_class_name)),
    )
    where = [f"{name}: there is one engine" if name in ("affinity", "nodeSelector", "tolerations",
                                                        "topologySpreadConstraints") else f"{name}: unknown to Docker"
             for name, given in named if given]
    groups = pod.security_context
    if groups is not None and (groups.fs_group is not None or groups.supplemental_groups):
        where.append("securityContext: fsGroup and supplementalGroups are not given")
    return where


def _of_volumes(pod: PodSpec) -> list[str]:
    found = []
    for volume in pod.volumes:
        if volume.persistent_volume_claim is not None:
            found.append(f"volume {volume.name}: a PersistentVolumeClaim is not mounted")
        elif is_projection(volume):
            found.append(f"volume {volume.name}: its files stay as they were when the container was made")
        elif volume.empty_dir is None:
            found.append(f"volume {volume.name}: of a kind that is not mounted")
    return found


def _of_routing(container: Container) -> list[str]:
    probed = container.liveness_probe is not None or container.readiness_probe is not None
    return ["readiness: Docker's DNS names every container that runs, healthy or not"] if probed else []
