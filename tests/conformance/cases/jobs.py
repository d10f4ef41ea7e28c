"""JB: Jobs (test/e2e/apps/job.go, ttl_after_finished.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.meta import parse_time
from testbed.api.resources import JOBS, PODS
from testbed.errors import NotFound

from .kube import Kube, condition, is_true
from .manifests import POLITE, job
from .registry import case

Json = dict[str, Any]
ODD_FAILS = "; ".join(f"if [ $JOB_COMPLETION_INDEX = {odd} ]; then exit 1; fi" for odd in (1, 3))
HELD = "trap 'exit 1' TERM; while true; do sleep 0.2; done"  # ends badly, but when it is asked to


async def create(kube: Kube, script: str, **spec: Any) -> None:
    made = job("job", script, **spec)
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    await kube.create(JOBS, made)


async def pods(kube: Kube) -> list[Json]:
    return await kube.list(PODS, "job-name=job")


async def ended(kube: Kube, kind: str, within_s: float = 55) -> Json:
    """Waits for the condition and returns it."""
    async def look() -> Json | None:
        found = await kube.get(JOBS, "job")
        return condition(found, kind) if is_true(found, kind) else None

    found: Json = await kube.until(f"the Job is {kind}", look, within_s)
    return found


async def counts(kube: Kube, within_s: float = 30, **wanted: int) -> None:
    """Waits for numbers in its status; what is left out counts as 0."""
    async def look() -> bool:
        status = (await kube.get(JOBS, "job")).get("status") or {}
        return all(status.get(key, 0) == value for key, value in wanted.items())

    await kube.until(f"the Job's status shows {wanted}", look, within_s)


def phases(found: list[Json]) -> list[str]:
    return sorted(pod["status"]["phase"] for pod in found)


@case("JB-01", real_s=10, quick=True)
async def it_runs_to_completion(kube: Kube) -> None:
    await create(kube, "exit 0", parallelism=2, completions=4)
    assert (await ended(kube, "SuccessCriteriaMet"))["reason"] == "CompletionsReached"
    assert (await ended(kube, "Complete"))["reason"] == "CompletionsReached"
    assert phases(await pods(kube)) == ["Succeeded"] * 4
    await counts(kube, succeeded=4, active=0, failed=0)


@case("JB-03", real_s=25)
async def it_fails_beyond_its_backoff_limit(kube: Kube) -> None:
    await create(kube, "exit 1", backoffLimit=1)
    assert (await ended(kube, "FailureTarget"))["reason"] == "BackoffLimitExceeded"
    assert (await ended(kube, "Failed"))["reason"] == "BackoffLimitExceeded"
    assert phases(await pods(kube)) == ["Failed", "Failed"]


@case("JB-04", real_s=15)
async def it_fails_when_its_deadline_is_over(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=4, activeDeadlineSeconds=1)
    assert (await ended(kube, "FailureTarget"))["reason"] == "DeadlineExceeded"
    assert (await ended(kube, "Failed"))["reason"] == "DeadlineExceeded"
    await counts(kube, active=0)


@case("JB-05", real_s=10)
async def a_failure_policy_ends_it_at_once(kube: Kube) -> None:
    await create(kube, "exit 1", parallelism=1, completions=2, backoffLimit=6, podFailurePolicy={"rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "app", "operator": "In", "values": [1]}}]})
    assert (await ended(kube, "Failed"))["reason"] == "PodFailurePolicy"
    assert len(await pods(kube)) == 1


@case("JB-07", "created-suspended", real_s=15)
async def a_suspended_job_has_no_pods(kube: Kube) -> None:
    await create(kube, "exit 0", suspend=True, parallelism=2, completions=2)
    assert (await ended(kube, "Suspended"))["reason"] == "JobSuspended"
    assert not await pods(kube)
    await kube.patch(JOBS, "job", {"spec": {"suspend": False}})
    await ended(kube, "Complete")


@case("JB-07", "suspended", real_s=20)
async def suspending_takes_the_pods_away(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=2)
    await counts(kube, active=2, ready=2)
    await kube.patch(JOBS, "job", {"spec": {"suspend": True}})
    await ended(kube, "Suspended")
    await kube.until("its pods are gone", lambda: _none(kube), 30)
    await counts(kube, active=0, failed=0)
    await kube.patch(JOBS, "job", {"spec": {"suspend": False}})
    await counts(kube, active=2, ready=2)
    resumed = condition(await kube.get(JOBS, "job"), "Suspended")
    assert resumed and (resumed["status"], resumed["reason"]) == ("False", "JobResumed")


async def _none(kube: Kube) -> bool:
    return not await pods(kube)


@case("JB-08", real_s=45)
async def policy_failed_replaces_only_what_has_ended(kube: Kube) -> None:
    made = job("job", "trap 'sleep 4; exit 1' TERM; while true; do sleep 0.2; done", backoffLimit=2,
               podReplacementPolicy="Failed")
    await kube.create(JOBS, made)
    await counts(kube, active=1, ready=1)
    (first,) = await pods(kube)
    await kube.delete(PODS, first["metadata"]["name"], grace_s=30)
    await counts(kube, active=0, failed=0, terminating=1)
    await counts(kube, active=1, failed=1, terminating=0)


@case("JB-09", real_s=15)
async def every_index_once_with_its_hostname(kube: Kube) -> None:
    await create(kube, "echo $JOB_COMPLETION_INDEX; hostname", completions=4, parallelism=4, completionMode="Indexed")
    await ended(kube, "Complete")
    found = await pods(kube)
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(pod["metadata"]["annotations"][key] for pod in found) == list("0123")
    for pod in found:
        index = pod["metadata"]["annotations"][key]
        assert pod["metadata"]["labels"][key] == index and pod["spec"]["hostname"] == f"job-{index}"
        assert (await kube.logs(pod["metadata"]["name"])).split()[0] == index
    assert (await kube.get(JOBS, "job"))["status"]["completedIndexes"] == "0-3"


@case("JB-11", "all-indexes", real_s=30)
async def a_limit_per_index_runs_all_indexes(kube: Kube) -> None:
    await create(kube, ODD_FAILS, completions=4, parallelism=4, completionMode="Indexed", backoffLimitPerIndex=1)
    assert (await ended(kube, "Failed"))["reason"] == "FailedIndexes"
    status = (await kube.get(JOBS, "job"))["status"]
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1,3", "0,2")
    assert (status["failed"], status["succeeded"]) == (4, 2)


@case("JB-11", "max-failed-indexes", real_s=30)
async def too_many_failed_indexes_end_it(kube: Kube) -> None:
    await create(kube, "exit 1", completions=4, parallelism=1, completionMode="Indexed", backoffLimitPerIndex=0,
                 maxFailedIndexes=0)
    assert (await ended(kube, "Failed"))["reason"] == "MaxFailedIndexesExceeded"
    status = (await kube.get(JOBS, "job"))["status"]
    assert (status["failedIndexes"], status.get("completedIndexes", "")) == ("0", "")


@case("JB-11", "fail-index", real_s=15)
async def fail_index_is_not_tried_again(kube: Kube) -> None:
    await create(kube, ODD_FAILS, completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1,
                 podFailurePolicy={"rules": [{"action": "FailIndex", "onExitCodes": {
                     "operator": "In", "values": [1]}}]})
    assert (await ended(kube, "Failed"))["reason"] == "FailedIndexes"
    status = (await kube.get(JOBS, "job"))["status"]
    assert (status["failedIndexes"], status["completedIndexes"], status["failed"]) == ("1", "0", 1)


@case("JB-12", "delete", real_s=20)
async def pods_go_with_their_job(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=2)
    await counts(kube, active=2, ready=2)
    await kube.delete(JOBS, "job", propagation="Background")
    await kube.gone(JOBS, "job", 30)
    await kube.until("its pods are gone", lambda: _none(kube), 30)


@case("JB-12", "foreground", real_s=20)
async def in_the_foreground_the_job_goes_last(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=2)
    await counts(kube, active=2, ready=2)
    await kube.delete(JOBS, "job", propagation="Foreground")

    async def look() -> bool:
        left = len(await pods(kube))
        try:
            await kube.get(JOBS, "job")
        except NotFound:
            assert not left, "the Job went before its pods"
            return True
        return False

    await kube.until("the Job is gone", look, 30)


@case("JB-12", "adopt-and-release", real_s=20)
async def orphans_are_adopted_and_what_no_longer_matches_is_released(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=2)
    await counts(kube, active=2, ready=2)
    name = (await pods(kube))[0]["metadata"]["name"]

    async def owned() -> bool:
        return any(item.get("controller") for item in (await kube.pod(name))["metadata"].get("ownerReferences") or ())

    async def free() -> bool:
        return not await owned()

    await kube.update(PODS, name, lambda pod: pod["metadata"].pop("ownerReferences"))
    await kube.until("the orphan is adopted", owned, 30)
    await kube.update(PODS, name, lambda pod: pod["metadata"].update(labels={}))
    await kube.until("what no longer matches is released", free, 30)


@case("JB-13", "ready", real_s=25)
async def ready_follows(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=2, completions=2, suspend=True)
    await ended(kube, "Suspended")
    await counts(kube, ready=0)
    await kube.patch(JOBS, "job", {"spec": {"suspend": False}})
    await counts(kube, ready=2)
    await kube.patch(JOBS, "job", {"spec": {"suspend": True}})
    await counts(kube, ready=0)


@case("JB-13", "managed-by", real_s=10)
async def what_another_manages_is_left_alone(kube: Kube) -> None:
    await create(kube, "exit 0", managedBy="example.com/other")
    made = await kube.get(JOBS, "job")

    async def untouched() -> bool:
        found = await kube.get(JOBS, "job")
        return not await pods(kube) and not found.get("status") and found["metadata"] == made["metadata"]

    await kube.holds("nobody touches it", untouched, 5)


@case("JB-13", "status", real_s=10)
async def changes_of_its_status_are_applied(kube: Kube) -> None:
    await create(kube, POLITE, parallelism=1, suspend=True)
    await ended(kube, "Suspended")
    now = (await kube.get(JOBS, "job"))["status"]["conditions"][0]["lastTransitionTime"]

    def custom(obj: Json) -> None:
        obj["status"].setdefault("conditions", []).append(
            {"type": "CustomConditionType", "status": "True", "lastProbeTime": now, "lastTransitionTime": now})

    await kube.update(JOBS, "job", custom, subresource="status")
    assert is_true(await kube.get(JOBS, "job"), "CustomConditionType")
    seconds = parse_time(now).strftime("%Y-%m-%dT%H:%M:%SZ")
    await kube.patch(JOBS, "job", {"metadata": {"annotations": {"patchedstatus": "true"}},
                                   "status": {"startTime": seconds}}, subresource="status")
    found = await kube.get(JOBS, "job")
    assert found["metadata"].get("annotations", {}).get("patchedstatus") == "true"
    assert found["status"]["startTime"] == seconds


@case("JB-13", "lifecycle", real_s=15)
async def it_is_patched_updated_listed_and_deleted_as_a_collection(kube: Kube) -> None:
    made = job("job", POLITE, suspend=True, backoffLimit=2)
    made["metadata"]["labels"] = {"e2e": "job"}
    await kube.create(JOBS, made)
    await kube.patch(JOBS, "job", {"metadata": {"labels": {"patched": "true"}}, "spec": {"suspend": False}})
    await counts(kube, active=1)
    await kube.update(JOBS, "job", lambda obj: obj["metadata"].setdefault("annotations", {}).update(updated="true"))
    (found,) = await kube.list(JOBS, "e2e=job")
    assert found["metadata"]["annotations"]["updated"] == "true" and found["metadata"]["labels"]["patched"] == "true"
    await kube.delete(JOBS, "job")
    await kube.gone(JOBS, "job", 30)


@case("JB-14", real_s=25)
async def it_goes_after_its_time_to_live(kube: Kube) -> None:
    await create(kube, "exit 0", ttlSecondsAfterFinished=10)
    await ended(kube, "Complete")
    began = kube.now()
    assert await kube.gone(JOBS, "job", 40) - began >= 10 - 1
