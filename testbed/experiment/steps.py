"""Does one step of a method: creates a fault object, ships an image, scales, applies. How it went is seen by others."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from faults.choosing import SEED
from testbed.api.labels import DISRUPTION, REVISION, RUN
from testbed.api.resources import DEPLOYMENTS, REPLICA_SETS
from testbed.client.protocol import Client, PatchType
from testbed.errors import ApiUnavailable, InvalidInput, NotFound, TestbedError
from testbed.experiment.applying import Created, apply, deployments_in
from testbed.experiment.embedded import fault_resource
from testbed.experiment.journal import Journal
from testbed.experiment.kind import PatchStep, RolloutStep, ScaleStep, Step
from testbed.experiment.manifests import resource_of_kind
from testbed.experiment.timeline import Act

Json = dict[str, Any]


@dataclass
class Doer:
    """Does steps in one namespace, for one repetition of one run."""

    client: Client
    namespace: str
    run_id: str
    number: int
    journal: Journal
    applied: dict[str, tuple[Json, ...]]
    annotations: Mapping[str, str] = field(default_factory=dict)  # of every fault object that has no own
    seed: int = 0
    faults: dict[str, Json] = field(default_factory=dict)  # by step: the object as created
    created: list[Created] = field(default_factory=list)

    async def do(self, step: Step, at: float, jitter_s: float) -> Act:
        """Raises: ApiError, InvalidInput. ``at``: the moment of the run."""
        self.journal.note(f"step {step.name}", at_s=round(at, 3), jitter_s=round(jitter_s, 3))
        if step.fault is not None:
            return await self._fault(step, at, jitter_s)
        if step.rollout is not None:
            return await self._rollout(step.name, step.rollout, at)
        if step.scale is not None:
            return await self._scale(step.name, step.scale, at)
        if step.patch is not None:
            return await self._patch(step.name, step.patch, at)
        return await self._apply(step.name, at)

    # --- faults

    def fault_name(self, step: str) -> str:
        return f"{self.run_id}-{self.number}-{step}"[:63].rstrip("-")

    async def _fault(self, step: Step, at: float, jitter_s: float) -> Act:
        fault = copy.deepcopy(step.fault or {})
        resource = fault_resource(fault)
        meta = fault.setdefault("metadata", {})
        namespace = meta.setdefault("namespace", self.namespace)
        meta["name"] = self.fault_name(step.name)
        meta["labels"] = {**(meta.get("labels") or {}), DISRUPTION: step.name, RUN: self.run_id}
        draw = {SEED: f"{self.seed} {self.number} {step.name}"}
        meta["annotations"] = {**draw, **self.annotations, **(meta.get("annotations") or {})}
        self.journal.fault(resource.api_version, resource.kind, namespace, meta["name"], step.name)
        self.faults[step.name] = fault  # before it is there: the answer that it was made may be lost
        try:
            self.faults[step.name] = await self.client.create(resource, fault, namespace)
        except ApiUnavailable:
            raise
        except TestbedError:
            del self.faults[step.name]
            raise
        action = str((fault.get("spec") or {}).get("action") or "")
        return Act(step.name, "fault", f"{resource.kind} {action}".strip(), at, jitter_s,
                   by_deletion=resource.kind == "PodChaos" and action == "pod-kill")

    async def undo(self, step: str) -> bool:
        """Deletes a step's fault object; the chaos daemon then undoes it. Returns: whether it was there."""
        fault = self.faults[step]
        meta = fault["metadata"]
        try:
            await self.client.delete(fault_resource(fault), meta["name"], meta["namespace"], uid=meta.get("uid", ""))
        except NotFound:
            return False
        return True

    async def is_gone(self, step: str) -> bool:
        """Whether the API says that a step's fault object is not there: undone, whatever watches have seen of it."""
        meta = self.faults[step]["metadata"]
        try:
            await self.client.get(fault_resource(self.faults[step]), meta["name"], meta["namespace"])
        except TestbedError as error:
            return isinstance(error, NotFound)
        return False

    # --- changes of Deployments

    async def _rollout(self, name: str, rollout: RolloutStep, at: float) -> Act:
        deployment = await self.client.get(DEPLOYMENTS, rollout.deployment, self.namespace)
        if rollout.image is not None:
            container = _container(deployment, rollout.container)
            change: Json = {"name": container, "image": rollout.image}
            if rollout.env:
                change["env"] = [{"name": key, "value": value} for key, value in rollout.env.items()]
            patch: Any = _template({"spec": {"containers": [change]}})
            told = f" with {', '.join(rollout.env)}" if rollout.env else ""
            kind, what = PatchType.STRATEGIC, f"to {rollout.image}{told}"
        elif rollout.restart:
            now = datetime.now(UTC).isoformat()
            patch = _template({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}})
            kind, what = PatchType.STRATEGIC, "restarted"
        else:
            template = await self._previous_template(deployment)
            patch = [{"op": "replace", "path": "/spec/template", "value": template}]
            images = ", ".join(str(item.get("image")) for item in template["spec"]["containers"])
            kind, what = PatchType.JSON, f"back to {images}"
        changed = await self.client.patch(DEPLOYMENTS, rollout.deployment, patch, self.namespace, patch_type=kind)
        return self._change(name, "rollout", f"rollout of {rollout.deployment} {what}", at, changed)

    async def _previous_template(self, deployment: Json) -> Json:
        """The pod template of the revision before (kubectl: polymorphichelpers/rollback.go)."""
        uid = deployment["metadata"]["uid"]
        sets = await self.client.list(REPLICA_SETS, self.namespace)
        mine = [item for item in sets.items
                if any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or ())]
        mine.sort(key=lambda item: int((item["metadata"].get("annotations") or {}).get(REVISION) or 0))
        if len(mine) < 2:
            raise InvalidInput(f"Deployment {deployment['metadata']['name']!r} has no earlier revision to go back to")
        template: Json = copy.deepcopy(mine[-2]["spec"]["template"])
        (template.get("metadata") or {}).get("labels", {}).pop("pod-template-hash", None)
        return template

    async def _scale(self, name: str, scale: ScaleStep, at: float) -> Act:
        changed = await self.client.patch(DEPLOYMENTS, scale.deployment, {"spec": {"replicas": scale.replicas}},
                                          self.namespace)
        return self._change(name, "scale", f"{scale.deployment} scaled to {scale.replicas}", at, changed)

    async def _patch(self, name: str, patch: PatchStep, at: float) -> Act:
        resource = resource_of_kind(patch.kind)
        assert resource is not None, "the experiment was checked"
        changed = await self.client.patch(resource, patch.name, patch.merge,
                                          self.namespace if resource.namespaced else None)
        what = f"{patch.kind} {patch.name} changed"
        if resource == DEPLOYMENTS:
            return self._change(name, "patch", what, at, changed)
        return Act(name, "patch", what, at)

    async def _apply(self, name: str, at: float) -> Act:
        manifests = self.applied[name]
        await apply(self.client, manifests, self.namespace, self._note)
        keys = deployments_in(manifests, self.namespace)
        act = Act(name, "apply", f"{len(manifests)} objects applied", at)
        if not keys:
            return act
        namespace, _, deployment = keys[0].partition("/")
        changed = await self.client.get(DEPLOYMENTS, deployment, namespace)
        return self._change(name, "apply", act.what, at, changed)

    def _note(self, made: Created) -> None:
        self.created.append(made)
        self.journal.created(made[0].kind, made[1] or "", made[2])

    def _change(self, name: str, kind: Any, what: str, at: float, changed: Json) -> Act:
        meta = changed["metadata"]
        return Act(name, kind, what, at, deployment=f"{meta['namespace']}/{meta['name']}",
                   generation=int(meta.get("generation") or 0))


def _container(deployment: Json, name: str) -> str:
    names = [str(item["name"]) for item in deployment["spec"]["template"]["spec"]["containers"]]
    if name and name not in names:
        raise InvalidInput(f"Deployment {deployment['metadata']['name']!r} has no container {name!r}",
                           hint="its containers: " + ", ".join(names))
    return name or names[0]


def _template(change: Json) -> Json:
    return {"spec": {"template": change}}
