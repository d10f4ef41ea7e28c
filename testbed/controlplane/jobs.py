"""Jobs: carries out what core's ``jobs`` decides; takes the tracking finalizer off pods that no Job counts any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from testbed.api.batch_v1 import COMPLETION_INDEX, INDEX_FAILURES, TRACKING
from testbed.api.core_v1 import Pod
from testbed.api.resources import JOBS, PODS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Tools
from testbed.controlplane.owners import controller_uid
from testbed.controlplane.pod_controller import PodController, pod_from
from testbed.core import jobs
from testbed.core.backoff import BackoffRule
from testbed.core.jobs import JobPlan, NewJobPod
from testbed.errors import NotFound

Json = dict[str, Any]
ORPHAN = "orphan "  # prefix of the queue's keys that are pods


class JobController(PodController):
    name = "job-controller"
    resource = JOBS

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools, tools.caches.jobs)
        self._jobs = tools.caches.jobs
        self._backoff = BackoffRule.of_jobs(tools.profile)

    def _owner_changed(self, old: Json | None, new: Json | None) -> None:
        super()._owner_changed(old, new)
        if new is None and old is not None:
            for key in self._pods.keys_by("controller", old["metadata"]["uid"]):
                self.queue.add(ORPHAN + key)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        super()._pod_changed(old, new)
        if new is not None and TRACKING in (new["metadata"].get("finalizers") or ()) and not self._jobs.keys_by(
            "uid", controller_uid(new)
        ):
            self.queue.add(ORPHAN + key_of(new))

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(ORPHAN):
            await self._free_orphan(key.removeprefix(ORPHAN))
            return None
        view, json = self._jobs.get(key), self._jobs.json(key)
        if view is None or json is None:
            return None
        pods = await self.claim(view, json)
        plan = jobs.plan(view, json.get("status") or {}, pods, self.clock.now(), self._backoff)
        if plan.expired:
            await self.client.delete(JOBS, view.metadata.name, view.metadata.namespace, uid=view.metadata.uid)
            return None
        json = await self._write_status(json, plan)
        for note in plan.notes:
            self.tell(json, note)
        await self._untrack(pods, plan.untrack)
        failure = await self.delete_pods(json, [pod for pod in pods if pod.metadata.name in plan.delete])
        failure = await self.create_pods(json, [partial(job_pod, json, item) for item in plan.create]) or failure
        if failure is not None:
            raise failure
        return plan.requeue_after_s

    async def _write_status(self, json: Json, plan: JobPlan) -> Json:
        if plan.status == (json.get("status") or {}):
            return json
        return await self.tools.update(JOBS, {**json, "status": plan.status}, subresource="status")

    async def _untrack(self, pods: Sequence[Pod], names: Collection[str]) -> None:
        for pod in pods:
            if pod.metadata.name in names:
                await self._free(pod.key)

    async def _free(self, key: str) -> None:
        """Takes the finalizer off."""
        json = self._pods.json(key)
        if json is None:
            return
        finalizers = [item for item in json["metadata"].get("finalizers") or () if item != TRACKING]
        metadata = {name: item for name, item in json["metadata"].items() if name != "finalizers"}
        if finalizers:
            metadata["finalizers"] = finalizers
        try:
            await self.tools.update(PODS, {**json, "metadata": metadata})
        except NotFound:
            return

    async def _free_orphan(self, key: str) -> None:
        """A pod whose Job is gone, or that none owns or selects. The API itself is asked before that is believed."""
        pod = self._pods.get(key)
        if pod is None or TRACKING not in pod.metadata.finalizers:
            return
        owner = pod.metadata.controller
        if owner is None:
            mine = self._jobs.by("namespace", pod.metadata.namespace)
            if any(not job.metadata.deleting and job.spec.selector.matches(pod.metadata.labels) for job in mine):
                return
        elif owner.kind == JOBS.kind:
            try:
                live = await self.client.get(JOBS, owner.name, pod.metadata.namespace)
            except NotFound:
                pass
            else:
                if live["metadata"]["uid"] == owner.uid:
                    return
        await self._free(key)


def job_pod(job: Json, item: NewJobPod, suffix: str) -> Json:
    """A pod that the Job counts; with an index, it knows it (kubernetes: createPods, addCompletionIndex...)."""
    part = suffix if item.index is None else f"{item.index}-{suffix}"
    pod = pod_from(job["spec"]["template"], JOBS, job, part)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["finalizers"] = [*metadata.get("finalizers", ()), TRACKING]
    if item.index is None:
        return pod
    index = str(item.index)
    metadata["annotations"] = {**metadata.get("annotations", {}), COMPLETION_INDEX: index}
    metadata["labels"] = {**metadata.get("labels", {}), COMPLETION_INDEX: index}
    if item.failures is not None:
        metadata["annotations"][INDEX_FAILURES] = str(item.failures)
    spec["hostname"] = f"{job['metadata']['name']}-{index}"
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{COMPLETION_INDEX}']"}}
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        env = container.setdefault("env", [])
        if all(each.get("name") != "JOB_COMPLETION_INDEX" for each in env):
            env.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return pod
