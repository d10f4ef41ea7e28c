"""What one look at a Job does: counting what has ended, making and deleting pods, and the end of the Job itself.

A pod carries a finalizer until it is counted: first its UID goes into ``status.uncountedTerminatedPods``, then the
finalizer goes, then the UID becomes a number. So no pod is ever counted twice or not at all, whoever dies in between.

The end comes in two steps: FailureTarget or SuccessCriteriaMet, upon which the pods go, and Failed or Complete when
none is left.

Leaves to ``job_failures``: failure policies and waiting times; to its loop: adoption and writing, which must store the
status before it takes finalizers off.

Source: kubernetes pkg/controller/job/job_controller.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from testbed.api.batch_v1 import INDEX_FAILURES, JOB_CONTROLLER, TRACKING, Job
from testbed.api.core_v1 import Pod
from testbed.api.meta import format_time, parse_time
from testbed.core import job_indexes
from testbed.core.backoff import BackoffRule
from testbed.core.conditions import find, with_condition
from testbed.core.job_failures import Verdict, judge, replacement_wait_s
from testbed.core.job_indexes import index_of
from testbed.core.reasons import Note
from testbed.core.replicasets import BURST, deletion_order

Json = dict[str, Any]
_INTERIM = {"Failed": "FailureTarget", "Complete": "SuccessCriteriaMet"}


@dataclass(frozen=True)
class NewJobPod:
    """``index`` None: of a Job without indexes. ``failures``: of that index before, None when nobody counts them."""

    index: int | None = None
    failures: int | None = None


@dataclass(frozen=True)
class JobPlan:
    """``untrack``: names of pods that lose the finalizer after ``status`` is stored; ``delete``: that go after that;
    ``expired``: the Job itself goes."""

    status: Json
    create: tuple[NewJobPod, ...] = ()
    delete: tuple[str, ...] = ()
    untrack: tuple[str, ...] = ()
    expired: bool = False
    requeue_after_s: float | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Ending:
    """``kind``: Failed or Complete."""

    kind: str
    reason: str
    message: str


def finished(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The condition Complete or Failed, when it is True."""
    found = [find(status.get("conditions") or (), kind) for kind in ("Complete", "Failed")]
    return next((item for item in found if item is not None and item.get("status") == "True"), None)


def plan(
    job: Job, status: Mapping[str, Any], pods: Sequence[Pod], now: datetime, backoff: BackoffRule
) -> JobPlan:
    """
    Args:
        backoff: how long replacements of failed pods wait.
        status: the present status as JSON.
        pods: all that the Job controls.
    """
    if job.spec.managed_by not in ("", JOB_CONTROLLER):
        return JobPlan(dict(status))
    tracked = tuple(pod.metadata.name for pod in pods if TRACKING in pod.metadata.finalizers)
    if job.metadata.deleting:
        return JobPlan(dict(status), untrack=tracked)
    done = finished(status)
    if done is not None:
        return _after(job, status, done, tracked, now)
    return _Look(job, dict(status), pods, now, backoff).act()


def _after(
    job: Job, status: Mapping[str, Any], done: Mapping[str, Any], tracked: tuple[str, ...], now: datetime
) -> JobPlan:
    """A finished Job stays as it is, until its time to live is over."""
    ttl_s = job.spec.ttl_seconds_after_finished
    if ttl_s is None:
        return JobPlan(dict(status), untrack=tracked)
    left_s = (parse_time(done["lastTransitionTime"]) + timedelta(seconds=ttl_s) - now).total_seconds()
    return JobPlan(dict(status), untrack=tracked, expired=left_s <= 0, requeue_after_s=left_s if left_s > 0 else None)


@dataclass
class _Look:
    job: Job
    status: Json
    pods: Sequence[Pod]
    now: datetime
    backoff: BackoffRule
    create: list[NewJobPod] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    untrack: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, status = self.job.spec, self.status
        self.only_failed = spec.pod_replacement_policy == "Failed"
        self.active = [pod for pod in self.pods if pod.active]
        self.terminating = [pod for pod in self.pods if pod.metadata.deleting and not pod.terminal]
        uncounted = status.get("uncountedTerminatedPods") or {}
        self.uncounted = {kind: list(uncounted.get(kind) or ()) for kind in ("succeeded", "failed")}
        self.counted = {kind: int(status.get(kind) or 0) for kind in ("succeeded", "failed")}
        self.completed = job_indexes.parse(str(status.get("completedIndexes") or ""))
        self.failed_indexes = job_indexes.parse(str(status.get("failedIndexes") or ""))
        failed = [pod for pod in self.pods if self.has_failed(pod)]
        self.verdicts = {pod.metadata.uid: judge(spec.pod_failure_policy, pod) for pod in failed}

    def has_failed(self, pod: Pod) -> bool:
        """Deleted pods count as failed at once, unless only those that have ended are replaced."""
        if pod.status.phase == "Failed":
            return True
        return not self.only_failed and pod.metadata.deleting and pod.status.phase != "Succeeded"

    def act(self) -> JobPlan:
        spec, status = self.job.spec, self.status
        if not spec.suspend and not status.get("startTime"):
            status["startTime"] = format_time(self.now)
        self.count()
        ending = self.pending_end() or self.end()
        if ending is not None:
            self.finish(ending)
        elif not self.suspended():
            self.manage()
        self.write_counts()
        return JobPlan(self.status, tuple(self.create), tuple(self.delete), tuple(self.untrack),
                       requeue_after_s=min(self.wait_s, default=None), notes=tuple(self.notes))

    # --- counting

    def count(self) -> None:
        tracked = {pod.metadata.uid: pod for pod in self.pods if TRACKING in pod.metadata.finalizers}
        for kind, uids in self.uncounted.items():  # whose finalizer is gone becomes a number
            self.counted[kind] += sum(uid not in tracked for uid in uids)
            self.uncounted[kind] = [uid for uid in uids if uid in tracked]
        for uid, pod in tracked.items():
            known = uid in self.uncounted["succeeded"] or uid in self.uncounted["failed"]
            if pod.status.phase == "Succeeded":
                if self.job.indexed:
                    self.completed |= {index_of(pod)} & set(range(self.job.spec.completions or 0))
                elif not known:
                    self.uncounted["succeeded"].append(uid)
            elif self.has_failed(pod):
                if not known and self.verdicts[uid].action != "Ignore":
                    self.uncounted["failed"].append(uid)
            else:
                continue
            self.untrack.append(pod.metadata.name)
        if self.job.spec.backoff_limit_per_index is not None:
            for index in range(self.job.spec.completions or 0):
                if index not in self.completed and self.index_is_lost(index):
                    self.failed_indexes.add(index)

    @property
    def succeeded(self) -> int:
        if self.job.indexed:
            return len(self.completed)
        return self.counted["succeeded"] + len(self.uncounted["succeeded"])

    @property
    def failed(self) -> int:
        return self.counted["failed"] + len(self.uncounted["failed"])

    def failures_of(self, index: int) -> list[tuple[Pod, Verdict]]:
        return [(pod, self.verdicts[pod.metadata.uid]) for pod in self.pods
                if pod.metadata.uid in self.verdicts and index_of(pod) == index]

    def failure_count(self, index: int) -> int:
        """The annotation of an index's pod says how often it had failed before."""
        counts = [0]
        for pod, verdict in self.failures_of(index):
            before = pod.metadata.annotations.get(INDEX_FAILURES, "0")
            counts.append((int(before) if before.isdigit() else 0) + (verdict.action != "Ignore"))
        return max(counts)

    def index_is_lost(self, index: int) -> bool:
        limit = self.job.spec.backoff_limit_per_index or 0
        return self.failure_count(index) > limit or any(
            verdict.action == "FailIndex" for _, verdict in self.failures_of(index))

    # --- the end

    def pending_end(self) -> Ending | None:
        """The end that was decided by an earlier look."""
        for kind, interim in _INTERIM.items():
            condition = find(self.status.get("conditions") or (), interim)
            if condition is not None and condition.get("status") == "True":
                return Ending(kind, condition.get("reason", ""), condition.get("message", ""))
        return None

    def end(self) -> Ending | None:
        spec = self.job.spec
        fatal = next((item for item in self.verdicts.values() if item.action == "FailJob"), None)
        if fatal is not None:
            return Ending("Failed", "PodFailurePolicy", fatal.message)
        if self.failed > spec.backoff_limit or self.too_many_restarts():
            return Ending("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if not spec.suspend and self.past_deadline():
            return Ending("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        if spec.backoff_limit_per_index is not None:
            if spec.max_failed_indexes is not None and len(self.failed_indexes) > spec.max_failed_indexes:
                return Ending("Failed", "MaxFailedIndexesExceeded",
                              "Job has exceeded the specified maximal number of failed indexes")
            if self.failed_indexes and len(self.failed_indexes | self.completed) >= (spec.completions or 0):
                return Ending("Failed", "FailedIndexes", "Job has failed indexes")
        if spec.completions is None:
            complete = self.succeeded > 0 and not self.active
        else:
            complete = self.succeeded >= spec.completions
        if complete and not (spec.suspend and spec.completions):
            return Ending("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        return None

    def too_many_restarts(self) -> bool:
        """With OnFailure containers fail without their pod failing."""
        spec = self.job.spec
        if spec.template.spec.restart_policy != "OnFailure":
            return False
        restarts = sum(
            item.restart_count for pod in self.active
            for item in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        )
        return restarts > 0 if spec.backoff_limit == 0 else restarts >= spec.backoff_limit

    def past_deadline(self) -> bool:
        limit_s, start = self.job.spec.active_deadline_seconds, self.status.get("startTime")
        if limit_s is None or not start:
            return False
        left_s = (parse_time(start) + timedelta(seconds=limit_s) - self.now).total_seconds()
        if left_s > 0:
            self.wait_s.append(left_s)
        return left_s <= 0

    def finish(self, ending: Ending) -> None:
        """First the interim condition, and the pods go; the last one when nothing lives and all is counted."""
        self.condition(_INTERIM[ending.kind], "True", ending.reason, ending.message)
        self.delete += [pod.metadata.name for pod in self.active]
        left = self.active or self.terminating or self.uncounted["succeeded"] or self.uncounted["failed"]
        if left:
            return
        self.condition(ending.kind, "True", ending.reason, ending.message)
        if ending.kind == "Complete":
            self.status["completionTime"] = format_time(self.now)
            self.notes.append(Note("Completed", "Job completed"))
        else:
            self.notes.append(Note(ending.reason, ending.message, "Warning"))

    def condition(self, kind: str, value: str, reason: str, message: str) -> None:
        fresh = with_condition(self.status.get("conditions") or (), kind, value, reason, message, self.now)
        stamped = [{"lastProbeTime": item.get("lastProbeTime") or item["lastTransitionTime"], **item} for item in fresh]
        self.status["conditions"] = stamped

    # --- pods

    def suspended(self) -> bool:
        known = find(self.status.get("conditions") or (), "Suspended")
        before = known is not None and known.get("status") == "True"
        if self.job.spec.suspend:
            if not before:
                self.condition("Suspended", "True", "JobSuspended", "Job suspended")
                self.notes.append(Note("Suspended", "Job suspended"))
            self.let_go(self.active)
            return True
        if before:
            self.condition("Suspended", "False", "JobResumed", "Job resumed")
            self.notes.append(Note("Resumed", "Job resumed"))
            self.status["startTime"] = format_time(self.now)
        return False

    def let_go(self, pods: Sequence[Pod]) -> None:
        """Pods that go because we want it are not counted as failed."""
        self.delete += [pod.metadata.name for pod in pods]
        self.untrack += [pod.metadata.name for pod in pods if TRACKING in pod.metadata.finalizers]

    def manage(self) -> None:
        spec, occupied = self.job.spec, len(self.active) + (len(self.terminating) if self.only_failed else 0)
        if spec.completions is None:
            wanted = len(self.active) if self.succeeded else spec.parallelism
        else:
            wanted = min(spec.completions - self.succeeded, spec.parallelism)
        if len(self.active) > wanted:
            self.let_go(deletion_order(self.active, self.active, self.now)[: len(self.active) - wanted])
            return
        missing = min(wanted - occupied, BURST)
        if missing <= 0:
            return
        if spec.backoff_limit_per_index is not None:
            self.create += self.ready_indexes()[:missing]
            return
        wait_s = replacement_wait_s(*self.ended(self.pods), self.now, self.backoff)
        if wait_s > 0:
            self.wait_s.append(wait_s)
        elif self.job.indexed:
            self.create += [NewJobPod(index) for index in self.free_indexes()[:missing]]
        else:
            self.create += [NewJobPod()] * missing

    def ended(self, pods: Sequence[Pod]) -> tuple[list[Pod], list[Pod]]:
        return ([pod for pod in pods if self.verdicts.get(pod.metadata.uid, Verdict("")).action == "Count"],
                [pod for pod in pods if pod.status.phase == "Succeeded"])

    def free_indexes(self) -> list[int]:
        """Lowest first: neither done nor lost nor in somebody's hands."""
        busy = {index_of(pod) for pod in (*self.active, *(self.terminating if self.only_failed else ()))}
        taken = busy | self.completed | self.failed_indexes
        return [index for index in range(self.job.spec.completions or 0) if index not in taken]

    def ready_indexes(self) -> list[NewJobPod]:
        """Each index has a back-off of its own."""
        ready = []
        for index in self.free_indexes():
            mine = [pod for pod in self.pods if index_of(pod) == index]
            wait_s = replacement_wait_s(*self.ended(mine), self.now, self.backoff)
            if wait_s > 0:
                self.wait_s.append(wait_s)
            else:
                ready.append(NewJobPod(index, self.failure_count(index)))
        return ready

    def write_counts(self) -> None:
        status = self.status
        status.update({
            "active": len(self.active), "ready": sum(pod.ready for pod in self.active),
            "terminating": len(self.terminating), "failed": self.counted["failed"],
            "succeeded": self.succeeded if self.job.indexed else self.counted["succeeded"],
            "uncountedTerminatedPods": {kind: uids for kind, uids in self.uncounted.items() if uids},
        })
        if self.job.indexed:
            status["completedIndexes"] = job_indexes.text_of(self.completed)
            if self.job.spec.backoff_limit_per_index is not None:
                status["failedIndexes"] = job_indexes.text_of(self.failed_indexes)
