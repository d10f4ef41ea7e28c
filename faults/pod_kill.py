"""PodChaos ``pod-kill``: the pod is deleted through the API, as upstream does (chaos-mesh
controllers/chaosimpl/podchaos/podkill)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults.one_shot import OneShot
from faults.protocol import Json, NotInEffect, Target, TargetGone, Tools
from testbed.api.resources import PODS
from testbed.errors import Conflict, NotFound


class PodKill(OneShot):
    level = "pod"

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, target: Target, spec: Mapping[str, Any]) -> Json:
        return {"namespace": target.namespace, "pod": target.pod, "uid": target.uid,
                "grace_s": int(spec.get("gracePeriod") or 0)}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        try:
            await tools.client.delete(PODS, plan["pod"], plan["namespace"], grace_period_s=plan["grace_s"],
                                      uid=plan["uid"])
        except (NotFound, Conflict) as error:
            raise TargetGone(f"pod {plan['namespace']}/{plan['pod']} is gone") from error

    async def verify(self, tools: Tools, plan: Json) -> str:
        try:
            pod = await tools.client.get(PODS, plan["pod"], plan["namespace"])
        except NotFound:
            return "the pod is gone"
        if pod["metadata"].get("uid") != plan["uid"]:
            return "the pod is gone"
        if pod["metadata"].get("deletionTimestamp"):
            return "the pod is being deleted"
        raise NotInEffect("the pod is not being deleted")
