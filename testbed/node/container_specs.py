"""What is asked of the engine for a sandbox and for a container: an allow-list, never a manifest's raw wish.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go generateContainerConfig, pkg/kubelet/network/dns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from testbed.api import labels
from testbed.api.core_v1 import Container, Pod
from testbed.api.meta import quantity
from testbed.core.environment import MissingConfig, command_and_args
from testbed.core.resources import cpu_quota_us, cpu_shares, memory_limit_bytes, oom_score_adj
from testbed.node.facts import NodeFacts
from testbed.node.record import CREATE_HASH, SANDBOX_ID
from testbed.runtime.containers import ContainerSpec, Limits, Mount

# Docker's own default set; of it, what ordinary servers do not need is dropped unless a manifest asks for it.
DEFAULT_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})
DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT")
PIDS_LIMIT = 4096
INIT = "testbed.io/init"  # annotation "true": an init process reaps what exec probes and the application leave behind
CLUSTER = "testbed.io/cluster"  # uid of the namespace kube-system: which database a pod came from


class Refused(MissingConfig):
    """The manifest asks for a right that containers here do not get."""


def spec_hash(container: Container) -> str:
    """Of what the manifest says of a container; a change of it restarts the container."""
    text = json.dumps(container.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sandbox_spec(
    facts: NodeFacts, pod: Pod, attempt: int, address: str, mounts: tuple[Mount, ...], cluster: str,
    in_use: Mapping[str, str] = MappingProxyType({}),
) -> ContainerSpec:
    """``in_use``: a label that says which volumes the pod uses."""
    meta = pod.metadata
    cluster_dns = pod.spec.dns_policy in ("ClusterFirst", "ClusterFirstWithHostNet")
    domain = facts.cluster_domain
    return ContainerSpec(
        name=container_name(facts, pod, "POD", attempt), image=facts.pause_image,
        labels=_labels(facts, pod, labels.ROLE_SANDBOX, "POD", attempt) 
        | {labels.POD_IP: address, CLUSTER: cluster, **in_use},
        network=facts.network, address=address, hostname=(pod.spec.hostname or meta.name)[:63],
        dns_servers=facts.dns_servers if cluster_dns else (),
        dns_search=(f"{meta.namespace}.svc.{domain}", f"svc.{domain}", domain) if cluster_dns else (),
        dns_options=("ndots:5",) if cluster_dns else (), mounts=mounts, cgroup_parent=facts.cgroup,
        limits=Limits(cpu_shares=2, pids=64), cap_drop=("ALL",), read_only_root=True,
        ipc_mode="shareable",
    )


def container_spec(
    facts: NodeFacts, pod: Pod, container: Container, attempt: int, *, sandbox: str, env: tuple[tuple[str, str], ...],
    mounts: tuple[Mount, ...], image_user: str = "", lowest_oom_score: int = -1000,
) -> ContainerSpec:
    """``lowest_oom_score``: an engine without CAP_SYS_RESOURCE cannot go below 0.

    Raises: Refused, MissingConfig.
    """
    security, pod_security = container.security_context, pod.spec.security_context
    check_allowed(pod, container, image_user, privileged=facts.allow_privileged)
    command, args = command_and_args(container, env)
    user = _first(security and security.run_as_user, pod_security and pod_security.run_as_user)
    group = _first(security and security.run_as_group, pod_security and pod_security.run_as_group)
    extra = set(pod_security.supplemental_groups) if pod_security else set()
    if pod_security and pod_security.fs_group is not None:
        extra.add(pod_security.fs_group)
    wanted = security.capabilities if security and security.capabilities else None
    add = tuple(_capability(name) for name in (wanted.add if wanted else ()))
    drop = tuple(_capability(name) for name in (wanted.drop if wanted else ()))
    spec = ContainerSpec(
        name=container_name(facts, pod, container.name, attempt), image=container.image,
        labels=_labels(facts, pod, labels.ROLE_CONTAINER, container.name, attempt)
        | {labels.SPEC_HASH: spec_hash(container), SANDBOX_ID: sandbox},
        command=command, args=args, env=env, working_dir=container.working_dir,
        user=_user(user, group, image_user),
        groups=tuple(str(item) for item in sorted(extra)), network=f"container:{sandbox}", mounts=mounts,
        cgroup_parent=facts.cgroup, limits=container_limits(facts, container),
        oom_score_adj=max(oom_score_adj(pod.spec, container, int(quantity(facts.memory))), lowest_oom_score),
        cap_add=add,
        cap_drop=tuple(sorted({*DROPPED, *drop} - set(add))),
        read_only_root=bool(security and security.read_only_root_filesystem),
        privileged=bool(security and security.privileged),
        security_opt=() if security and security.privileged else ("no-new-privileges",),
        stdin=container.stdin, tty=container.tty, ipc_mode=f"container:{sandbox}",
        init=pod.metadata.annotations.get(INIT) == "true",
    )
    return replace(spec, labels={**spec.labels, CREATE_HASH: create_hash(spec)})


def container_limits(facts: NodeFacts, container: Container) -> Limits:
    """What the kernel holds it to."""
    return Limits(
        cpu_shares=cpu_shares(container),
        cpu_quota_us=cpu_quota_us(container, quantity(facts.cpu) if facts.limited else Decimal(0)),
        memory_bytes=memory_limit_bytes(container, int(quantity(facts.memory))), pids=PIDS_LIMIT,
    )


def check_allowed(pod: Pod, container: Container, image_user: str, *, privileged: bool = False) -> None:
    """``privileged``: whether the cluster was started so that containers may be. Raises: Refused, with the reason in
    words."""
    security, pod_security = container.security_context, pod.spec.security_context
    if security is not None and security.privileged and not privileged:
        raise Refused(f"container {container.name}: privileged containers are refused on this node "
                      "(a cluster started with --allow-privileged has them)")
    if pod.spec.host_network:
        raise Refused("hostNetwork is refused: a node here is a share of your own machine")
    capabilities = security.capabilities.add if security is not None and security.capabilities else ()
    for name in capabilities:
        if _capability(name) not in DEFAULT_CAPABILITIES and not privileged:
            raise Refused(f"container {container.name}: capability {name} is refused on this node")
    non_root = _first(security and security.run_as_non_root, pod_security and pod_security.run_as_non_root)
    if non_root:
        user = _first(security and security.run_as_user, pod_security and pod_security.run_as_user)
        runs_as = str(user) if user is not None else image_user.partition(":")[0]
        if runs_as in ("", "0", "root"):
            raise Refused(f"container {container.name} has runAsNonRoot and image will run as root")


def container_name(facts: NodeFacts, pod: Pod, name: str, attempt: int) -> str:
    meta = pod.metadata
    return f"testbed-{facts.instance_id}_{name}_{meta.name}_{meta.namespace}_{meta.uid}_{attempt}"


def create_hash(spec: ContainerSpec) -> str:
    return hashlib.sha256(json.dumps(asdict(spec), sort_keys=True, default=str).encode()).hexdigest()[:16]


def termination_log(facts: NodeFacts, uid: str, name: str, attempt: int) -> Path:
    return facts.directory / "pods" / uid / "termination" / f"{name}-{attempt}"


def _labels(facts: NodeFacts, pod: Pod, role: str, name: str, attempt: int) -> dict[str, str]:
    meta = pod.metadata
    own: Mapping[str, str] = {
        labels.INSTANCE: facts.instance_id, labels.INSTANCE_NAME: facts.instance_name, labels.ROLE: role,
        labels.NODE: facts.name, labels.POD_NAMESPACE: meta.namespace, labels.POD_NAME: meta.name,
        labels.POD_UID: meta.uid, labels.CONTAINER_NAME: name, labels.ATTEMPT: str(attempt),
    }
    return dict(own)


def _user(user: int | None, group: int | None, image_user: str) -> str:
    """Empty: as the image says. A group without a user is that of the image's own user."""
    if user is None and group is None:
        return ""
    name = str(user) if user is not None else image_user.partition(":")[0] or "0"
    return name if group is None else f"{name}:{group}"


def _capability(name: str) -> str:
    upper = name.upper()
    return upper.removeprefix("CAP_")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
