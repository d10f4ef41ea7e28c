"""ImageChaos: pulls from the cluster's own registry fail, are slow, or no longer find a tag.

It breaks the registry of ``testbed registry start``, and nothing else: images that an engine has already are still used
where the pull policy allows it. What proves it is what the engine is told that asks the registry, as for a pull.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faults.durations import PATTERN, seconds
from faults.effects import Effect, Pulls
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import IMAGE_CHAOS
from faults.network_effects import effect_of
from faults.protocol import Aim, Drawing, Json, NotInEffect, Refused, TargetGone, Tools
from testbed.api import labels
from testbed.errors import EngineError, Mistake
from testbed.runtime.containers import ContainerState

PORT = 5000  # of the registry, in its container
_NOBODY = "testbed-asks/nobody:none"  # an image that no registry has: its answer says that there is one
_SHARE_SEEN = 0.8  # of the latency that was asked for: a pull takes several round trips


class ImageFault(HeldFault):
    """Base of the actions."""

    kind = IMAGE_CHAOS
    level = "cluster"
    after_restart = "cluster"

    async def _plan(self, tools: Tools, aim: Aim, program: str, plan: Json, **joins: Any) -> Json:
        found = await registry_of(tools)
        hold = Hold(aim.entry_id, self.name, program, plan, found.id, aim.deadline_ns, **joins)
        return {"hold": hold.to_json(), "registry": found.labels[labels.REGISTRY]}


class RegistryDown(ImageFault):
    action = "registry-down"
    summary = "the cluster's registry refuses connections"
    needs = ("reject",)
    drawn = Drawing("no registry", "#6c3483")

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        return await self._plan(tools, aim, "registry", {"do": "refuse", "port": PORT}, network=True,
                                cap_add=("NET_ADMIN", "NET_RAW"))

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        found, _ = await asked(tools, f"{plan['registry']}/{_NOBODY}")
        if found is not None:
            raise NotInEffect("the registry answers")
        return "the engine got no answer from the registry"

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Pulls(plan["hold"]["joined"], refused=True),)


class RegistrySlow(ImageFault):
    action = "registry-slow"
    summary = "the cluster's registry answers late"
    needs = ("netem or nfqueue",)
    drawn = Drawing("slow registry", "#af7ac5")
    fields = {"latency": {"type": "string", "pattern": PATTERN, "maxLength": 64,
                          "description": "By which each of its packets is late."}}
    required = ("latency",)
    example = {"latency": "500ms"}

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        if not spec.get("latency"):
            return (Mistake("is required", "spec.latency"),)
        if not 0 < seconds(str(spec["latency"])) <= 60:
            return (Mistake("must be more than 0 and at most 60s", "spec.latency"),)
        return ()

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        effect = effect_of({"action": "delay", "delay": {"latency": aim.spec["latency"]}})
        flow = {"hook": "out", "device": "eth0", "side": "", "peers": None}
        return await self._plan(tools, aim, "packets", {"flows": [flow], "effect": effect}, network=True,
                                cap_add=("NET_ADMIN", "NET_RAW"))

    def verify_within_s(self, plan: Json) -> float:
        return 5.0 + 10 * _latency_s(plan)

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        found, took_s = await asked(tools, f"{plan['registry']}/{_NOBODY}")
        if found is None:
            raise NotInEffect("the registry does not answer at all")
        if took_s < _SHARE_SEEN * _latency_s(plan):
            raise NotInEffect(f"its answer came after {took_s * 1000:.0f} ms")
        return f"its answer came after {took_s * 1000:.0f} ms"

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Pulls(plan["hold"]["joined"], delay_s=_latency_s(plan)),)


class TagGone(ImageFault):
    action = "tag-gone"
    summary = "one tag is gone from the cluster's registry"
    drawn = Drawing("tag gone", "#c39bd3")
    fields = {"image": {"type": "string", "maxLength": 255, "description":
                        "Name and tag as it was pushed, sample:v1; with or without the registry before it."}}
    example = {"image": "sample:v1"}

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        image = str(spec.get("image") or "")
        if not image:
            return (Mistake("tag-gone needs the image whose tag it is", "spec.image"),)
        repository, _, tag = image.rpartition(":")
        if not repository or "/" in tag or "@" in image or ".." in image.split("/"):
            return (Mistake(f"{image!r} is not NAME:TAG", "spec.image"),)
        return ()

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        address = (await registry_of(tools)).labels[labels.REGISTRY]
        repository, _, tag = str(aim.spec["image"]).removeprefix(f"{address}/").rpartition(":")
        found, _ = await asked(tools, f"{address}/{repository}:{tag}")
        if not found:
            raise Refused(f"the registry has no {repository}:{tag}", hint="testbed registry push brings it in")
        made = await self._plan(tools, aim, "registry", {"do": "hide", "repository": repository, "tag": tag}, pid=True,
                                cap_add=("SYS_PTRACE", "DAC_OVERRIDE"))
        return made | {"image": f"{address}/{repository}:{tag}"}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        found, _ = await asked(tools, plan["image"])
        if found is not False:
            raise NotInEffect(f"the registry still has {plan['image']}" if found else "the registry does not answer")
        return f"the registry does not know {plan['image']}"

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Pulls(plan["hold"]["joined"], hidden=plan["image"]),)


async def registry_of(tools: Tools) -> ContainerState:
    """Raises: Refused when the cluster has none, TargetGone when it does not run."""
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_REGISTRY})
    if not found:
        raise Refused("this cluster has no registry of its own", hint="testbed registry start")
    if not found[0].running:
        raise TargetGone("the cluster's registry does not run")
    return found[0]


async def asked(tools: Tools, reference: str) -> tuple[bool | None, float]:
    """Whether the registry says that it has an image; None: it gives no answer. And how long that took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        found: bool | None = await tools.engine.in_registry(reference)
    except EngineError:
        found = None
    return found, loop.time() - begun


def _latency_s(plan: Json) -> float:
    return float(plan["hold"]["plan"]["effect"]["delay"]["latency_s"])
