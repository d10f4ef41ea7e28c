"""Seeded scenarios: a few workloads, and a minute or two in which much goes wrong at once.

A scenario is a list of acts drawn from its seed; each act either lasts for a time that is drawn too and is then taken
back, or is a single blow. Afterwards everything is calm, and the cluster must find back by itself (I14). All faults
that a user has are injected as fault objects, so that the chaos daemon is under test as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from faults.kinds import FREEZE_CHAOS, NODE_CHAOS, POD_CHAOS
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS, SECRETS, SERVICES, ResourceType
from testbed.errors import AlreadyExists, ApiError, NotFound
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated import SimulatedEngine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.checks_cluster import (
    EverythingIsBounded,
    FaultsAreLeases,
    RolloutsKeepTheirBounds,
    SecretsStaySecret,
    UnknownIsNotDead,
)
from testbed.simulation.checks_containers import (
    HealthyIsLeftAlone,
    NoOrphans,
    OneOfEach,
    ProbesMeanThisContainer,
    RestartsOnlyGrow,
    StoppedInOrder,
    StrangersAreLeftAlone,
)
from testbed.simulation.drawn_faults import draw_faults, inject
from testbed.simulation.invariants import Invariants, Violation
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.pulse import SimulatedPulse
from testbed.simulation.workloads import SECRET, deployment, flaky, service
from testbed.simulation.world import World, open_world

Json = dict[str, Any]

CALM_S = 240.0
_QUIET_S = 3.0
_CHAOS_LABEL = {"labelSelectors": {"app": "web"}}


@dataclass(frozen=True)
class Outcome:
    """What a scenario came to. ``settled_s``: virtual seconds from the last act until all was well."""

    seed: int
    hash: str
    acts: tuple[str, ...]
    settled_s: float
    virtual_s: float
    requests: int
    failed: int


@dataclass(frozen=True)
class Act:
    """``at_s``: when; ``lasts_s``: until it is taken back, for acts that are."""

    at_s: float
    name: str
    lasts_s: float


def draw_acts(draw: random.Random, names: list[str], count: int, span_s: float) -> list[Act]:
    acts = [Act(draw.uniform(0.0, span_s), draw.choice(names), draw.uniform(0.5, 12.0)) for _ in range(count)]
    return sorted(acts, key=lambda act: act.at_s)


class Scenario:
    """One run of a seed. ``wall_jumps``: whether the wall clock jumps meanwhile (I12: it must not matter). ``faults``:
    how many registered faults are drawn besides."""

    def __init__(
        self, world: World, *, acts: int = 8, span_s: float = 60.0, only: tuple[str, ...] = (),
        wall_jumps: bool = False, faults: int = 0,
    ) -> None:
        self.world = world
        self.faults = draw_faults(world.seed, faults, span_s)
        self._draw = world.draw
        self._jumps = random.Random(f"{world.seed} jumps") if wall_jumps else None
        self._deeds: dict[str, Callable[[Act], Awaitable[None]]] = {
            "scale": self._scale, "ship": self._ship, "crash": self._crash, "pod-kill": self._pod_kill,
            "hang": self._hang, "sicken": self._sicken, "freeze": self._freeze, "node-kill": self._node_kill,
            "node-freeze": self._node_freeze, "partition": self._partition, "agent-crash": self._agent_crash,
            "api-restart": self._api_restart, "chaos-restart": self._chaos_restart,
            "engine-silent": self._engine_silent, "engine-down": self._engine_down,
            "events-lost": self._events_lost, "stream-cut": self._stream_cut, "container-hung": self._container_hung,
            "answers-lost": self._answers_lost, "engine-slow": self._engine_slow, "oom": self._oom,
            "removals-stuck": self._removals_stuck, "node-replace": self._node_replace,
            "pod-failure": self._pod_failure, "recreate": self._recreate,
        }
        names = list(only) or list(self._deeds)
        self.acts = draw_acts(self._draw, names, acts, span_s)
        self._faults = 0
        self._version = 1
        self.secrets = SecretsStaySecret(SECRET)
        self.invariants = Invariants(world, [
            NoOrphans(), OneOfEach(), HealthyIsLeftAlone(), RolloutsKeepTheirBounds(world), UnknownIsNotDead(world),
            ProbesMeanThisContainer(), RestartsOnlyGrow(), FaultsAreLeases(), StrangersAreLeftAlone(),
            StoppedInOrder(), EverythingIsBounded(), self.secrets,
        ])

    async def run(self) -> Outcome:
        """Raises: Violation, DidNotHappen (the cluster did not find back)."""
        world = self.world
        try:
            await self._prepare()
            pulse = SimulatedPulse(world, "web", rate=20.0)
            pulse.begin()
            self.invariants.begin()
            await asyncio.gather(
                *(self._do(act, world.loop.time() + act.at_s) for act in self.acts),
                *(inject(world, drawn, number, "web") for number, drawn in enumerate(self.faults)),
            )
            calm_s = world.loop.time()
            world.trace.add("calm")
            await self._settle()
            settled_s = world.loop.time() - calm_s
            await self._judge_quiet(pulse)
            return Outcome(
                world.seed, world.trace.hash(), tuple(f"{act.at_s:.1f} {act.name}" for act in self.acts), settled_s,
                world.loop.time(), len(pulse.records), len(pulse.failed()),
            )
        finally:
            self.secrets.close()
            await self.invariants.close()

    async def _settle(self) -> None:
        try:
            await self.world.until_settled(CALM_S)
        except Exception as error:
            self.invariants.judge()
            raise Violation(
                f"seed {self.world.seed}: I14: {error}\nacts: {self.acts}\n--- trace\n{self.world.trace.tail(80)}"
            ) from error

    async def _judge_quiet(self, pulse: SimulatedPulse) -> None:
        """Once all is well, nobody loses a request any more."""
        began_s = self.world.loop.time() + 0.5
        await asyncio.sleep(_QUIET_S)
        await pulse.end()
        self.invariants.look()
        if lost := pulse.failed(began_s):
            self.invariants.found.append(f"I14: {len(lost)} requests lost after all was well: {lost[:3]}")
        self.invariants.judge()

    async def _do(self, act: Act, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.world.loop.time()))
        self.world.trace.add(f"ACT {act.name} {act.lasts_s:.3f}")
        if self._jumps is not None:
            self.world.clock.jump(self._jumps.choice((-3600.0, 3600.0, -3.2e8, 3.2e8)))
        await self._deeds[act.name](act)

    # --- the beginning

    async def _prepare(self) -> None:
        world = self.world
        stranger = ContainerSpec(
            name="stranger", image="sample:v1", labels={labels.INSTANCE: "another"}, cgroup_parent="/docker"
        )
        engine = SimulatedEngine(world.machine)
        await engine.start(await engine.create(stranger))
        await world.create(SECRETS, {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"}, "stringData": {"word": SECRET},
        })
        await world.create(SERVICES, service("web"))
        await world.create(DEPLOYMENTS, deployment("web", 4))
        await world.create(DEPLOYMENTS, flaky())
        await world.until_settled()

    # --- deeds of a user

    async def _scale(self, act: Act) -> None:
        await self._patch_web({"replicas": self._draw.randint(1, 8)})

    async def _ship(self, act: Act) -> None:
        """Now and then a broken version, which somebody takes back later."""
        version = self._draw.choice(("v1", "v2", "v2", "broken"))
        await self._ship_version(version)
        if version == "broken":
            await asyncio.sleep(act.lasts_s)
            await self._ship_version("v1")

    async def _ship_version(self, version: str) -> None:
        self._version += 1
        template = deployment("web", 0, f"sample:{version}", self._version)["spec"]["template"]
        await self._patch_web({"template": template})

    async def _patch_web(self, spec: Json) -> None:
        """Nothing to change while somebody is making it anew."""
        with contextlib.suppress(NotFound):
            await self.world.patch(DEPLOYMENTS, "web", {"spec": spec})

    async def _recreate(self, act: Act) -> None:
        """Deleted with all it owns and made again at once: nothing of the old may be taken for the new."""
        try:
            await self.world.delete(DEPLOYMENTS, "web")
        except NotFound:
            return  # another one is at it
        self._version += 1
        fresh = deployment("web", self._draw.randint(2, 5), version=self._version)
        for _ in range(40):
            try:
                await self.world.create(DEPLOYMENTS, fresh)
                return
            except AlreadyExists:
                await asyncio.sleep(0.25)

    async def _node_replace(self, act: Act) -> None:
        """A new node comes, an old one goes for good."""
        await self.world.room.add_node(f"n{10 + self._draw.randrange(1000)}")
        await asyncio.sleep(act.lasts_s)
        leaving = self._draw.choice(sorted(self.world.room.nodes))
        node = self.world.room.nodes[leaving]
        if len(self.world.room.nodes) > 2 and node.powered and not node.cable.cut:
            await self.world.remove_node(leaving)

    # --- faults, as objects

    async def _fault(self, resource: ResourceType, spec: Json, act: Act) -> None:
        self._faults += 1
        name = f"fault-{self._faults}"
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}
        try:
            await self.world.create(resource, body)
            await asyncio.sleep(act.lasts_s + 2.0)
            await self.world.delete(resource, name)
        except ApiError as error:
            self.world.trace.add(f"fault refused: {error.reason}")

    async def _crash(self, act: Act) -> None:
        await self._fault(POD_CHAOS, {"action": "container-kill", "mode": "one", "selector": _CHAOS_LABEL,
                                      "containerNames": ["web"]}, act)

    async def _pod_kill(self, act: Act) -> None:
        await self._fault(POD_CHAOS, {"action": "pod-kill", "mode": "one", "selector": _CHAOS_LABEL}, act)

    async def _pod_failure(self, act: Act) -> None:
        await self._fault(POD_CHAOS, {"action": "pod-failure", "mode": "one", "selector": _CHAOS_LABEL,
                                      "duration": _seconds(act)}, act)

    async def _freeze(self, act: Act) -> None:
        await self._fault(FREEZE_CHAOS, {"mode": "one", "selector": _CHAOS_LABEL, "duration": _seconds(act)}, act)

    async def _node_kill(self, act: Act) -> None:
        await self._node_fault("kill", act)

    async def _node_freeze(self, act: Act) -> None:
        await self._node_fault("freeze", act)

    async def _partition(self, act: Act) -> None:
        await self._node_fault("partition", act)

    async def _node_fault(self, action: str, act: Act) -> None:
        node = self._draw.choice(sorted(self.world.room.nodes))
        if node in self.world.room.leaving:
            return
        await self._fault(NODE_CHAOS, {"action": action, "mode": "one", "selector": {"nodes": [node]},
                                       "duration": _seconds(act)}, act)

    # --- what happens without anybody's object

    def _web(self) -> list[SimulatedContainer]:
        return [
            item for item in self.world.machine.containers.values()
            if item.running and item.spec.labels.get(labels.CONTAINER_NAME) == "web"
            and item.spec.labels.get(labels.ROLE) == labels.ROLE_CONTAINER
        ]

    def _one_of_web(self) -> SimulatedContainer | None:
        found = self._web()
        return self._draw.choice(found) if found else None

    async def _hang(self, act: Act) -> None:
        victim = self._one_of_web()
        if victim is not None and victim.application is not None:
            victim.application.hung = True

    async def _oom(self, act: Act) -> None:
        victim = self._one_of_web()
        if victim is not None:
            self.world.machine.exit(victim, 137, oom=True)

    async def _sicken(self, act: Act) -> None:
        victim = self._one_of_web()
        if victim is not None and victim.application is not None:
            victim.application.unready = True
            await asyncio.sleep(act.lasts_s)
            victim.application.unready = False

    async def _agent_crash(self, act: Act) -> None:
        self.world.room.nodes[self._draw.choice(sorted(self.world.room.nodes))].crash_agent()

    async def _api_restart(self, act: Act) -> None:
        if not self.world.api.up:
            return
        before = self._stored()
        self.world.api.kill()
        await asyncio.sleep(act.lasts_s / 4)
        await self.world.api.start()
        if (after := self._stored()) != before and not self._bootstrapped_only(before, after):
            self.invariants.found.append("I10: the store is not what was acknowledged")

    def _stored(self) -> dict[tuple[str, str, str], str]:
        assert self.world.api.registry is not None
        store = self.world.api.registry.store
        return {
            (kind, item.namespace, item.name): item.text for kind in sorted(store.kinds()) for item in store.list(kind)
        }

    @staticmethod
    def _bootstrapped_only(before: dict[tuple[str, str, str], str], after: dict[tuple[str, str, str], str]) -> bool:
        return all(after.get(key) == text for key, text in before.items())

    async def _chaos_restart(self, act: Act) -> None:
        self.world.chaos.kill()
        await asyncio.sleep(act.lasts_s / 4)
        self.world.chaos.start()

    async def _while(self, attribute: str, value: Any, act: Act) -> None:
        hiccups = self.world.machine.hiccups
        before = getattr(type(hiccups)(), attribute)
        setattr(hiccups, attribute, value)
        await asyncio.sleep(act.lasts_s)
        setattr(hiccups, attribute, before)

    async def _engine_silent(self, act: Act) -> None:
        await self._while("silent", True, act)

    async def _engine_down(self, act: Act) -> None:
        self.world.machine.break_event_streams()
        await self._while("down", True, act)

    async def _events_lost(self, act: Act) -> None:
        await self._while("lost_events", 0.7, act)

    async def _stream_cut(self, act: Act) -> None:
        self.world.machine.break_event_streams()

    async def _container_hung(self, act: Act) -> None:
        victim = self._one_of_web()
        if victim is not None:
            self.world.machine.hiccups.hung.add(victim.id)
            await asyncio.sleep(act.lasts_s)
            self.world.machine.hiccups.hung.discard(victim.id)

    async def _answers_lost(self, act: Act) -> None:
        await asyncio.gather(
            self._while("lost_create_answers", 0.3, act), self._while("failed_start_answers", 0.3, act)
        )

    async def _removals_stuck(self, act: Act) -> None:
        """Some removals never end (moby/moby#23371), until somebody mends the engine."""
        await self._while("stuck_removals", 0.5, act)
        machine = self.world.machine
        for container in [item for item in machine.containers.values() if item.removing and not item.running]:
            machine.drop(container)

    async def _engine_slow(self, act: Act) -> None:
        await self._while("slow", 8.0, act)


def _seconds(act: Act) -> str:
    return f"{int(act.lasts_s * 1000)}ms"


def play(
    seed: int, *, nodes: int = 3, acts: int = 8, span_s: float = 60.0, only: tuple[str, ...] = (),
    wall_jumps: bool = False, faults: int = 0,
) -> Outcome:
    """Plays one seed in virtual time. Raises: Violation."""

    async def main(loop: VirtualLoop) -> Outcome:
        async with open_world(loop, seed, nodes=nodes) as world:
            scenario = Scenario(world, acts=acts, span_s=span_s, only=only, wall_jumps=wall_jumps, faults=faults)
            return await scenario.run()

    return run_virtual(main)
