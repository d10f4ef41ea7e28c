"""Experiments with one planted cause each, in virtual time: the real control plane, agents and chaos daemon over a
simulated machine, watched as a run watches, and the timeline that comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faults.kinds import FREEZE_CHAOS, IMAGE_CHAOS, NODE_CHAOS, POD_CHAOS, SHAM_CHAOS
from testbed.api.resources import DEPLOYMENTS, SECRETS, SERVICES, ResourceType
from testbed.core.profile import FAST, Profile
from testbed.experiment.engine_witness import engine_events
from testbed.experiment.evidence import Observer
from testbed.experiment.observations import EngineSeen
from testbed.experiment.result import Disruption
from testbed.experiment.timeline import Act, disruption_of, settled
from testbed.runtime.simulated import SimulatedEngine
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.workloads import SECRET, deployment, service
from testbed.simulation.world import REGISTRY, World, is_true, open_world

Json = dict[str, Any]
SELECTED: Json = {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}}
KINDS = {"freeze": FREEZE_CHAOS, "image": IMAGE_CHAOS, "node": NODE_CHAOS, "pod": POD_CHAOS, "sham": SHAM_CHAOS}


@dataclass(frozen=True)
class Planted:
    """What is made slow, and how the disruption is made.

    Attributes:
        change: of the Deployment before it is applied. fault: (one of KINDS, its spec).
        before: a fault that is in force meanwhile. crashes: so many times the same container is killed before.
    """

    fault: tuple[str, Json]
    change: Callable[[Json], None] = lambda web: None
    before: tuple[str, Json] | None = None
    crashes: int = 0
    replicas: int = 2


def container_of(web: Json) -> Json:
    found: Json = web["spec"]["template"]["spec"]["containers"][0]
    return found


def measured(planted: Planted, *, seed: int, profile: Profile = FAST) -> Disruption:
    """The timeline of one such experiment."""
    return _in_world(planted, seed, profile, lambda experiment: experiment.run())


def rolled_out(planted: Planted, *, seed: int, profile: Profile = FAST) -> Disruption:
    """The timeline of a rollout of the next version; ``planted.fault`` is not used."""
    return _in_world(planted, seed, profile, lambda experiment: experiment.roll_out())


def _in_world(
    planted: Planted, seed: int, profile: Profile, body: Callable[[Experiment], Awaitable[Disruption]]
) -> Disruption:
    async def main(loop: VirtualLoop) -> Disruption:
        async with open_world(loop, seed, nodes=3, profile=profile) as world:
            await world.start_registry()
            await world.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"},
                                         "stringData": {"word": SECRET}})
            await world.create(SERVICES, service("web"))
            web = deployment("web", planted.replicas)
            planted.change(web)
            await world.create(DEPLOYMENTS, web)
            await world.until_settled()
            return await body(Experiment(world, planted))

    return run_virtual(main)


@dataclass
class Experiment:
    world: World
    planted: Planted
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        def events(start_ns: int) -> AsyncIterator[EngineSeen]:
            engine = SimulatedEngine(self.world.machine, "witness")
            return engine_events(engine, self.world.instance_id, start_ns, self.world.clock)

        self.observer = Observer(self.world.client, "default", list(KINDS.values()), events)

    async def run(self) -> Disruption:
        await self.observer.start()
        try:
            if self.planted.before is not None:
                await self._inject("before", *self.planted.before)
            victim = await self._crashes()
            await asyncio.sleep(self.world.draw.uniform(0.0, 2.0))
            kind, spec = self.planted.fault
            if victim:
                spec = {**spec, "mode": "one", "selector": {"pods": {"default": [victim]}}}
            return await self._measure(kind, spec)
        finally:
            await self.observer.stop()

    async def roll_out(self) -> Disruption:
        await self.observer.start()
        try:
            await asyncio.sleep(self.world.draw.uniform(0.0, 2.0))
            web = next(item for item in self.world.objects(DEPLOYMENTS) if item["metadata"]["name"] == "web")
            container = {**container_of(web), "env": [{"name": "SHIPMENT", "value": "2"}]}
            container["env"] += [item for item in container_of(web)["env"] if item["name"] != "SHIPMENT"]
            started = self.observer.now()
            done = await self.world.patch(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {
                "containers": [container]}}}})
            act = Act("ship", "rollout", "ship", started, deployment="default/web",
                      generation=done["metadata"]["generation"])

            def over() -> bool:
                return settled(disruption_of(act, self.observer.evidence, self.world.profile,
                                             until=self.observer.now(), attributed=False).marks)

            await self.world.until(over, within_s=300, what="rolled out")
            await asyncio.sleep(0.5)
            return disruption_of(act, self.observer.evidence, self.world.profile, until=self.observer.now())
        finally:
            await self.observer.stop()

    async def _crashes(self) -> str:
        """Kills the same container again and again, each time when it is back. Returns: its pod."""
        pod = self.world.pods(app="web")[0]["metadata"]["name"]
        for number in range(self.planted.crashes):
            restarts = self._restarts(pod)
            await self._inject(f"crash-{number}", "pod", {
                "action": "container-kill", "containerNames": ["web"], "mode": "one",
                "selector": {"pods": {"default": [pod]}}})
            await self.world.until(lambda count=restarts: self._restarts(pod) > count)
            await self.world.until_settled()
        return pod if self.planted.crashes else ""

    def _restarts(self, name: str) -> int:
        pod = next(item for item in self.world.pods(app="web") if item["metadata"]["name"] == name)
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    async def _inject(self, name: str, kind: str, spec: Mapping[str, Any]) -> None:
        resource = KINDS[kind]
        await self.world.create(resource, _object(resource, name, spec))
        await self.world.until(lambda: is_true(self._fault(resource, name), "AllInjected"), within_s=60)

    def _fault(self, resource: ResourceType, name: str) -> Json:
        return next(item for item in self.world.objects(resource) if item["metadata"]["name"] == name)

    async def _measure(self, kind: str, spec: Json) -> Disruption:
        await self._inject("planted", kind, spec)
        found: list[Disruption] = []

        def over() -> bool:
            act = Act("planted", "fault", kind, self.observer.now(), injections=self.observer.injections("planted"),
                      by_deletion=spec.get("action") == "pod-kill")
            found[:] = [disruption_of(act, self.observer.evidence, self.world.profile, until=self.observer.now(),
                                      attributed=False)]
            return settled(found[0].marks)

        await self.world.until(over, within_s=120, what="restored")
        await asyncio.sleep(1.0)
        act = Act("planted", "fault", kind, self.observer.now(), injections=self.observer.injections("planted"),
                  by_deletion=spec.get("action") == "pod-kill")
        return disruption_of(act, self.observer.evidence, self.world.profile, until=self.observer.now())


def _object(resource: ResourceType, name: str, spec: Mapping[str, Any]) -> Json:
    return {"apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name, "namespace": "default",
                         "annotations": {"testbed.io/max-nodes": "3", "testbed.io/max-pods": "100%"}},
            "spec": dict(spec)}


# --- one planted cause each


def slow_image(web: Json) -> None:
    container_of(web).update(image=f"{REGISTRY}/sample:v1", imagePullPolicy="Always")


def slow_start(web: Json) -> None:
    container_of(web)["env"].append({"name": "START_DELAY_S", "value": "6"})
    del container_of(web)["livenessProbe"]


def long_period(web: Json) -> None:
    container_of(web)["readinessProbe"]["periodSeconds"] = 10


def slow_liveness(web: Json) -> None:
    container_of(web)["livenessProbe"]["periodSeconds"] = 4


def long_drain(web: Json) -> None:
    web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 12


def long_toleration(web: Json) -> None:
    web["spec"]["template"]["spec"]["tolerations"] = [
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 8}]


KILL: tuple[str, Json] = ("pod", {"action": "container-kill", "containerNames": ["web"], **SELECTED})
HANG: tuple[str, Json] = ("freeze", {**SELECTED, "duration": "60s"})
NODE: tuple[str, Json] = ("node", {"action": "kill", **SELECTED, "duration": "60s"})
PLANTED: dict[str, tuple[Planted, str]] = {
    "slow image": (Planted(("pod", {"action": "pod-kill", **SELECTED}), slow_image,
                           before=("image", {"action": "registry-slow", "latency": "6s", "duration": "90s"})), "image"),
    "slow start-up": (Planted(KILL, slow_start), "application-start"),
    "long probe period": (Planted(HANG, slow_liveness), "probe"),
    "long readiness period": (Planted(KILL, long_period), "readiness"),
    "long drain": (Planted(HANG, long_drain), "draining"),
    "back-off": (Planted(KILL, crashes=3), "back-off"),
    "eviction": (Planted(NODE, long_toleration), "eviction-timeout"),
}


def recreate(web: Json) -> None:
    web["spec"]["strategy"] = {"type": "Recreate"}
    web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 20
    container_of(web)["env"].append({"name": "DRAIN_S", "value": "12"})


def min_ready(web: Json) -> None:
    web["spec"]["minReadySeconds"] = 5


def one_after_the_other(web: Json) -> None:
    slow_start(web)
    web["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


NOTHING: tuple[str, Json] = ("sham", {})
ROLLOUTS: dict[str, tuple[Planted, str]] = {
    "old pods that drain": (Planted(NOTHING, recreate), "draining"),
    "minReadySeconds": (Planted(NOTHING, min_ready), "min-ready"),
    "slow start-up, one after the other": (Planted(NOTHING, one_after_the_other, replicas=3), "application-start"),
}
SHAM = Planted(("sham", {**SELECTED, "duration": "4s"}))
