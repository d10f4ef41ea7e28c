"""What plain Docker is told of a Deployment beyond its container, and what of it there are no words for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.api.core_v1 import Container, PodSpec
from testbed.core.projections import is_projection
from testbed.core.termination import StopCause, grace_s
from testbed.supervisors.compose.timers import Timers
from testbed.supervisors.health import health_check

AUTOHEAL = "autoheal"  # label: docker-autoheal looks after those that have it
STOP_TIMEOUT = "autoheal.stop.timeout"  # label: seconds of grace of its restarts, instead of its usual ones
_STRATEGY = "docker compose up stops every replica before the new ones start"


def autoheal_labels(timers: Timers, deployment: Mapping[str, Any]) -> dict[str, str]:
    """Of a container that autoheal is to look after; none where it is off."""
    if not timers.autoheal:
        return {}
    if not timers.equal:
        return {AUTOHEAL: "true"}
    spec = PodSpec.model_validate(deployment["spec"]["template"]["spec"])
    return {AUTOHEAL: "true", STOP_TIMEOUT: f"{grace_s(spec, spec.containers[0], StopCause.LIVENESS, None):.0f}"}


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
