"""Timing constants of the cluster, by profile.

``kubernetes`` has upstream's constants exactly. ``fast`` scales *defaults of the cluster's own machinery only*, never a
value written in a manifest, and leaves probes alone. All in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Sources: kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go, cmd/kube-controller-manager, kubelet.go."""

    name: str
    lease_renew_interval_s: float  # kubelet: a quarter of the lease duration
    lease_duration_s: float
    node_status_interval_s: float
    node_monitor_period_s: float
    node_monitor_grace_s: float
    default_toleration_s: int  # of not-ready and unreachable, where a pod names none
    crash_backoff_initial_s: float
    crash_backoff_max_s: float
    crash_backoff_reset_s: float
    image_backoff_initial_s: float
    image_backoff_max_s: float
    job_backoff_initial_s: float  # of a failed pod's replacement (DefaultJobPodFailureBackOff)
    job_backoff_max_s: float  # MaxJobPodFailureBackOff
    daemon_backoff_initial_s: float  # of failed pods of a DaemonSet, for each node
    daemon_backoff_max_s: float
    relist_interval_s: float
    resync_interval_s: float
    housekeeping_interval_s: float
    node_eviction_rate_per_s: float  # NoExecute taints of lost nodes (node-eviction-rate)
    secondary_eviction_rate_per_s: float  # the same in a large zone of which most is down
    pod_gc_period_s: float
    pod_gc_quarantine_s: float  # how long a node must be gone before its pods are collected
    eviction_monitor_s: float  # how often a node looks at what its pods use
    eviction_memory_bytes: int  # eviction-hard memory.available
    pressure_hold_s: float  # eviction-pressure-transition-period
    autoscaler_sync_s: float  # horizontal-pod-autoscaler-sync-period
    force_detach_s: float  # of volumes of an unheard node without pods (attachdetach: maxWaitForUnmountDuration)


KUBERNETES = Profile(
    name="kubernetes", lease_renew_interval_s=10.0, lease_duration_s=40.0, node_status_interval_s=300.0,
    node_monitor_period_s=5.0, node_monitor_grace_s=50.0, default_toleration_s=300, crash_backoff_initial_s=10.0,
    crash_backoff_max_s=300.0, crash_backoff_reset_s=600.0, image_backoff_initial_s=10.0, image_backoff_max_s=300.0,
    job_backoff_initial_s=10.0, job_backoff_max_s=600.0, daemon_backoff_initial_s=1.0, daemon_backoff_max_s=900.0,
    relist_interval_s=1.0, resync_interval_s=60.0, housekeeping_interval_s=2.0,
    node_eviction_rate_per_s=0.1, secondary_eviction_rate_per_s=0.01, pod_gc_period_s=20.0, pod_gc_quarantine_s=40.0,
    eviction_monitor_s=10.0, eviction_memory_bytes=100 * 1024**2, pressure_hold_s=300.0, autoscaler_sync_s=15.0,
    force_detach_s=360.0,
)

FAST = Profile(
    name="fast", lease_renew_interval_s=0.5, lease_duration_s=2.0, node_status_interval_s=10.0,
    node_monitor_period_s=0.25, node_monitor_grace_s=1.5, default_toleration_s=2, crash_backoff_initial_s=1.0,
    crash_backoff_max_s=30.0, crash_backoff_reset_s=60.0, image_backoff_initial_s=1.0, image_backoff_max_s=30.0,
    job_backoff_initial_s=1.0, job_backoff_max_s=30.0, daemon_backoff_initial_s=0.5, daemon_backoff_max_s=30.0,
    relist_interval_s=1.0, resync_interval_s=60.0, housekeeping_interval_s=2.0,
    node_eviction_rate_per_s=4.0, secondary_eviction_rate_per_s=0.4, pod_gc_period_s=1.0, pod_gc_quarantine_s=2.0,
    eviction_monitor_s=1.0, eviction_memory_bytes=100 * 1024**2, pressure_hold_s=5.0, autoscaler_sync_s=2.0,
    force_detach_s=5.0,
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (FAST, KUBERNETES)}
