"""A container of a Deployment's pod as plain Docker is given it, and Swarm for its tasks. Pure: manifest in, spec out.
"""

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
from testbed.node.container_specs import DROPPED, PIDS_LIMIT, check_allowed
from testbed.runtime.containers import Limits, Mount
from testbed.runtime.supervision import SupervisedSpec
from testbed.supervisors.health import PROGRAM, health_check

DEPLOYMENT = "testbed.io/deployment"  # label: namespace/name
DEPLOYMENT_UID = "testbed.io/deployment-uid"
REPLICA = "testbed.io/replica"  # label: Compose's container number, from 1
_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Place:
    """Where containers are made. ``check_file``: the program for health checks, on the engine's machine. ``cgroup``:
    their parent. ``dns_servers``: asked for names that Docker's own DNS does not know."""

    instance_id: str
    instance_name: str
    network: str
    node: str
    cgroup: str
    check_file: str
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
        dns_servers=place.dns_servers, dns_search=dns_search(meta.namespace) if place.dns_servers else (),
        read_only_root=bool(security and security.read_only_root_filesystem),
        anonymous_volumes=_anonymous(pod.spec, container), restart="always", health=check,
        stop_grace_s=pod.spec.termination_grace_period_seconds,
    )


def dns_search(namespace: str) -> tuple[str, ...]:
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
    }


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
