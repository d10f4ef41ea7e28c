"""StatefulSets: carries out what core's ``statefulsets`` decides of each identity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.labels import CONTROLLER_REVISION_HASH, POD_INDEX, STATEFUL_POD_NAME
from testbed.api.resources import PODS, STATEFUL_SETS
from testbed.controlplane.controller import Tools
from testbed.controlplane.history import History, Revisions
from testbed.controlplane.pod_controller import (
    PodController,
    in_growing_batches,
    namespace_ends,
    pod_fields,
    pod_from,
)
from testbed.controlplane.stateful_claims import StatefulClaims
from testbed.core import statefulsets
from testbed.core.reasons import Note
from testbed.core.stateful_claims import with_claims
from testbed.core.statefulsets import NewIdentity, StatefulSetPlan
from testbed.errors import ApiError

Json = dict[str, Any]


class StatefulSetController(PodController):
    name = "statefulset-controller"
    resource = STATEFUL_SETS

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools, tools.caches.stateful_sets)
        self._sets = tools.caches.stateful_sets
        self._history = History(tools, STATEFUL_SETS, "controller.kubernetes.io/hash")
        self._claims = StatefulClaims(self)
        tools.caches.claims.on_change(self._claim_changed)

    def _claim_changed(self, old: Json | None, new: Json | None) -> None:
        """One that goes is missed by a pod that waits, or makes way for a new one."""
        if new is None and old is not None:
            for view in self._sets.by("namespace", old["metadata"]["namespace"]):
                if f"-{view.metadata.name}-" in old["metadata"]["name"]:
                    self.queue.add(view.key)

    def is_member(self, view: Any, pod: Pod) -> bool:
        return statefulsets.is_member(view, pod)

    async def reconcile(self, key: str) -> float | None:
        view, json = self._sets.get(key), self._sets.json(key)
        if view is None or json is None or view.metadata.deleting or view.spec.selector.empty:
            return None
        pods = await self.claim(view, json)
        revisions = await self._history.of(view.metadata, view.spec.selector, json)
        update, known = revisions.update, {item.name for item in revisions.known}
        current = view.status.current_revision if view.status.current_revision in known else update.name
        plan = statefulsets.plan(
            view, pods, current, update.name, self.clock.now(), collisions=update.collisions
        )
        for note in plan.notes:
            self.tell(json, note)
        failure = await self._carry_out(json, plan, pods, revisions)
        await self._write_status(key, plan)
        live = {current, *(statefulsets.revision_of(pod) for pod in pods)}
        await self._history.truncate(view.metadata.namespace, revisions, live, view.spec.revision_history_limit)
        if failure is not None:
            raise failure
        return plan.requeue_after_s

    async def _carry_out(
        self, json: Json, plan: StatefulSetPlan, pods: Sequence[Pod], revisions: Revisions
    ) -> ApiError | None:
        for pod in pods:
            if pod.metadata.name in plan.relabel:
                await self._relabel(pod)
        await self._claims.tend(json, pods)
        failure = await in_growing_batches([
            partial(self._make, json, item, revisions.template(item.revision) or json["spec"]["template"])
            for item in plan.create
        ])
        leaving = {pod.metadata.name: pod for pod in pods if pod.metadata.name in plan.delete}
        return failure or await self.delete_pods(json, [leaving[name] for name in plan.delete])

    async def _make(self, json: Json, item: NewIdentity, template: Json) -> ApiError | None:
        set_name = json["metadata"]["name"]
        missing = await self._claims.make_for(json, item.ordinal, item.name)
        if missing is not None:
            return missing
        try:
            made = await self.tools.create(PODS, identity_pod(json, template, item), json["metadata"]["namespace"])
        except ApiError as error:
            if not namespace_ends(error):
                text = f"create Pod {item.name} in StatefulSet {set_name} failed error: {error}"
                self.tell(json, Note("FailedCreate", text, "Warning"))
            return error
        text = f"create Pod {item.name} in StatefulSet {set_name} successful"
        self.tell(json, Note("SuccessfulCreate", text), pod_fields(made))
        return None

    def deletion_text(self, json: Json, pod: str, error: str) -> str:
        result = f"failed error: {error}" if error else "successful"
        return f"delete Pod {pod} in StatefulSet {json['metadata']['name']} {result}"

    async def _relabel(self, pod: Pod) -> None:
        json = self._pods.json(pod.key)
        if json is not None:
            labels = {**(json["metadata"].get("labels") or {}), STATEFUL_POD_NAME: pod.metadata.name}
            await self.tools.update(PODS, {**json, "metadata": {**json["metadata"], "labels": labels}})

    async def _write_status(self, key: str, plan: StatefulSetPlan) -> None:
        json = self._sets.json(key)
        if json is not None and plan.status != (json.get("status") or {}):
            await self.tools.update(STATEFUL_SETS, {**json, "status": plan.status}, subresource="status")


def identity_pod(stateful_set: Json, template: Json, item: NewIdentity) -> Json:
    """The pod of one identity: name, labels, hostname and subdomain are its own for ever (kubernetes: initIdentity)."""
    pod = pod_from(template, STATEFUL_SETS, stateful_set, str(item.ordinal))
    pod["metadata"]["name"] = item.name
    pod["metadata"]["labels"] = {
        **pod["metadata"].get("labels", {}), STATEFUL_POD_NAME: item.name, POD_INDEX: str(item.ordinal),
        CONTROLLER_REVISION_HASH: item.revision,
    }
    pod["spec"]["hostname"] = item.name
    if stateful_set["spec"].get("volumeClaimTemplates"):
        pod["spec"]["volumes"] = with_claims(pod["spec"].get("volumes") or [], stateful_set, item.ordinal)
    if stateful_set["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = stateful_set["spec"]["serviceName"]
    return pod

