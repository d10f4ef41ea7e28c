"""PodChaos ``pod-kill``: the pod is deleted through the API, as upstream does (chaos-mesh
controllers/chaosimpl/podchaos/podkill)."""

from __future__ import annotations

from faults.kinds import POD_CHAOS
from faults.one_shot import OneShot
from faults.protocol import Aim, Drawing, Json, NotInEffect, TargetGone, Tools
from faults.refusals import MAX_GRACE_S
from testbed.api.resources import PODS
from testbed.errors import Conflict, NotFound


class PodKill(OneShot):
    kind = POD_CHAOS
    action = "pod-kill"
    summary = "the pod is deleted through the API, with gracePeriod seconds (0)"
    level = "pod"
    node_kinds = ("slice", "engine")
    elsewhere = True
    drawn = Drawing("killed", "#c0392b")
    fields = {"gracePeriod": {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_GRACE_S,
                              "description": "Seconds that pod-kill leaves the pod; 0: none."}}

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        target = aim.target
        return {"namespace": target.namespace, "pod": target.pod, "uid": target.uid,
                "grace_s": int(aim.spec.get("gracePeriod") or 0)}

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
