"""Profile ``kubernetes`` is upstream's constants, and so are the times that no profile scales."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest

from testbed.controlplane import pod_controller, quota, scheduler
from testbed.core import autoscaling, cronjobs, disruption, nodes, termination
from testbed.core.backoff import BackoffRule
from testbed.core.profile import FAST, KUBERNETES, PROFILES

UPSTREAM = {
    "name": "kubernetes",
    "lease_renew_interval_s": 10.0,  # kubelet: nodeLeaseDurationSeconds / 4
    "lease_duration_s": 40.0,  # kubelet: nodeLeaseDurationSeconds
    "node_status_interval_s": 300.0,  # kubelet: nodeStatusReportFrequency
    "node_monitor_period_s": 5.0,  # kube-controller-manager: --node-monitor-period
    "node_monitor_grace_s": 50.0,  # --node-monitor-grace-period, 40 s before 1.32
    "default_toleration_s": 300,  # kube-apiserver: --default-not-ready-toleration-seconds
    "crash_backoff_initial_s": 10.0,  # kubelet.go: initialBackOff
    "crash_backoff_max_s": 300.0,  # kubelet.go: MaxCrashLoopBackOff
    "crash_backoff_reset_s": 600.0,  # kubelet.go: twice the maximum
    "image_backoff_initial_s": 10.0,  # kubelet.go: imageBackOffPeriod
    "image_backoff_max_s": 300.0,  # kubelet.go: MaxImageBackOff
    "job_backoff_initial_s": 10.0,  # job_controller.go: DefaultJobPodFailureBackOff
    "job_backoff_max_s": 600.0,  # job_controller.go: MaxJobPodFailureBackOff
    "daemon_backoff_initial_s": 1.0,  # daemonset: app/apps.go flowcontrol.NewBackOff(1 s, 15 min)
    "daemon_backoff_max_s": 900.0,
    "relist_interval_s": 1.0,  # kubelet.go: genericPlegRelistPeriod
    "resync_interval_s": 60.0,  # kubelet: syncFrequency
    "housekeeping_interval_s": 2.0,  # kubelet.go: housekeepingPeriod
    "node_eviction_rate_per_s": 0.1,  # --node-eviction-rate
    "secondary_eviction_rate_per_s": 0.01,  # --secondary-node-eviction-rate
    "pod_gc_period_s": 20.0,  # gc_controller.go: gcCheckPeriod
    "pod_gc_quarantine_s": 40.0,  # gc_controller.go: quarantineTime
    "eviction_monitor_s": 10.0,  # eviction_manager.go: monitoringInterval
    "eviction_memory_bytes": 100 << 20,  # kubelet: evictionHard memory.available
    "pressure_hold_s": 300.0,  # kubelet: evictionPressureTransitionPeriod
    "autoscaler_sync_s": 15.0,  # --horizontal-pod-autoscaler-sync-period
    "force_detach_s": 360.0,  # attach_detach_controller.go: ReconcilerMaxWaitForUnmountDuration
}


def test_profile_kubernetes_is_upstreams() -> None:
    assert asdict(KUBERNETES) == UPSTREAM


@pytest.mark.parametrize(("ours", "upstream"), [
    (termination.FLOOR_S, 2.0),  # kuberuntime: minimumGracePeriodInSeconds
    (termination.EVICTION_GRACE_S, 1.0),  # eviction_manager.go: immediateEvictionGracePeriodSeconds
    (disruption.DELETION_TIMEOUT, timedelta(minutes=2)),  # disruption.go: DeletionTimeout, stalePodDisruptionTimeout
    (autoscaling.DOWN_WINDOW_S, 300.0),  # --horizontal-pod-autoscaler-downscale-stabilization
    (cronjobs.AFTER_S, 0.1),  # cronjob utils.go: nextScheduleDelta
    (scheduler.BACKOFF_INITIAL_S, 1.0),  # podInitialBackoffSeconds
    (scheduler.BACKOFF_MAX_S, 10.0),  # podMaxBackoffSeconds
    (pod_controller.EXPECTATION_TIMEOUT_S, 300.0),  # controller_utils.go: ExpectationsTimeout
    (quota.RESYNC_S, 300.0),  # --resource-quota-sync-period
    (nodes.PARTIAL_DISRUPTION_SHARE, 0.55),  # --unhealthy-zone-threshold
])
def test_times_that_no_profile_scales_are_upstreams(ours: object, upstream: object) -> None:
    assert ours == upstream


def test_back_offs_are_the_profiles() -> None:
    jobs, daemons = BackoffRule.of_jobs(KUBERNETES), BackoffRule.of_daemons(KUBERNETES)
    assert (jobs.initial_s, jobs.max_s) == (10.0, 600.0)
    assert (daemons.initial_s, daemons.max_s, daemons.reset_s) == (1.0, 900.0, 1800.0)


def test_no_profile_is_slower_than_upstream() -> None:
    upstream = asdict(KUBERNETES)
    for name, value in asdict(FAST).items():
        if name.endswith("_per_s"):
            assert value >= upstream[name]
        elif name != "name":
            assert value <= upstream[name]
    assert set(PROFILES) == {"fast", "kubernetes"}
