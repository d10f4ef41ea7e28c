"""How a Job counts, what it makes, and how it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from core_objects import NOON, ago, pod
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.api.batch_v1 import COMPLETION_INDEX, TRACKING, Job
from testbed.api.core_v1 import Pod
from testbed.core import job_indexes, jobs
from testbed.core.backoff import BackoffRule
from testbed.core.job_failures import judge, replacement_wait_s
from testbed.core.profile import KUBERNETES

Json = dict[str, Any]
BACKOFF = BackoffRule.of_jobs(KUBERNETES)


def job(**spec: Any) -> Job:
    return Job.of({"metadata": {"name": "job", "uid": "job", "namespace": "default"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never"}}, "selector": {"matchLabels": {"app": "web"}}, **spec}})


def worker(name: str, phase: str = "Running", *, index: int | None = None, code: int = 1, ended_s: float = 60,
           tracked: bool = True, deleting: bool = False) -> Pod:
    made = pod(name, phase=phase, ready=phase == "Running", owner="job", deleting=deleting)
    notes = {COMPLETION_INDEX: str(index)} if index is not None else {}
    meta = made.metadata.model_copy(update={"finalizers": (TRACKING,) if tracked else (), "annotations": notes})
    state = {"terminated": {"exitCode": code if phase == "Failed" else 0, "finishedAt": ago(ended_s)}}
    status = made.status if phase not in ("Failed", "Succeeded") else type(made.status).of({
        "phase": phase, "containerStatuses": [{"name": "web", "state": state}]})
    return made.model_copy(update={"metadata": meta, "status": status})


def look(pods: list[Pod], status: Json | None = None, **spec: Any) -> jobs.JobPlan:
    return jobs.plan(job(**spec), status or {}, pods, NOON, BACKOFF)


@pytest.mark.parametrize(("text", "indexes"), [
    ("", set()), ("0", {0}), ("0,2", {0, 2}), ("0,1", {0, 1}), ("0-3,7", {0, 1, 2, 3, 7}),
    ("1,3-5,9,10", {1, 3, 4, 5, 9, 10}),
])
def test_indexes_are_written_as_upstream_writes_them(text: str, indexes: set[int]) -> None:
    assert job_indexes.parse(text) == indexes and job_indexes.text_of(indexes) == text


@given(st.sets(st.integers(0, 60)))
def test_indexes_survive_being_written(indexes: set[int]) -> None:
    assert job_indexes.parse(job_indexes.text_of(indexes)) == indexes


@pytest.mark.parametrize(("spec", "pods", "made"), [
    ({"completions": 3, "parallelism": 2}, [], 2),
    ({"completions": 3, "parallelism": 9}, [], 3),
    ({"completions": 3, "parallelism": 2}, [worker("a", "Succeeded"), worker("b")], 1),
    ({"completions": 3, "parallelism": 2}, [worker("a", "Succeeded"), worker("b", "Succeeded")], 1),
    ({"parallelism": 3}, [], 3),
    ({"parallelism": 3}, [worker("a", "Succeeded"), worker("b")], 0),  # a work queue drains
    ({"completions": 2, "parallelism": 0}, [], 0),
    ({"completions": 2, "parallelism": 2, "suspend": True}, [], 0),
    ({"completions": 1}, [worker("a", "Failed", ended_s=9)], 0),
    ({"completions": 1}, [worker("a", "Failed", ended_s=11)], 1),
    ({"completions": 1}, [worker("a", "Failed", ended_s=90), worker("b", "Failed", ended_s=19)], 0),
    ({"completions": 1}, [worker("a", "Failed", ended_s=90), worker("b", "Failed", ended_s=21)], 1),
    ({"completions": 1, "managedBy": "example.com/x"}, [], 0),
])
def test_how_many_pods_are_made(spec: Json, pods: list[Pod], made: int) -> None:
    assert len(look(pods, **spec).create) == made


def test_too_many_pods_go_without_being_counted() -> None:
    plan = look([worker("a"), worker("b"), worker("c")], completions=9, parallelism=1)
    assert len(plan.delete) == 2 and set(plan.delete) == set(plan.untrack) and plan.status["failed"] == 0


def test_a_pod_becomes_a_number_in_three_steps() -> None:
    spec = {"completions": 2, "parallelism": 1}
    first = look([worker("a", "Succeeded")], **spec)
    assert first.status["uncountedTerminatedPods"] == {"succeeded": ["uid-a"]} and first.status["succeeded"] == 0
    assert first.untrack == ("a",)
    again = look([worker("a", "Succeeded")], first.status, **spec)
    assert again.status["uncountedTerminatedPods"] == {"succeeded": ["uid-a"]} and again.untrack == ("a",)
    for left in ([worker("a", "Succeeded", tracked=False)], []):
        counted = look(left, first.status, **spec).status
        assert counted["uncountedTerminatedPods"] == {} and counted["succeeded"] == 1


@pytest.mark.parametrize(("pods", "spec", "reason"), [
    ([worker("a", "Failed"), worker("b", "Failed")], {"backoffLimit": 1}, "BackoffLimitExceeded"),
    ([worker("a", "Failed")], {"backoffLimit": 1}, None),
    ([worker("a")], {"activeDeadlineSeconds": 30}, "DeadlineExceeded"),
    ([worker("a")], {"activeDeadlineSeconds": 90}, None),
    ([worker("a", "Failed", code=3)], {"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}}]}}, "PodFailurePolicy"),
    ([worker("a", "Succeeded")], {"completions": 1}, "CompletionsReached"),
    ([worker("a", "Succeeded"), worker("b", "Succeeded")], {"completions": 2, "suspend": False}, "CompletionsReached"),
])
def test_why_a_job_ends(pods: list[Pod], spec: Json, reason: str | None) -> None:
    plan = look(pods, {"startTime": ago(60)}, **{"completions": 5, **spec})
    assert [item["reason"] for item in plan.status.get("conditions", ())] == ([reason] if reason else [])


def test_the_end_waits_for_the_pods() -> None:
    spec = {"completions": 5, "parallelism": 1, "backoffLimit": 0}
    first = look([worker("a", "Failed"), worker("b")], **spec)
    assert first.delete == ("b",) and [item["type"] for item in first.status["conditions"]] == ["FailureTarget"]
    ended = [worker("a", "Failed", tracked=False), worker("b", "Failed", tracked=False)]
    second = look(ended, first.status, **spec)
    assert [item["type"] for item in second.status["conditions"]] == ["FailureTarget", "Failed"]
    assert jobs.finished(second.status) and not look(ended, second.status, **spec).create


def test_time_to_live() -> None:
    status = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": ago(8)}]}
    waiting = look([], status, ttlSecondsAfterFinished=10)
    assert (waiting.expired, waiting.requeue_after_s) == (False, 2.0)
    assert look([], status, ttlSecondsAfterFinished=8).expired and not look([], status).expired


def test_the_first_rule_of_a_policy_decides() -> None:
    policy = job(podFailurePolicy={"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Count", "onExitCodes": {"operator": "In", "values": [1], "containerName": "other"}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
    ]}).spec.pod_failure_policy
    assert judge(policy, worker("a", "Failed", code=1)).action == "FailJob"
    assert judge(policy, worker("a", "Failed", code=9)).action == "Count"
    assert judge(policy, worker("a", "Failed", code=0)).action == "Count"
    assert judge(None, worker("a", "Failed")).action == "Count"


def test_a_success_starts_the_waiting_anew() -> None:
    failed = [worker("a", "Failed", ended_s=50), worker("b", "Failed", ended_s=3)]
    assert replacement_wait_s(failed, [], NOON, BACKOFF) == 17.0
    assert replacement_wait_s(failed, [worker("c", "Succeeded", ended_s=40)], NOON, BACKOFF) == 7.0
    many = [worker(f"p{i}", "Failed", ended_s=i) for i in range(20)]
    assert replacement_wait_s(many, [], NOON, BACKOFF) == 600.0
    assert replacement_wait_s(failed, [], NOON + timedelta(seconds=60), BACKOFF) == 0.0


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 4), st.booleans(), st.booleans(), st.data())
def test_every_job_ends_and_counts_each_pod_once(
    completions: int, parallelism: int, indexed: bool, only_failed: bool, data: st.DataObject
) -> None:
    """Pods succeed, fail or are deleted in any order; time passes; never more than parallelism at once."""
    spec: Json = {"completions": completions, "parallelism": parallelism, "backoffLimit": 5,
                  "completionMode": "Indexed" if indexed else "NonIndexed",
                  "podReplacementPolicy": "Failed" if only_failed else "TerminatingOrFailed"}
    status: Json = {}
    pods: dict[str, Pod] = {}
    now, good, bad = NOON, 0, 0
    for turn in range(200):
        plan = jobs.plan(job(**spec), status, list(pods.values()), now, BACKOFF)
        status = plan.status
        if jobs.finished(status):
            break
        for name in plan.untrack:
            meta = pods[name].metadata.model_copy(update={"finalizers": ()})
            pods[name] = pods[name].model_copy(update={"metadata": meta})
        for name in plan.delete:
            pods[name] = worker(name, "Failed", tracked=TRACKING in pods[name].metadata.finalizers)
            bad += TRACKING in pods[name].metadata.finalizers
        for number, item in enumerate(plan.create):
            pods[f"p{turn}-{number}"] = worker(f"p{turn}-{number}", index=item.index)
        running = [name for name, each in pods.items() if each.active]
        assert len(running) <= parallelism
        if running and (turn > 20 or data.draw(st.booleans())):
            name = data.draw(st.sampled_from(running))
            phase = data.draw(st.sampled_from(["Succeeded", "Succeeded", "Failed"]))
            old = pods[name]
            fresh = worker(name, phase)
            meta = fresh.metadata.model_copy(update={"annotations": old.metadata.annotations})
            pods[name] = fresh.model_copy(update={"metadata": meta})
            good, bad = good + (phase == "Succeeded"), bad + (phase == "Failed")
        now += timedelta(seconds=700 if turn > 20 else data.draw(st.sampled_from([0, 15, 700])))
    else:
        raise AssertionError("it never ended")
    done = jobs.finished(status)
    assert done is not None and (status["succeeded"], status["failed"]) == (good, bad)
    assert (done["type"] == "Complete") == (good == completions)
