"""Each checker of an invariant can fail: the world is sabotaged, and it says so. Undisturbed, it is silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from faults.effects import Packets
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS, PODS
from testbed.errors import NotFound
from testbed.runtime.containers import ContainerSpec, Limits
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.checks_cluster import (
    EverythingIsBounded,
    FaultsAreLeases,
    RolloutsKeepTheirBounds,
    SecretsStaySecret,
    UnknownIsNotDead,
    bounds,
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
from testbed.simulation.invariants import STEP_S, Checker, Invariants, Violation, key_of
from testbed.simulation.workloads import SECRET, deployment
from testbed.simulation.world import DidNotHappen, World

Run = Callable[..., Any]


def app(world: World) -> SimulatedContainer:
    return next(item for item in world.machine.containers.values() if item.running and key_of(item)[1] == "web")


async def found_by(world: World, checker: Checker, sabotage: Any, for_s: float = 3.0) -> list[str]:
    invariants = Invariants(world, [checker])
    invariants.begin()
    await asyncio.sleep(0.5)
    assert not invariants.found, "silent while nothing is wrong"
    await sabotage()
    await asyncio.sleep(for_s)
    await invariants.close()
    return invariants.found


def stored(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a pod that is in rotation in the store itself, as no healer would."""
    assert world.api.registry is not None
    store = world.api.registry.store
    inside = {address for endpoints in world.gateway.services.values() for address, _ in endpoints}
    item = next(item for item in store.list(PODS.group_resource) if item.value["status"].get("podIP") in inside)
    value = item.fresh()
    change(value)
    store.update(PODS.group_resource, item.namespace, item.name, value)


def test_i1_sees_an_orphan(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            spec = app(world).spec
            stray = replace(spec, name="stray", network="none", labels={
                **spec.labels, labels.POD_UID: "gone", labels.NODE: "n9",
            })
            engine = SimulatedEngine(world.machine)
            await engine.start(await engine.create(stray))
            world.room.nodes["n9"] = world.room.nodes["n1"]

        return await found_by(world, NoOrphans(), sabotage, for_s=25)

    assert any("stray has been an orphan" in line for line in in_world(body))


def test_i2_sees_a_twin(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            engine = SimulatedEngine(world.machine)
            spec = app(world).spec
            elsewhere = {**spec.labels, labels.NODE: "n9"}  # where no agent tidies it away
            await engine.start(await engine.create(replace(spec, name="twin", labels=elsewhere)))

        return await found_by(world, OneOfEach(), sabotage, for_s=0.2)

    assert any("runs beside" in line for line in in_world(body))


def test_i3_sees_a_healthy_container_killed(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            host = SimulatedHost(world.machine, world.instance_id, "agent n1")
            process = app(world).process
            assert process is not None
            await host.signal(await host.identify(process.pid), 9)

        return await found_by(world, HealthyIsLeftAlone(), sabotage)

    assert any("which was healthy" in line for line in in_world(body))


@pytest.mark.parametrize(("after_s", "said"), [(1.0, False), (10.0, True)])
def test_i3_knows_that_failures_in_a_row_are_counted_across_a_restart(
    in_world: Run, after_s: float, said: bool
) -> None:
    """One failure of the new container completes the row of a hung one before it; later it takes a row of its own."""
    async def body(world: World) -> list[str]:
        checker, first = HealthyIsLeftAlone(), app(world)
        assert first.application is not None
        first.application.hung = True
        first.signals = [(world.loop.time(), 15, "agent n1")]
        second = replace(first, spec=replace(first.spec, labels={**first.spec.labels, labels.ATTEMPT: "1"}),
                         started_s=world.loop.time(), signals=[(world.loop.time() + after_s, 15, "agent n1")])
        assert not list(checker.died(world, first, 0))
        first.application.hung = False
        return list(checker.died(world, second, 0))

    assert bool(in_world(body)) is said


def test_i14_is_not_settled_while_a_death_is_untold(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        before = world.settled()
        world.machine.exit(app(world), 137, oom=True)
        return [before, world.settled()]

    before, after = in_world(body)
    assert before == "" and "has ended" in after


def test_i7_knows_that_a_changed_container_begins_anew(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        checker, crashed = RestartsOnlyGrow(), app(world)
        for _ in range(5):
            list(checker.died(world, crashed, 1))
        await asyncio.sleep(0.5)
        same = replace(crashed, id="same", started_s=world.loop.time())
        world.machine.containers = {"same": same}
        said = list(checker.step(world))
        world.machine.containers = {"other": replace(same, id="other", spec=replace(same.spec, image="sample:v2"))}
        return said + list(checker.step(world))

    found = in_world(body)
    assert len(found) == 1 and "back-off is 8 s" in found[0]


def test_i7_knows_that_a_hung_container_may_crash_while_its_agent_gives_it_up(in_world: Run) -> None:
    """Found by seed 5125: who kills a hung container cuts off the probe that is under way, which completes the row. The
    agent decides to end it within the millisecond that it takes to see the death."""
    async def body(world: World) -> tuple[SimulatedContainer, float, list[str]]:
        async def newest() -> SimulatedContainer:
            await world.until(lambda: any(key_of(item) == key for item in world.machine.containers.values()
                                          if item.running), within_s=10)
            return next(item for item in world.machine.containers.values() if item.running and key_of(item) == key)

        victim = app(world)
        key = key_of(victim)

        async def sabotage() -> None:
            nonlocal victim
            world.machine.exit(victim, 137)
            victim = await newest()
            await asyncio.sleep(2)
            assert victim.application is not None
            victim.application.hung = True
            await asyncio.sleep(2.95)  # two probes have timed out, the third is under way
            world.machine.exit(victim, 137)

        found = await found_by(world, RestartsOnlyGrow(), sabotage)
        return victim, (await newest()).started_s - victim.asked[0][0], found

    crashed, started_after_s, found = in_world(body)
    assert not crashed.signals and [by[:5] for _, by in crashed.asked] == ["agent"]
    assert started_after_s < 0.5
    assert not found


@pytest.mark.parametrize(("asked_after_s", "by", "said"), [
    (-0.001, "agent n1", False), (0.001, "agent n1", False), (0.1, "agent n1", True), (0.001, "chaos", True),
])
def test_i7_excuses_only_what_an_agent_asked_for_before_it_could_see_the_death(
    in_world: Run, asked_after_s: float, by: str, said: bool
) -> None:
    async def body(world: World) -> list[str]:
        checker, crashed = RestartsOnlyGrow(), app(world)
        for _ in range(5):
            list(checker.died(world, crashed, 1))
        crashed.asked.append((world.loop.time() + asked_after_s, by))
        await asyncio.sleep(0.5)
        world.machine.containers = {"next": replace(crashed, id="next", started_s=world.loop.time())}
        return list(checker.step(world))

    assert bool(in_world(body)) is said


def test_i4_sees_too_many_and_too_few(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            await asyncio.sleep(7)  # a Deployment that was just made is given a moment
            for number in range(3):
                template = deployment("web", 1)["spec"]["template"]
                await world.create(PODS, {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "metadata": {
                    "name": f"extra-{number}", "labels": {"app": "web", "extra": str(number)},
                }})
            for pod in [pod for pod in world.pods(app="web") if "extra" not in pod["metadata"]["labels"]]:
                await world.delete(PODS, pod["metadata"]["name"])

        return await found_by(world, RolloutsKeepTheirBounds(world), sabotage)

    lines = in_world(body)
    assert any("pods, at most 4+1 are allowed" in line for line in lines)
    assert any("gave up available pods" in line for line in lines)


@pytest.mark.parametrize(("scaled", "others_delete", "said"), [((3, 5), 0, False), ((5,), 1, True)])
def test_i4_judges_a_pod_given_up_by_what_was_asked_for_then(
    in_world: Run, scaled: tuple[int, ...], others_delete: int, said: bool
) -> None:
    """To 3 and to 5 between two looks: one of four went rightly. To 5 only, none may go."""
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            await asyncio.sleep(7)  # a Deployment that was just made is given a moment
            began_s, pods = world.loop.time(), world.pods(app="web")
            for replicas in scaled:
                await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": replicas}})
            for pod in pods[:others_delete]:
                await world.delete(PODS, pod["metadata"]["name"])
            assert world.loop.time() - began_s < STEP_S
            assert any(pod["metadata"].get("deletionTimestamp") for pod in world.pods(app="web"))

        return await found_by(world, RolloutsKeepTheirBounds(world), sabotage)

    assert any("gave up available pods" in line for line in in_world(body)) is said


@pytest.mark.parametrize(("surge", "unavailable", "wanted", "expected"), [
    ("25%", "25%", 4, (1, 1)), ("25%", "25%", 10, (3, 2)), ("25%", "25%", 1, (1, 0)), (0, "10%", 5, (0, 1)),
    (2, 0, 3, (2, 0)),
])
def test_bounds_round_as_upstream(
    surge: int | str, unavailable: int | str, wanted: int, expected: tuple[int, int]
) -> None:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert bounds({"spec": {"strategy": strategy}}, wanted) == expected


def test_i5_sees_an_eviction_from_a_node_that_is_heard(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            def evict(pod: dict[str, Any]) -> None:
                pod["status"]["conditions"].append({
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                })

            await asyncio.sleep(2)
            stored(world, evict)

        return await found_by(world, UnknownIsNotDead(world), sabotage)

    assert any("was evicted from" in line for line in in_world(body))


def test_i6_sees_readiness_that_nobody_measured(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            for container in world.machine.containers.values():
                if container.application is not None:
                    container.application.proven.clear()
            await asyncio.sleep(0.06)

        return await found_by(world, ProbesMeanThisContainer(), sabotage)

    assert any("is called ready and never answered /readyz" in line for line in in_world(body))


def test_i7_sees_counts_that_fall_and_backoffs_that_are_cut_short(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            def restarted(count: int) -> Callable[[dict[str, Any]], None]:
                return lambda pod: pod["status"]["containerStatuses"][0].update(restartCount=count)

            stored(world, restarted(5))
            await asyncio.sleep(0.1)
            stored(world, restarted(1))
            victim = app(world)
            engine = SimulatedEngine(world.machine)
            for _ in range(4):
                world.machine.exit(victim, 1)
                await engine.start(victim.id)

        return await found_by(world, RestartsOnlyGrow(), sabotage)

    lines = in_world(body)
    assert any("fell from 5 to 1" in line for line in lines)
    assert any("back-off is" in line for line in lines)


def test_i8_sees_damage_that_is_not_in_the_ledger(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            world.machine.frozen.add(app(world).cgroup)
            await world.room.set_cable("n1", cut=True)
            await world.room.set_power("n2", on=False)
            world.effects.apply("nobody's", [Packets(app(world).id, drop=True)])

        return await found_by(world, FaultsAreLeases(), sabotage)

    lines = in_world(body)
    assert any("nobody's is in force in a pod" in line for line in lines)
    assert any("is frozen and the ledger does not know" in line for line in lines)
    assert any("n1 is cut off" in line for line in lines) and any("n2 is off" in line for line in lines)


def test_i9_sees_a_stranger_touched(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        engine = SimulatedEngine(world.machine)
        spec = ContainerSpec(name="stranger", image="sample:v1", labels={}, cgroup_parent="/docker")
        stranger = await engine.start(await engine.create(spec))

        async def sabotage() -> None:
            await engine.update_limits(stranger.id, Limits(pids=1))

        return await found_by(world, StrangersAreLeftAlone(), sabotage)

    assert any("was changed" in line for line in in_world(body))


def test_i11_sees_a_kill_without_grace_and_a_dead_endpoint(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            victim = app(world)
            uid, _ = key_of(victim)
            pod = next(pod for pod in world.pods() if pod["metadata"]["uid"] == uid)
            await world.delete(PODS, pod["metadata"]["name"])
            assert victim.process is not None
            world.machine.send_signal(victim.process, 9, "agent n1")
            await asyncio.sleep(1)
            world.gateway.program = lambda services: False  # type: ignore[method-assign]
            assert world.api.process is not None
            world.api.process.dead = True  # nobody is left to finish a deletion
            for node in world.room.nodes.values():
                node.powered = False
                node.crash_agent()
            stored(world, lambda other: other["metadata"].update(deletionTimestamp="2030-01-01T00:00:00Z"))

        return await found_by(world, StoppedInOrder(), sabotage)

    lines = in_world(body)
    assert any("without its grace" in line for line in lines)
    assert any("still in rotation" in line for line in lines)


def test_i13_sees_what_grows_without_bound(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        async def sabotage() -> None:
            world.network.open_connections += 10_000
            world.machine.starting += 1000

        return await found_by(world, EverythingIsBounded(), sabotage)

    lines = in_world(body)
    assert any("connections" in line for line in lines) and any("starts at once" in line for line in lines)


def test_i14_says_what_is_not_as_it_should_be(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.patch(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": [
            {"name": "web", "image": "no-such-image:1"}]}}}})
        await asyncio.sleep(1)
        with pytest.raises(DidNotHappen, match="web"):
            await world.until_settled(5)

    in_world(body)


def test_i16_hears_a_secret(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        checker = SecretsStaySecret(SECRET)

        async def sabotage() -> None:
            logging.getLogger("testbed.node").warning("environment: %s", SECRET)
            stored(world, lambda pod: pod["status"].update(message=SECRET))

        try:
            return await found_by(world, checker, sabotage)
        finally:
            checker.close()

    lines = in_world(body)
    assert any("the log says" in line for line in lines) and any("has the secret" in line for line in lines)


def test_a_violation_names_its_seed_and_shows_the_trace(in_world: Run) -> None:
    async def body(world: World) -> None:
        invariants = Invariants(world, [FaultsAreLeases()])
        world.machine.frozen.add(app(world).cgroup)
        invariants.look()
        with pytest.raises(Violation, match="seed 1") as raised:
            invariants.judge()
        assert "--- trace" in str(raised.value)
        with pytest.raises(NotFound):
            await world.room.set_power("n9", on=True)

    in_world(body)
