"""HorizontalPodAutoscalers: looks at each every 15 s and writes its target's scale (core: ``autoscaling``).

What was recommended and scaled before is kept in memory: after a restart the windows begin anew, as upstream's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from testbed.api.autoscaling_v2 import Autoscaler
from testbed.api.meta import LabelSelector, format_time
from testbed.api.resources import AUTOSCALERS
from testbed.client.informer import key_of
from testbed.controlplane.cache import Cache
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.named_metrics import read_metrics
from testbed.core import autoscaling, conditions
from testbed.core.autoscaling import Measured, Memory, Saying, ScalePlan
from testbed.core.reasons import Note

Json = dict[str, Any]
TARGETS = {
    ("apps", "Deployment"): "deployments.apps", ("apps", "ReplicaSet"): "replicasets.apps",
    ("apps", "StatefulSet"): "statefulsets.apps",
}


class AutoscalerController(Controller):
    name = "horizontal-pod-autoscaler"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._scalers = tools.caches.all[AUTOSCALERS.group_resource]
        self._memories: dict[str, Memory] = {}  # by UID
        self._scalers.on_change(self._changed)

    def _changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            assert old is not None
            self._memories.pop(str(old["metadata"].get("uid", "")), None)
        elif old is None or old.get("spec") != new.get("spec"):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> float | None:
        json = self._scalers.json(key)
        if json is None:
            return None
        scaler = Autoscaler.of(json)
        reference = scaler.spec.scale_target_ref
        kind = (reference.api_version.rpartition("/")[0], reference.kind)
        cache = self.caches.all.get(TARGETS.get(kind, ""))
        target = cache.json(f"{scaler.metadata.namespace}/{reference.name}") if cache is not None else None
        if cache is None or target is None:
            told = f"the HPA controller was unable to get the target's current scale: {reference.kind} " \
                   f'"{reference.name}" not found'
            self.tell(json, Note("FailedGetScale", told, "Warning"))
            await self._write(json, {"AbleToScale": ("False", "FailedGetScale", told)}, {})
        else:
            await self._scale(scaler, json, cache, target)
        return self.profile.autoscaler_sync_s

    async def _scale(self, scaler: Autoscaler, json: Json, cache: Cache[Any], target: Json) -> None:
        uid, now_s = scaler.metadata.uid, asyncio.get_running_loop().time()
        selector = LabelSelector.of(target["spec"].get("selector") or {})
        pods = [pod for pod in self.caches.pods.by("namespace", scaler.metadata.namespace)
                if selector.matches(pod.metadata.labels)]
        usages = await self.tools.usage.pod_usages(scaler.metadata.namespace)
        readings = await read_metrics(scaler, pods, self.caches, self.tools.usage)
        current = int(target["spec"].get("replicas", 1))
        observed = int((target.get("status") or {}).get("replicas", 0))
        plan = autoscaling.plan(scaler, current, pods, Measured(usages, readings, observed),
                                self._memories.get(uid, Memory()), self.clock.now(), now_s)
        self._memories[uid] = plan.memory
        said = dict(plan.conditions)
        if plan.failed:
            self.tell(json, Note("FailedComputeMetricsReplicas", plan.failed, "Warning"))
        scaled = plan.replicas != current
        if scaled:
            made = await self.client.patch(
                cache.resource, target["metadata"]["name"], {"spec": {"replicas": plan.replicas}},
                scaler.metadata.namespace, subresource="scale",
            )
            if made.get("kind") == target.get("kind"):
                cache.wrote(made)
            self._memories[uid] = plan.memory.scaled(now_s, plan.replicas - current)
            said["AbleToScale"] = ("True", "SucceededRescale", "the HPA controller was able to update the target scale "
                                                               f"to {plan.replicas}")
            self.tell(json, Note("SuccessfulRescale", f"New size: {plan.replicas}; reason: {plan.reason}"))
        await self._write(json, said, self._numbers(plan, observed, scaled=scaled))

    def _numbers(self, plan: ScalePlan, observed: int, *, scaled: bool) -> Json:
        numbers: Json = {"currentReplicas": observed, "desiredReplicas": plan.replicas,
                         "currentMetrics": list(plan.metrics)}
        if scaled:
            numbers["lastScaleTime"] = format_time(self.clock.now())
        return numbers

    async def _write(self, json: Json, said: Mapping[str, Saying], numbers: Json) -> None:
        status = json.get("status") or {}
        written = status.get("conditions") or ()
        for kind, (value, reason, message) in said.items():
            written = _with_message(conditions.with_condition(written, kind, value, reason, message, self.clock.now()),
                                    kind, message)
        fresh = {"desiredReplicas": 0, **status, **numbers, "conditions": list(written)}
        if fresh != status:
            await self.tools.update(AUTOSCALERS, {**json, "status": fresh}, subresource="status")


def _with_message(found: tuple[Json, ...], kind: str, message: str) -> tuple[Json, ...]:
    return tuple({**item, "message": message} if item.get("type") == kind else item for item in found)
