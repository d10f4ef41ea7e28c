"""How much time a container gets to end by itself, and what counts against it.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go killContainer, setTerminationGracePeriod;
pkg/kubelet/pod_workers.go calculateEffectiveGracePeriod.
"""

from __future__ import annotations

from enum import StrEnum

from testbed.api.core_v1 import Container, PodSpec

FLOOR_S = 2.0  # every container gets at least this after its preStop hook (minimumGracePeriodInSeconds)

EVICTION_GRACE_S = 1.0  # kubernetes: pkg/kubelet/eviction/eviction_manager.go immediateEvictionGracePeriodSeconds


class StopCause(StrEnum):
    """Why a container is stopped."""

    DELETED = "deleted"
    STARTUP = "startup"
    LIVENESS = "liveness"
    CHANGED = "changed"
    SANDBOX = "sandbox"
    HOOK = "hook"
    ENDED = "ended"
    STRAY = "stray"
    EVICTED = "evicted"


RESTARTING = frozenset({StopCause.STARTUP, StopCause.LIVENESS, StopCause.CHANGED, StopCause.HOOK})


def grace_s(spec: PodSpec, container: Container | None, cause: StopCause, deletion_grace_s: int | None) -> float:
    """Seconds between the request to stop and SIGKILL, preStop included.

    An eviction by the node gives one second. Else the pod's deletion grace goes first, then the probe's own (only for
    a kill by that probe), then the pod's.
    """
    if cause is StopCause.EVICTED:
        return EVICTION_GRACE_S
    if deletion_grace_s is not None:
        return float(max(deletion_grace_s, 1))
    probe = None
    if container is not None and cause is StopCause.LIVENESS:
        probe = container.liveness_probe
    elif container is not None and cause is StopCause.STARTUP:
        probe = container.startup_probe
    if probe is not None and probe.termination_grace_period_seconds is not None:
        return float(probe.termination_grace_period_seconds)
    return float(max(spec.termination_grace_period_seconds, 0))


def after_hook_s(grace: float, hook_took_s: float) -> float:
    """Seconds between SIGTERM and SIGKILL when the preStop hook took ``hook_took_s`` of ``grace``."""
    return max(grace - hook_took_s, FLOOR_S)


def waits_for(spec: PodSpec, name: str) -> tuple[str, ...]:
    """The containers that must have ended, in a pod that ends, before this one is asked to: a sidecar waits for all
    regular containers and for the sidecar after it. Its preStop hook waits for nobody, and its grace runs meanwhile.

    Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_termination_order.go.
    """
    sidecars = [item.name for item in spec.init_containers if item.restart_policy == "Always"]
    if name not in sidecars:
        return ()
    following = sidecars[sidecars.index(name) + 1:][:1]
    return (*(item.name for item in spec.containers), *following)
