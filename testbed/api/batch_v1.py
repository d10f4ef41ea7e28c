"""Group batch, version v1: Jobs and CronJobs."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from testbed.api.base import View
from testbed.api.core_v1 import ObjectReference, PodTemplateSpec
from testbed.api.meta import LabelSelector, Resource

JOB_CONTROLLER = "kubernetes.io/job-controller"
TRACKING = "batch.kubernetes.io/job-tracking"  # finalizer of pods that their Job has not counted yet
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"


class ExitCodes(View):
    container_name: str = ""
    operator: str = "In"
    values: tuple[int, ...] = ()


class PodConditionPattern(View):
    type: str = ""
    status: str = "True"


class PodFailureRule(View):
    action: str = "Count"
    on_exit_codes: ExitCodes | None = None
    on_pod_conditions: tuple[PodConditionPattern, ...] = ()


class PodFailurePolicy(View):
    rules: tuple[PodFailureRule, ...] = ()


class JobSpec(View):
    """``completions`` None: a work queue, done when one pod succeeded and none is left."""

    parallelism: int = 1
    completions: int | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int = 6
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    selector: LabelSelector = Field(default_factory=LabelSelector)
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    ttl_seconds_after_finished: int | None = None
    completion_mode: str = "NonIndexed"
    suspend: bool = False
    pod_replacement_policy: str = "TerminatingOrFailed"
    managed_by: str = ""


class Job(Resource):
    spec: JobSpec = Field(default_factory=JobSpec)

    @property
    def indexed(self) -> bool:
        return self.spec.completion_mode == "Indexed"


class CronJobSpec(View):
    schedule: str = ""
    time_zone: str = ""
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    successful_jobs_history_limit: int = 3
    failed_jobs_history_limit: int = 1


class CronJobStatus(View):
    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(Resource):
    spec: CronJobSpec = Field(default_factory=CronJobSpec)
    status: CronJobStatus = Field(default_factory=CronJobStatus)
