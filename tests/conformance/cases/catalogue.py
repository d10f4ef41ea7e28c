"""The conformance cases: id and upstream's name of the test, as in Kubernetes 1.32 (test/e2e, test/e2e_node).

Numbers have gaps: it is a selection. PS-* are PR-* with the probed container as a restartable init container.
"""

from __future__ import annotations

CATALOGUE: dict[str, str] = {
    "PR-01": "with readiness probe should not be ready before initial delay and never restart",
    "PR-02": "with readiness probe that fails should never be ready and never restart",
    "PR-03": "should be restarted with a exec 'cat /tmp/health' liveness probe",
    "PR-04": "should not be restarted with a exec 'cat /tmp/health' liveness probe",
    "PR-05": "should be restarted with a /healthz http liveness probe",
    "PR-06": "should not be restarted with a tcp:8080 liveness probe",
    "PR-07": "should have monotonically increasing restart count",
    "PR-08": "should not be restarted with a /healthz http liveness probe",
    "PR-09": "should be restarted with an exec liveness probe with timeout",
    "PR-10": "should not be ready with an exec readiness probe timeout",
    "PR-11": "should be restarted with a failing exec liveness probe that took longer than the timeout",
    "PR-12": "should be restarted with a local redirect http liveness probe",
    "PR-14": "should be restarted startup probe fails",
    "PR-15": "should not be restarted by liveness probe because startup probe delays it",
    "PR-16": "should be restarted by liveness probe after startup probe enables it",
    "PR-18": "should override timeoutGracePeriodSeconds when LivenessProbe field is set",
    "PR-19": "should override timeoutGracePeriodSeconds when StartupProbe field is set",
    "PR-20": "should not be restarted with a GRPC liveness probe",
    "PR-21": "should be restarted with a GRPC liveness probe",
    "PR-23": "should mark readiness on pods to false and disable liveness probes while pod is in progress of "
        "terminating",
    "PS-01": "sidecar: with readiness probe should not be ready before initial delay and never restart",
    "PS-02": "sidecar: with readiness probe that fails should never be ready and never restart",
    "PS-03": "sidecar: should be restarted with a exec 'cat /tmp/health' liveness probe",
    "PS-04": "sidecar: should not be restarted with a exec 'cat /tmp/health' liveness probe",
    "PS-05": "sidecar: should be restarted with a /healthz http liveness probe",
    "PS-06": "sidecar: should not be restarted with a tcp:8080 liveness probe",
    "PS-07": "sidecar: should have monotonically increasing restart count",
    "PS-08": "sidecar: should not be restarted with a /healthz http liveness probe",
    "PS-09": "sidecar: should be restarted with an exec liveness probe with timeout",
    "PS-10": "sidecar: should not be ready with an exec readiness probe timeout",
    "PS-11": "sidecar: should be restarted with a failing exec liveness probe that took longer than the timeout",
    "PS-12": "sidecar: should be restarted with a local redirect http liveness probe",
    "PS-14": "sidecar: should be restarted startup probe fails",
    "PS-15": "sidecar: should not be restarted by liveness probe because startup probe delays it",
    "PS-16": "sidecar: should be restarted by liveness probe after startup probe enables it",
    "PS-18": "sidecar: should override timeoutGracePeriodSeconds when LivenessProbe field is set",
    "PS-19": "sidecar: should override timeoutGracePeriodSeconds when StartupProbe field is set",
    "PS-20": "sidecar: should not be restarted with a GRPC liveness probe",
    "PS-21": "sidecar: should be restarted with a GRPC liveness probe",
    "PS-23": "sidecar: should mark readiness on pods to false and disable liveness probes while pod is in "
        "progress of terminating",
    "LH-01": "should execute poststart exec hook properly",
    "LH-02": "should execute prestop exec hook properly",
    "LH-03": "should execute poststart http hook properly",
    "LH-04": "should execute prestop http hook properly",
    "LH-05": "should execute poststart / prestop https hook properly (2 tests)",
    "LH-06": "same six under 'Restartable Init Container Lifecycle Hook'",
    "LH-07": "valid prestop hook using sleep action",
    "LH-09": "ignore terminated container",
    "LH-10": "prestop hook using sleep action with zero duration",
    "LH-11": "should call prestop when killing a pod; graceful pod terminated should wait until preStop hook "
        "completes the process",
    "LH-12": "should respect termination grace period seconds; … with long-running preStop hook",
    "LH-13": "should call the container's preStop hook and terminate it if its startup / liveness probe fails (2 "
        "tests)",
    "RT-02": "should report termination message if TerminationMessagePath is set (root; non-root at custom path)",
    "RT-03": "… from log output if TerminationMessagePolicy FallbackToLogsOnError is set",
    "RT-04": "… as empty when pod succeeds and FallbackToLogsOnError is set; … from file when pod succeeds …",
    "RT-05": "should not be able to pull image from invalid registry; should be able to pull image",
    "RT-06": "should have an terminated reason (kubelet.go)",
    "RT-07": "should have their auto-restart back-off timer reset on image update",
    "RT-08": "should cap back-off at MaxContainerBackOff",
    "RT-09": "Container restart backs off.",
    "RT-10": "Alternate restart backs off.",
    "RT-11": "The containers terminated by OOM killer should have the reason set to OOMKilled",
    "RT-13": "container_restart_policy.go (5 tests: rule match, rule mismatch, container Never, container Always, "
        "pod-level fallback)",
    "RT-14": "RestartAllContainers (5 tests)",
    "IC-01": "should invoke init containers on a RestartNever pod",
    "IC-02": "should invoke init containers on a RestartAlways pod",
    "IC-04": "should not start app containers and fail the pod if init containers fail on a RestartNever pod",
    "IC-05": "should launch init container serially before a regular container",
    "IC-06": "should run Init container to completion before call to PostStart of regular container; should not "
        "launch second container before PostStart of the …",
    "IC-07": "shouldn't restart init containers upon regular container restart",
    "IC-08": "restartable init ordering block (7 tests: first init to completion before first sidecar … both "
        "sidecars and regular run together)",
    "IC-09": "should launch restartable init containers serially considering the startup probe; should call … "
        "preStop hook and not launch next container if the …",
    "IC-10": "Should begin initializing the pod, restartPolicy=Always / OnFailure / Never",
    "IC-12": "should call sidecar container PreStop hook simultaneously; should terminate sidecars simultaneously "
        "if prestop doesn't exit",
    "IC-14": "should not hang in termination if terminated during initialization; should restart the containers "
        "in right order after the node reboot",
    "PD-01": "should be submitted and removed",
    "PD-02": "should be updated; should patch a pod status; should run through the lifecycle of Pods and "
        "PodStatus; should delete a collection of pods",
    "PD-04": "should be submitted and removed (Delete Grace Period)",
    "PD-05": "pod with negative grace period",
    "PD-06": "should be set on Pods with matching resource requests and limits for memory and cpu",
    "PD-07": "should never report success for a pending container; should never report container start when an "
        "init container fails",
    "PD-08": "should not create extra sandbox if all containers are done; evicted pods should be terminal",
    "PD-09": "a pod without / with init containers should report all conditions set in expected order after the "
        "pod is up",
    "DP-01": "deployment reaping should cascade to its replica sets and pods",
    "DP-02": "RollingUpdateDeployment should delete old pods and create new ones",
    "DP-03": "RecreateDeployment should delete old pods and create new ones",
    "DP-04": "deployment should delete old replica sets",
    "DP-07": "test Deployment ReplicaSet orphaning and adoption regarding controllerRef",
    "DP-08": "Deployment should have a working scale subresource",
    "DP-10": "should not disrupt a cloud load-balancer's connectivity during rollout",
    "DP-11": "should run the lifecycle of a Deployment; should validate Deployment Status endpoints",
    "DP-12": "undo should rollback and update deployment env",
    "RS-01": "should serve a basic image on each replica with a public image",
    "RS-02": "should surface a failure condition on a common issue like exceeded quota",
    "RS-04": "Replicaset should have a working scale subresource; Replace and Patch tests; list/delete "
        "collection; Status endpoints (4 tests)",
    "SS-01": "should provide basic identity",
    "SS-02": "should adopt matching orphans and release non-matching pods",
    "SS-03": "should not deadlock when a pod's predecessor fails",
    "SS-04": "should perform rolling updates and roll backs of template modifications",
    "SS-06": "… for partiton1 and delete pod-0 without / with failing container",
    "SS-07": "should implement legacy replacement when the update strategy is OnDelete",
    "SS-09": "Burst scaling should run to completion even with unhealthy pods",
    "SS-11": "AvailableReplicas should get updated accordingly when MinReadySeconds is enabled",
    "SS-12": "should delete PVCs with a WhenDeleted policy / with a OnScaledown policy; PVC should be recreated "
        "when pod is pending due to missing PVC",
    "SS-13": "Setting / Increasing / Decreasing / Removing .start.ordinal (4 tests)",
    "SS-14": "should have a working scale subresource; list, patch and delete a collection; Status endpoints",
    "DS-01": "should run and stop simple daemon",
    "DS-02": "should run and stop complex daemon (nodeSelector; also node affinity)",
    "DS-03": "should retry creating failed daemon pods",
    "DS-04": "should not update pod when spec was updated and update strategy is OnDelete",
    "DS-05": "should update pod when spec was updated and update strategy is RollingUpdate",
    "DS-07": "should surge pods onto nodes when spec was updated and update strategy is RollingUpdate",
    "DS-08": "list/delete collection; verify changes to a daemon set status",
    "JB-01": "should run a job to completion when tasks succeed",
    "JB-03": "should fail to exceed backoffLimit",
    "JB-04": "should fail when exceeds active deadline",
    "JB-05": "should allow to use the pod failure policy on exit code to fail the job early",
    "JB-07": "should not create pods when created in suspend state; should delete pods when suspended",
    "JB-08": "should recreate pods only after they have failed if pod replacement policy is set to Failed",
    "JB-09": "should create pods for an Indexed job with completion indexes and specified hostname",
    "JB-11": "should execute all indexes despite some failing when using backoffLimitPerIndex; … exceeds "
        "maxFailedIndexes; … FailIndex action",
    "JB-12": "should remove pods when job is deleted; should delete a job (C); should adopt matching orphans and "
        "release non-matching pods (C)",
    "JB-13": "should update the status ready field; should allow to delegate reconciliation to external "
        "controller; apply changes to status / lifecycle (C)",
    "JB-14": "job should be deleted once it finishes after TTL seconds",
    "CJ-01": "should schedule multiple jobs concurrently",
    "CJ-03": "should replace jobs when ReplaceConcurrent",
    "CJ-04": "more than 100 missed schedule; delete successful/failed finished jobs with limit; remove deleted "
        "from active list; timezone; scheduled-timestamp …",
    "PB-01": "should observe PodDisruptionBudget status updated",
    "PB-02": "… status is not updated for unmanaged pods",
    "PB-03": "evictions: no PDB; enough pods, absolute; enough pods, replicaSet, percentage; maxUnavailable allow "
        "single eviction, percentage",
    "PB-04": "evictions: too few pods, absolute; too few pods, replicaSet, percentage; maxUnavailable deny "
        "evictions, integer",
    "PB-06": "should evict ready pods with Default / IfHealthyBudget / AlwaysAllow UnhealthyPodEvictionPolicy (3)",
    "PB-08": "create / update / patch / delete; update and patch status; list and delete a collection",
    "HP-01": "Should scale from 1 pod to 3 pods and then from 3 pods to 5 pods (utilization; value; container "
        "resource; RS; RC)",
    "HP-02": "Should scale from 5 pods to 3 pods and then from 3 pods to 1 pod",
    "HP-03": "Should scale from 1 pod to 2 pods; Should scale from 2 pods to 1 pod",
    "HP-04": "… with an idle sidecar container; Should not scale up on a busy sidecar with an idle application",
    "HP-06": "should scale up only after the stabilization period",
    "HP-07": "shouldn't scale up / shouldn't scale down",
    "HP-08": "should scale up / down no more than given number of Pods per minute",
    "HP-10": "should keep recommendation within the range over two stabilization windows; … with stabilization "
        "window and pod limit rate",
    "SV-01": "should serve a basic endpoint from pods; should serve multiport endpoints from pods",
    "SV-02": "should create Endpoints and EndpointSlices for Pods matching a Service; … with a selector specified",
    "SV-03": "should create endpoints for unready pods",
    "SV-05": "should fallback to terminating endpoints when there are no ready endpoints with "
        "internalTrafficPolicy=Cluster (also external, Local variants: 4)",
    "SV-07": "should have session affinity work for service with type clusterIP; should be able to switch session "
        "affinity",
    "SV-08": "should have session affinity timeout work for service with type clusterIP",
    "SV-09": "should be able to up and down services; should work after the service has been recreated; should be "
        "updated after adding or deleting ports",
    "SV-10": "should allow pods to hairpin back to themselves through services",
    "NL-01": "evicts pods from tainted nodes",
    "NL-02": "doesn't evict pod with tolerations from tainted nodes",
    "NL-05": "pods evicted from tainted nodes have pod disruption condition",
    "NL-07": "should run through the lifecycle of a node",
    "NL-08": "the kubelet should create and update a lease in the kube-node-lease namespace; should have "
        "OwnerReferences set",
    "NL-09": "the kubelet should report node status infrequently",
    "NL-10": "each node by ordering clean / unclean reboot, kernel panic, NIC off 120 s, dropping all inbound / "
        "outbound packets 120 s (6 tests, …",
    "NL-11": "node lease should be deleted when corresponding node is deleted; should be deleted on API server if "
        "it doesn't exist in the cloud provider",
    "NL-12": "DaemonRestart: controller manager / scheduler / kubelet restart (test/e2e/apps/daemon_restart.go)",
    "SC-01": "validates resource limits of pods that are allowed to run",
    "SC-02": "validates that NodeSelector is respected if (not) matching; required NodeAffinity; taints-tolerations",
    "SC-03": "validates 4 pods with MaxSkew=1 are evenly distributed into 2 nodes",
    "SC-04": "validates Pods with non-empty schedulingGates are blocked on scheduling",
    "SC-06": "validates pod disruption condition is added to the preempted pod; runs ReplicaSets to verify "
        "preemption running path",
    "SC-07": "Pod should be scheduled to node that don't match the PodAntiAffinity terms; preferably … tolerate",
    "SC-08": "should create a LimitRange with defaults and ensure pod has those defaults applied",
    "SC-09": "should create a ResourceQuota and capture the life of a pod (and service, secret, configMap, RC, "
        "RS); terminating / best effort scopes",
    "SC-11": "should observe add, update, and delete watch notifications; start from a specific resource version; "
        "restart watching; deletion if it stops meeting …",
    "SC-12": "should return chunks of results for list calls; should return pod details (Table); should detect "
        "unknown and duplicate fields of a typed object; …",
    "SC-13": "apply.go (create if absent; remove owned field; keep co-owned field; force ignores conflicts; "
        "subresources)",
    "SC-14": "kubectl.go / logs.go / exec basics: scale rc, apply new configuration, diff, dry-run, describe, "
        "label, set image, taint, logs filters, exec exit …",
}

#: Cases that are asked of nobody, each with the reason.
LEFT_OUT: dict[str, str] = {
    "RT-13": "optional: container-level restart rules came with Kubernetes 1.36",
    "RT-14": "optional: RestartAllContainers came with Kubernetes 1.36",
    "SC-11": "of the API alone: watches",
    "SC-12": "of the API alone: chunks, Tables, discovery",
    "SC-13": "of the API alone: server-side apply is not served",
    "SC-14": "of kubectl: tests/clients runs the real ones",
}
