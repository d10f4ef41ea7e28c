"""What a failed pod means for its Job: podFailurePolicy, and how long its replacement waits.

Source: kubernetes pkg/controller/job/{pod_failure_policy,backoff_utils}.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from testbed.api.batch_v1 import PodFailurePolicy, PodFailureRule
from testbed.api.core_v1 import Pod
from testbed.core.backoff import BackoffRule


@dataclass(frozen=True)
class Verdict:
    """``action``: Count, Ignore, FailIndex or FailJob; ``message`` says which rule and why."""

    action: str = "Count"
    message: str = ""


def judge(policy: PodFailurePolicy | None, pod: Pod) -> Verdict:
    """By the first rule that matches a pod that failed; no rule: it is counted."""
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        if (reason := _matches(rule, pod)) is not None:
            return Verdict(rule.action, f"{reason} matching {rule.action} rule at index {number}")
    return Verdict()


def _matches(rule: PodFailureRule, pod: Pod) -> str | None:
    if rule.on_exit_codes is not None:
        codes = rule.on_exit_codes
        for item in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            ended = item.state.terminated
            if ended is None or ended.exit_code == 0 or codes.container_name not in ("", item.name):
                continue
            if (ended.exit_code in codes.values) is (codes.operator == "In"):
                return f"Container {item.name} for pod {pod.key} failed with exit code {ended.exit_code}"
        return None
    for pattern in rule.on_pod_conditions:
        condition = pod.condition(pattern.type)
        if condition is not None and condition.status == pattern.status:
            return f"Pod {pod.key} has condition {pattern.type}"
    return None


def finished_at(pod: Pod, now: datetime) -> datetime:
    """When its last container ended; else when it stopped being ready, was told to go, or was made."""
    ends = [
        item.state.terminated.finished_at for item in pod.status.container_statuses
        if item.state.terminated is not None and item.state.terminated.finished_at is not None
    ]
    if ends and len(ends) == len(pod.status.container_statuses):
        return max(ends)
    ready = pod.condition("Ready")
    if ready is not None and ready.status == "False" and ready.last_transition_time is not None:
        return ready.last_transition_time
    if pod.metadata.deletion_timestamp is not None:
        return pod.metadata.deletion_timestamp - timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0)
    return pod.metadata.creation_timestamp or now


def replacement_wait_s(
    failed: Sequence[Pod], succeeded: Sequence[Pod], now: datetime, rule: BackoffRule
) -> float:
    """Seconds until the next pod may be made: counted from the last failure, doubled by each since the last success."""
    last_success = max((finished_at(pod, now) for pod in succeeded), default=None)
    ends = [end for pod in failed if (end := finished_at(pod, now)) and (last_success is None or end > last_success)]
    if not ends:
        return 0.0
    return max(rule.delay_s(len(ends)) - (now - max(ends)).total_seconds(), 0.0)
