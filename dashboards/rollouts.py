"""The dashboard Rollouts: how far a new version has come, what holds it up, and whether its users notice."""

from __future__ import annotations

from typing import Any

from boards import board
from grafana_foundation_sdk.models import dashboard
from panels import GOOD_WHEN_FULL, GOOD_WHEN_ZERO, NO_COLOUR, WORTH_A_LOOK, alerted, graph, number, states
from queries import DEPLOYMENT, NAMESPACE, of, query
from shared import requests_by_outcome

NONE = "no Deployment"
BY = "by (namespace, deployment)"
SHOWN = "{{namespace}} {{deployment}}"


def rollouts() -> dashboard.Dashboard:
    return board(
        "testbed-rollouts", "Rollouts", "How far each Deployment has come with its newest version, what holds it up, "
        "and what clients meet meanwhile.", ("namespace", "deployment"),
        (("Now", now()), ("Progress", progress()), ("Versions", versions()),
         ("Other workloads and what bounds them", others())))


def _of(what: str, **labels: str) -> str:
    return of(f"kube_deployment_{what}", DEPLOYMENT, **labels)


def now() -> list[Any]:
    asked_for = f"sum({_of('spec_replicas')})"
    unseen = f"sum({_of('status_observed_generation')} < bool {_of('metadata_generation')})"
    return [
        number("Asked for", "Replicas that the Deployments ask for.", asked_for, steps=NO_COLOUR, none=NONE),
        number("Updated", "Replicas of the newest version, as part of those asked for.",
               f"sum({_of('status_replicas_updated')}) / {asked_for}", unit="percentunit", steps=GOOD_WHEN_FULL,
               none=NONE),
        number("Available", "Replicas that have been ready for minReadySeconds, as part of those asked for.",
               f"sum({_of('status_replicas_available')}) / {asked_for}", unit="percentunit", steps=GOOD_WHEN_FULL,
               none=NONE),
        number("Unavailable", "Replicas that are missing to what was asked for.",
               f"sum({_of('status_replicas_unavailable')})", steps=GOOD_WHEN_ZERO, none=NONE),
        number("Paused", "Deployments that are paused: a new template is not rolled out.",
               f"sum({_of('spec_paused')})", steps=WORTH_A_LOOK, none=NONE),
        number("Not yet seen", "Deployments whose newest change the controller has not looked at.", unseen,
               steps=WORTH_A_LOOK, none=NONE),
    ]


def progress() -> list[Any]:
    behind = f"({_of('status_replicas_updated')} < bool {_of('spec_replicas')})"
    old_left = f"({_of('status_replicas')} > bool {_of('status_replicas_updated')})"
    stalled = f"2 * {_of('status_condition', condition='Progressing', status='false')}"
    return [
        states("Rollouts", alerted(
            "Rolling out: not all replicas are of the newest version, or old ones are left. Stalled: no progress "
            "within progressDeadlineSeconds.", "KubeDeploymentRolloutStuck"),
               query(f"max {BY} ({stalled} or clamp_max({behind} + {old_left}, 1))", SHOWN),
               texts=("settled", "rolling out", "stalled"), none=NONE, span=12),
        states("Availability", "Condition Available: at least the smallest number of replicas that the update strategy "
               "allows is there.",
               query(f"max {BY} ({_of('status_condition', condition='Available', status='true')})", SHOWN),
               texts=("unavailable", "available"), none=NONE, span=12),
        graph("Replicas", "Of all Deployments chosen: asked for, of the newest version, ready, missing.",
              query(f"sum({_of('spec_replicas')})", "asked for"),
              query(f"sum({_of('status_replicas_updated')})", "updated"),
              query(f"sum({_of('status_replicas_ready')})", "ready"),
              query(f"sum({_of('status_replicas_unavailable')})", "unavailable"), none=NONE,
              states=("asked for", "updated", "ready", "unavailable")),
        requests_by_outcome(12),
    ]


def versions() -> list[Any]:
    owners = of("kube_replicaset_owner", NAMESPACE, 'owner_name=~"$deployment"', owner_kind="Deployment")
    replicas = f"sum by (namespace, replicaset) ({of('kube_replicaset_status_replicas', NAMESPACE)})"
    not_ready = of("kube_pod_status_ready", NAMESPACE, condition="false")
    return [
        graph("Replicas by ReplicaSet", "Each version of a Deployment is a ReplicaSet of its own.",
              query(f"({replicas} > 0) * on (namespace, replicaset) max by (namespace, replicaset) ({owners})",
                    "{{namespace}} {{replicaset}}"), stacked=True, span=8, none=NONE),
        graph("Containers by image", "Containers that exist, by the image they were made from.",
              query(f"count by (image) ({of('kube_pod_container_info', NAMESPACE)})", "{{image}}"), stacked=True,
              span=8, none="no container"),
        graph("Pods that are not ready", "Pods that do not answer yet or no more, by phase.",
              query(f"sum by (phase) ({of('kube_pod_status_phase', NAMESPACE)} * on (namespace, pod, uid) "
                    f"group_left () max by (namespace, pod, uid) ({not_ready}))", "{{phase}}"),
              stacked=True, span=8, none="no pod", states=("Running", "Pending", "Succeeded", "Failed", "Unknown")),
    ]


def others() -> list[Any]:
    def numbers_of(kind: str, **parts: str) -> list[Any]:
        """``parts``: the word in the legend -> the metric's name after the kind."""
        return [query(f"sum by (namespace, {kind}) ({of(f'kube_{kind}_{name}', NAMESPACE)})",
                      f"{{{{{kind}}}}} {word.replace('_', ' ')}") for word, name in parts.items()]

    return [
        graph("StatefulSets", "Replicas asked for, of the newest revision, ready.",
              *numbers_of("statefulset", asked_for="replicas", updated="status_replicas_updated",
                          ready="status_replicas_ready"),
              none="no StatefulSet", states=("asked for", "updated", "ready")),
        graph("DaemonSets", "Nodes that should have a pod, have one of the newest version, have a ready one.",
              *numbers_of("daemonset", asked_for="status_desired_number_scheduled",
                          updated="status_updated_number_scheduled", ready="status_number_ready"),
              none="no DaemonSet", states=("asked for", "updated", "ready")),
        graph("Autoscalers", "Replicas that each HorizontalPodAutoscaler wants, and its bounds.",
              *numbers_of("horizontalpodautoscaler", wanted="status_desired_replicas", least="spec_min_replicas",
                          most="spec_max_replicas"), none="no HorizontalPodAutoscaler"),
        graph("Disruptions allowed", "Pods that each PodDisruptionBudget lets be evicted now.",
              *numbers_of("poddisruptionbudget", allowed="status_pod_disruptions_allowed"),
              none="no PodDisruptionBudget"),
    ]
