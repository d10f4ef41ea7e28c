"""PodChaos ``pod-failure``: the pod's containers are made to fail by giving them the pause image, and get their own
back.

As upstream (chaos-mesh controllers/chaosimpl/podchaos/podfailure): a pod's image is one of the few fields that may
be changed, and the healer sees nothing but a pod whose containers were exchanged for ones that do not serve.
Upstream keeps the old images in annotations; here they are in the ledger, and in the holder that puts them back.
"""

from __future__ import annotations

from collections.abc import Mapping

from faults.kinds import POD_CHAOS
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, Refused, TargetGone, Tools
from testbed.api import labels
from testbed.api.resources import PODS
from testbed.client.protocol import PatchType
from testbed.errors import Invalid, NotFound
from testbed.runtime.containers import ContainerState

PAUSE_IMAGE = "testbed-pause:1"


class PodFailure(Fault):
    kind = POD_CHAOS
    action = "pod-failure"
    summary = "the pod's containers get the pause image: they run and serve nothing"
    level = "pod"
    node_kinds = ("slice", "engine")
    after_restart = "pod"
    drawn = Drawing("failing", "#d35400")

    def verify_within_s(self, plan: Json) -> float:
        return float(plan["grace_s"]) + 10.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        target = aim.target
        pod = await _pod(tools, target.namespace, target.pod, target.uid)
        containers = pod["spec"]["containers"]
        if any(container["image"] == PAUSE_IMAGE for container in containers):
            raise Refused(f"pod {target.namespace}/{target.pod} has the pause image already: its own images, which are "
                          "to come back, cannot be told")
        return {
            "namespace": target.namespace, "pod": target.pod, "uid": target.uid,
            "images": {container["name"]: container["image"] for container in containers},
            "old_containers": [state.id for state in await _containers(tools, target.uid) if state.running],
            "grace_s": int(pod["spec"].get("terminationGracePeriodSeconds") or 0),
        }

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await _set_images(tools, plan, {name: PAUSE_IMAGE for name in plan["images"]})

    async def verify(self, tools: Tools, plan: Json) -> str:
        pod = await _pod(tools, plan["namespace"], plan["pod"], plan["uid"])
        if any(container["image"] != PAUSE_IMAGE for container in pod["spec"]["containers"]):
            raise NotInEffect("the pod still has its own images")
        still = [state.id[:12] for state in await _containers(tools, plan["uid"])
                 if state.running and state.id in plan["old_containers"]]
        if still:
            raise NotInEffect(f"containers of its own images still run: {', '.join(still)}")
        return "no container of the pod's own images runs"

    async def undo(self, tools: Tools, plan: Json) -> None:
        try:
            await _set_images(tools, plan, plan["images"])
        except TargetGone:
            return

    async def undone(self, tools: Tools, plan: Json) -> bool:
        try:
            pod = await _pod(tools, plan["namespace"], plan["pod"], plan["uid"])
        except TargetGone:
            return True
        return all(plan["images"].get(container["name"], container["image"]) == container["image"]
                   for container in pod["spec"]["containers"])

    def shares(self, plan: Json) -> str:
        """Two that were begun at once: what one put back, the other would still count as hit."""
        return f"images of {plan['uid']}"

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        pod = {"namespace": plan["namespace"], "name": plan["pod"], "uid": plan["uid"], "images": plan["images"]}
        return ({"do": "restore-images", "api": tools.site.api_url, **pod},)


async def _pod(tools: Tools, namespace: str, name: str, uid: str) -> Json:
    try:
        pod = await tools.client.get(PODS, name, namespace)
    except NotFound:
        pod = {"metadata": {}}
    if pod["metadata"].get("uid") != uid:
        raise TargetGone(f"pod {namespace}/{name} is gone")
    return pod


async def _containers(tools: Tools, uid: str) -> tuple[ContainerState, ...]:
    return await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_CONTAINER, labels.POD_UID: uid,
    })


async def _set_images(tools: Tools, plan: Json, images: Mapping[str, str]) -> None:
    """One JSON patch that holds for this pod only: its uid is tested in it."""
    pod = await _pod(tools, plan["namespace"], plan["pod"], plan["uid"])
    patch: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": plan["uid"]}]
    patch += [{"op": "replace", "path": f"/spec/containers/{index}/image", "value": images[container["name"]]}
              for index, container in enumerate(pod["spec"]["containers"])
              if container["name"] in images and container["image"] != images[container["name"]]]
    if len(patch) == 1:
        return
    try:
        await tools.client.patch(PODS, plan["pod"], patch, plan["namespace"], patch_type=PatchType.JSON)
    except (NotFound, Invalid) as error:
        await _pod(tools, plan["namespace"], plan["pod"], plan["uid"])  # TargetGone when it was exchanged meanwhile
        raise NotInEffect(f"the images could not be changed: {error.message}") from error
