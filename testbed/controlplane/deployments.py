"""Deployments: carries one step of a rollout out after another (core: ``deployments``)."""

from __future__ import annotations

from typing import Any

from testbed.api.apps_v1 import Deployment
from testbed.api.labels import POD_TEMPLATE_HASH, REVISION
from testbed.api.resources import DEPLOYMENTS, REPLICA_SETS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools, deep_copy
from testbed.controlplane.owners import controlled_by, controller_uid
from testbed.controlplane.ownership import adopt, release
from testbed.core import conditions, deployments, revisions, templates
from testbed.core.deployment_state import DeploymentState, ReplicaSetState
from testbed.core.deployments import DeploymentPlan, NewReplicaSet
from testbed.core.reasons import Note
from testbed.errors import AlreadyExists, ApiError, Conflict, NotFound

Json = dict[str, Any]


class DeploymentController(Controller):
    name = "deployment-controller"
    workers = 4

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._deployments, self._sets = tools.caches.deployments, tools.caches.replica_sets
        self._pods = tools.caches.pods
        self._deployments.on_change(self._deployment_changed)
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    def _deployment_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(key_of(changed))

    def _set_changed(self, old: Json | None, new: Json | None) -> None:
        for uid in {controller_uid(old): None, controller_uid(new): None}:
            for key in self._deployments.keys_by("uid", uid):
                self.queue.add(key)
        if new is not None and not controller_uid(new):
            labels = new["metadata"].get("labels") or {}
            for candidate in self._deployments.by("namespace", new["metadata"].get("namespace", "")):
                if candidate.spec.selector.matches(labels):
                    self.queue.add(candidate.key)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        """Recreate waits for the end of old pods; nobody else is interested."""
        if old is None or (new is not None and (new.get("status") or {}).get("phase") not in ("Succeeded", "Failed")):
            return
        for set_key in self._sets.keys_by("uid", controller_uid(old)):
            for key in self._deployments.keys_by("uid", controller_uid(self._sets.json(set_key))):
                view = self._deployments.get(key)
                if view is not None and view.spec.strategy.type == "Recreate":
                    self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        view, json = self._deployments.get(key), self._deployments.json(key)
        if view is None or json is None:
            return None
        sets = await self._claim(view, json)
        taken: list[str] = []
        plan = self._plan(view, json, sets, taken)
        for note in plan.notes:
            if plan.create is None or plan.create.name not in note.message:
                self.tell(json, note)
        if plan.create is not None:
            try:
                await self._create(json, plan.create)
            except AlreadyExists:
                if await self._is_ours(json, plan.create.name):
                    raise Conflict(f"{plan.create.name} is not in the cache yet") from None
                plan = self._plan(view, json, sets, [plan.create.name])
            except ApiError as error:
                await self._tell_failure(json, plan, error)
                raise
            else:
                for note in plan.notes:
                    self.tell(json, note)
        await self._resize(json, plan)
        await self._delete(plan, view)
        await self._write(key, json, plan)
        return plan.requeue_after_s

    def _plan(self, view: Deployment, json: Json, sets: list[Json], taken: list[str]) -> DeploymentPlan:
        states = []
        for item in sets:
            set_view = self._sets.get(key_of(item))
            if set_view is not None:
                states.append(ReplicaSetState.of(set_view, item))
        running = [
            state.uid for state in states if any(not pod.terminal for pod in self._pods.by("controller", state.uid))
        ]
        foreign = [
            each.metadata.name for each in self._sets.by("namespace", view.metadata.namespace)
            if each.metadata.controller is None or each.metadata.controller.uid != view.metadata.uid
        ]
        return deployments.plan(
            DeploymentState.of(view, json), states, self.clock.now(), running_of=running, taken=[*taken, *foreign]
        )

    async def _claim(self, view: Deployment, json: Json) -> list[Json]:
        """Our ReplicaSets: owned ones, and orphans that match."""
        meta, selector = view.metadata, view.spec.selector
        keys = []
        for each in self._sets.by("controller", meta.uid):
            if selector.matches(each.metadata.labels) or meta.deleting:
                keys.append(each.key)
            elif not each.metadata.deleting:
                await release(self.tools, REPLICA_SETS, each.key, meta.uid)
        if not meta.deleting and not selector.empty:
            for each in self._sets.by("controller", ""):
                if each.metadata.namespace != meta.namespace or each.metadata.deleting:
                    continue
                if selector.matches(each.metadata.labels) and await adopt(
                    self.tools, DEPLOYMENTS, json, REPLICA_SETS, each.key
                ):
                    keys.append(each.key)
        return [item for key in keys if (item := self._sets.json(key)) is not None]

    async def _create(self, json: Json, new: NewReplicaSet) -> None:
        maximum = DeploymentState.of(Deployment.of(json), json).maximum
        await self.tools.create(REPLICA_SETS, replica_set_of(json, new, maximum), json["metadata"]["namespace"])

    async def _is_ours(self, json: Json, name: str) -> bool:
        """Whether the ReplicaSet that has the name is ours already (kubernetes: getNewReplicaSet on AlreadyExists)."""
        try:
            live = await self.client.get(REPLICA_SETS, name, json["metadata"]["namespace"])
        except NotFound:
            return True
        same = templates.canonical(live["spec"]["template"]) == templates.canonical(json["spec"]["template"])
        return controller_uid(live) == json["metadata"]["uid"] and same

    async def _tell_failure(self, json: Json, plan: DeploymentPlan, error: ApiError) -> None:
        message = f"Failed to create new replica set \"{plan.create.name if plan.create else ''}\": {error}"
        self.tell(json, Note("ReplicaSetCreateError", message, "Warning"))
        failed = conditions.with_condition(
            (json.get("status") or {}).get("conditions") or (), "Progressing", "False", "ReplicaSetCreateError",
            message, self.clock.now(), update_time=True,
        )
        status = {**(json.get("status") or {}), "conditions": list(failed)}
        if status != json.get("status"):
            await self.tools.update(DEPLOYMENTS, {**json, "status": status}, subresource="status")

    async def _resize(self, json: Json, plan: DeploymentPlan) -> None:
        """All changes of one ReplicaSet in one write."""
        namespace, annotations = json["metadata"]["namespace"], json["metadata"].get("annotations") or {}
        changes = {item.replica_set: item for item in plan.resize}
        renumber = plan.renumber
        names = list(changes) + ([renumber.replica_set] if renumber and renumber.replica_set not in changes else [])
        for name in names:
            current = self._sets.json(f"{namespace}/{name}")
            if current is None:
                raise Conflict(f"ReplicaSet {name} is gone")
            fresh = {**current, "metadata": dict(current["metadata"]), "spec": dict(current["spec"])}
            notes = fresh["metadata"].get("annotations") or {}
            if renumber is not None and renumber.replica_set == name:
                notes = revisions.of_new_replica_set(annotations, notes, renumber.revision)
                fresh["spec"]["minReadySeconds"] = json["spec"].get("minReadySeconds", 0)
            if (change := changes.get(name)) is not None:
                notes = revisions.with_sizes(notes, change.desired, change.maximum)
                fresh["spec"]["replicas"] = change.replicas
            fresh["metadata"]["annotations"] = notes
            await self.tools.update(REPLICA_SETS, fresh)

    async def _delete(self, plan: DeploymentPlan, view: Deployment) -> None:
        for name in plan.delete:
            known = self._sets.get(f"{view.metadata.namespace}/{name}")
            if known is None:
                continue
            try:
                await self.client.delete(REPLICA_SETS, name, view.metadata.namespace, uid=known.metadata.uid)
            except NotFound:
                continue

    async def _write(self, key: str, json: Json, plan: DeploymentPlan) -> None:
        """First the revision's annotation, then the status of what that write returned."""
        annotations = json["metadata"].get("annotations") or {}
        if plan.revision is not None and annotations.get(REVISION) != str(plan.revision):
            metadata = {**json["metadata"], "annotations": {**annotations, REVISION: str(plan.revision)}}
            json = await self.tools.update(DEPLOYMENTS, {**json, "metadata": metadata})
        if plan.status != (json.get("status") or {}):
            await self.tools.update(DEPLOYMENTS, {**json, "status": plan.status}, subresource="status")


def replica_set_of(deployment: Json, new: NewReplicaSet, maximum: int) -> Json:
    """A new revision's ReplicaSet."""
    template = deep_copy(deployment["spec"]["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[POD_TEMPLATE_HASH] = new.hash
    selector = deep_copy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[POD_TEMPLATE_HASH] = new.hash
    annotations = revisions.of_new_replica_set(deployment["metadata"].get("annotations") or {}, {}, new.revision)
    return {
        "apiVersion": REPLICA_SETS.api_version, "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": new.name, "namespace": deployment["metadata"]["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": revisions.with_sizes(annotations, deployment["spec"].get("replicas", 1), maximum),
            "ownerReferences": [controlled_by(DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": new.replicas, "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
            "selector": selector, "template": template,
        },
    }


