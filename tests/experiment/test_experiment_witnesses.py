"""Three witnesses of the same disruption: how exact each is, where they contradict each other, what overlaps share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from evidence_builder import START_NS, World, hit

from testbed.api.labels import CONTAINER_NAME, INSTANCE, POD_NAME, POD_NAMESPACE, ROLE, ROLE_SANDBOX
from testbed.api.resources import PODS
from testbed.client.protocol import ObjectList, WatchEvent
from testbed.core.profile import FAST
from testbed.errors import ApiUnavailable, EngineUnavailable
from testbed.experiment.clients import Clients
from testbed.experiment.durations import say_duration
from testbed.experiment.engine_witness import engine_events, witness_of
from testbed.experiment.evidence import Observer
from testbed.experiment.exactness import Exactness
from testbed.experiment.observations import EngineSeen, EventSeen
from testbed.experiment.overlaps import overlapping
from testbed.experiment.result import Disruption
from testbed.experiment.timeline import Act, disruption_of
from testbed.experiment.uninvited import uninvited
from testbed.load.records import Outcome, Record
from testbed.runtime.protocol import EngineEvent
from testbed.simulation.loop import VirtualLoop, run_virtual

Json = dict[str, Any]


def crash(world: World, pod: str, at: float, *, rest: tuple[str, ...] = (), up_s: float = 1.0) -> None:
    """``pod`` dies at ``at`` and is restarted in place."""
    world.told(at + 0.001, "ContainerDied", pod)
    world.pod(at + 0.01, pod, ready=False, running=False)
    world.rotation(at + 0.012, *rest)
    world.told(at + 0.1, "Started", pod)
    world.pod(at + 0.11, pod, ready=False, restarts=1)
    world.told(at + up_s, "ContainerReady", pod)
    world.pod(at + up_s + 0.01, pod, ready=True, restarts=1)
    world.rotation(at + up_s + 0.02, pod, *rest)


def fault(world: World, *targets: str, name: str = "f", at: float = 10.0, clients: Clients | None = None) -> Disruption:
    act = Act(name, "fault", "a fault", at, injections=tuple(hit(target, at) for target in targets))
    return disruption_of(act, world.evidence, FAST, until=60.0, clients=clients)


def pulse(failing: Sequence[tuple[float, float]], rate: int = 100, until: int = 30) -> Clients:
    """A pulse whose requests fail in these stretches."""
    records = []
    for index in range(rate * until):
        due = index / rate
        bad = any(begin <= due < end for begin, end in failing)
        due_ns = START_NS + int(due * 1e9)
        records.append(Record(index, "fresh", due_ns, due_ns, due_ns + 2_000_000,
                              Outcome.REFUSED if bad else Outcome.OK, 0 if bad else 200))
    return Clients(records, start_ns=START_NS, rate=float(rate), deadline_s=1.0, healthy_until_s=5.0)


class TestExactness:
    def test_an_event_with_its_moment_is_exact_and_a_watch_is_as_late_as_those_events_were(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        found = fault(world, "default/web-1")
        assert found.mark_uncertainties["detected"] == pytest.approx(0.001)
        assert world.evidence.watch_lag_s == pytest.approx(0.02)
        exact = Exactness(world.evidence)
        assert exact.of(10.01) == pytest.approx(0.02)  # a pod's status, by the watch

    def test_a_foreign_event_has_whole_seconds(self) -> None:
        world = World()
        crash(world, "web-1", 10.0)
        world.evidence.events = [EventSeen(event.at, event.reason, event.about, event.message, exact=False)
                                 for event in world.evidence.events]
        found = fault(world, "default/web-1")
        assert found.mark_uncertainties["running"] >= 1.0

    def test_what_the_engine_saw_first_is_known_no_better_by_the_agent(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2",))
        world.by_engine(10.04, "start", "web-1")  # the agent tells of it at 10.1
        assert fault(world, "default/web-1").mark_uncertainties["running"] == pytest.approx(0.06)

    @pytest.mark.parametrize(("seconds", "uncertainty_s", "said"), [
        (1.5234, 0.005, "1.52 s ± 0.01 s"), (1.5234, 0.001, "1.52 s"), (1.5234, 0.2, "1.5 s ± 0.2 s"),
        (12.34, 1.0, "12 s ± 1 s"), (0.0031, 0.02, "0 ms ± 20 ms"), (125.0, 30.0, "2 min 0 s ± 30 s"),
        (0.4, 1.0, "0 s ± 1 s"), (1.5, None, "1.50 s"), (1.0, 1.002, "1 s ± 1 s"), (0.999, 0.996, "1 s ± 1 s"),
    ])
    def test_no_figure_is_printed_that_is_not_known(
        self, seconds: float, uncertainty_s: float | None, said: str
    ) -> None:
        assert say_duration(seconds, uncertainty_s) == said


class TestWitnesses:
    def test_a_mark_says_who_saw_it_and_when(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.by_engine(10.03, "die", "web-1", 137)
        found = fault(world, "default/web-1", clients=pulse([(10.02, 10.05)]))
        seen = {sighting.witness: sighting for sighting in found.sightings if sighting.mark == "detected"}
        assert set(seen) == {"api", "engine", "clients"}
        assert seen["engine"].at_s == pytest.approx(10.03) and "exit code 137" in seen["engine"].what
        assert seen["clients"].at_s == pytest.approx(10.02) and seen["clients"].uncertainty_s == pytest.approx(0.01)
        assert not any("contradict" in note for note in found.notes)

    def test_clients_who_fail_longer_than_the_cluster_says_are_told(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        quick = fault(world, "default/web-1", clients=pulse([(10.0, 10.015)]))
        assert not any("went on failing" in note for note in quick.notes), quick.notes
        slow = fault(world, "default/web-1", clients=pulse([(10.0, 10.5)]))
        assert any("clients went on failing for 470 ms" in note for note in slow.notes), slow.notes
        seen = [sighting.witness for sighting in slow.sightings if sighting.mark == "isolated"]
        assert seen == ["api", "clients"]

    @pytest.mark.parametrize("engine_at", [9.5, 11.2])
    def test_witnesses_that_are_too_far_apart_are_told(self, engine_at: float) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"), up_s=3.0)
        world.by_engine(engine_at, "die", "web-1")
        found = fault(world, "default/web-1", at=9.45)
        assert any("contradict" in note for note in found.notes), found.notes

    def test_a_death_of_before_the_injection_is_no_word_about_this_one(self) -> None:
        """A pod dies, comes back, and is hit again by a fault that silences its agent: only the engine tells of it."""
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"), up_s=0.5)
        world.by_engine(11.2, "die", "web-1", 137)
        found = fault(world, "default/web-1", at=11.15)
        assert not any("contradict" in note for note in found.notes), found.notes

    def test_a_platform_without_an_engine_has_no_such_witness(self) -> None:
        assert witness_of(object()) is None


class TestUninvited:
    def test_a_persons_kill_counts_from_the_engines_word(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.by_engine(9.98, "kill", "web-1")
        world.by_engine(10.03, "die", "web-1", 137)
        (found,) = uninvited(world.evidence, (), FAST, until=60.0)
        assert found.marks.injected == pytest.approx(9.98)
        assert "killed through the engine" in found.what
        assert [seen.witness for seen in found.sightings if seen.mark == "injected"] == ["engine"]

    def test_where_no_agent_tells_of_deaths_the_engine_does(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.evidence.events = [event for event in world.evidence.events
                                 if event.reason not in ("ContainerDied", "ContainerReady")]
        world.by_engine(10.03, "die", "web-1", 1)
        (found,) = uninvited(world.evidence, (), FAST, until=60.0)
        assert found.marks.injected == pytest.approx(10.03) and found.marks.restored is not None

    def test_where_neither_does_the_watch_counts_restarts(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.evidence.events.clear()
        (found,) = uninvited(world.evidence, (), FAST, until=60.0)
        assert found.targets == ("default/web-1",) and found.marks.injected == pytest.approx(10.11)

    def test_one_death_of_three_witnesses_is_one_disruption(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.by_engine(10.03, "die", "web-1")
        assert len(uninvited(world.evidence, (), FAST, until=60.0)) == 1

    def test_what_an_injection_did_is_not_the_engines_find(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.by_engine(10.03, "die", "web-1")
        assert uninvited(world.evidence, (fault(world, "default/web-1"),), FAST, until=60.0) == ()


class TestOverlaps:
    def two(self, second: float, clients: Clients | None = None) -> list[Disruption]:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"), up_s=3.0)
        crash(world, "web-2", second, rest=("web-3",), up_s=3.0)
        world.evidence.pods.sort(key=lambda pod: pod.at)
        world.evidence.endpoints.sort(key=lambda item: item.at)
        found = [fault(world, "default/web-1", name="a"), fault(world, "default/web-2", name="b", at=second)]
        return overlapping(found, world.evidence, clients, until=60.0)

    def test_they_name_each_other_and_the_mark_that_both_wait_for(self) -> None:
        a, b = self.two(11.0)
        assert a.shared_with == ("b",) and b.shared_with == ("a",)
        assert a.marks.restored == b.marks.restored
        assert any("restored is shared with b" in note for note in a.notes)

    def test_failures_meanwhile_are_told_as_eithers(self) -> None:
        a, b = self.two(11.0, pulse([(10.05, 10.15), (11.05, 11.25)]))
        assert a.shared_failed == b.shared_failed == 20
        assert any("20 requests failed while both were under way" in note for note in b.notes)

    def test_one_after_the_other_share_nothing(self) -> None:
        assert [item.shared_with for item in self.two(20.0)] == [(), ()]


# --- the observer


class BrokenWatch:
    """A client whose watch of pods ends at 5 s; the API is away until 12 s, and a pod has changed meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    @property
    def now(self) -> float:
        return self._loop.time() - self._began

    def _pod(self) -> Json:
        ready = "False" if self.now > 6 else "True"
        return {"metadata": {"name": "web-1", "namespace": "default", "uid": "u"},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}

    async def list(self, resource: Any, namespace: str | None = None, **more: Any) -> ObjectList:
        if 5 < self.now < 12:
            raise ApiUnavailable("away")
        return ObjectList((self._pod(),) if resource is PODS else (), "1")

    async def watch(self, resource: Any, namespace: str | None = None, **more: Any) -> AsyncIterator[WatchEvent]:
        await asyncio.sleep(3)
        if resource is PODS and self.now < 5:
            yield WatchEvent("MODIFIED", {**self._pod(), "spec": {"nodeName": "n"}})
        await asyncio.sleep(5.001 - self.now if self.now < 5 else 100)
        raise ApiUnavailable("cut")


def test_what_a_relist_finds_happened_at_some_time_in_the_silence_before_it() -> None:
    async def main(loop: VirtualLoop) -> None:
        observer = Observer(BrokenWatch(), "default", ())  # type: ignore[arg-type]
        await observer.start()
        await asyncio.sleep(20)
        await observer.stop()
        evidence = observer.evidence
        lost = next(pod for pod in evidence.pods if not pod.ready)
        assert lost.at == pytest.approx(12.0, abs=0.5)
        assert lost.late_s == pytest.approx(lost.at - 3.0, abs=0.01)  # the last that was heard came at 3 s
        assert Exactness(evidence).of(lost.at) >= lost.late_s
        assert all(begin == pytest.approx(5.0, abs=0.1) and end == pytest.approx(12.0, abs=0.5)
                   for begin, end in evidence.away) and evidence.away
        assert not evidence.engine_asked

    run_virtual(main)


class Wall:
    """A wall clock that somebody sets forward by an hour at 2 s."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now(self) -> datetime:
        gone = self._loop.time() - self._began
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=gone + (3600 if gone > 2 else 0))


class FakeEngine:
    def __init__(self, wall: Wall, told: Sequence[tuple[float, str, Mapping[str, str]]]) -> None:
        self.wall, self.told, self.closed, self.asked = wall, told, False, 0

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[EngineEvent]:
        assert labels == {INSTANCE: "me"}
        self.asked += 1
        if self.asked == 1:
            raise EngineUnavailable("not yet")
        for wait_s, action, own in self.told:
            await asyncio.sleep(wait_s)
            stamp = int(self.wall.now().timestamp() * 1e9)
            await asyncio.sleep(0.03)  # on its way
            yield EngineEvent(action, "c", own, stamp, 137 if action == "die" else None)
        await asyncio.sleep(1000)

    async def close(self) -> None:
        self.closed = True


def test_the_engines_stamps_stand_on_the_runs_clock_whatever_happens_to_the_wall_clock() -> None:
    own = {POD_NAMESPACE: "default", POD_NAME: "web-1", CONTAINER_NAME: "web"}

    async def main(loop: VirtualLoop) -> None:
        wall = Wall()
        engine = FakeEngine(wall, [(0.5, "start", own), (0.1, "start", {**own, ROLE: ROLE_SANDBOX}),
                                   (0.1, "exec_create: true", own), (1.5, "die", own), (0.1, "reconnect", {})])
        found: list[EngineSeen] = []

        async def hear() -> None:
            async for seen in engine_events(engine, "me", int(loop.time() * 1e9), wall):  # type: ignore[arg-type]
                found.append(seen)

        task = asyncio.create_task(hear())
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [(seen.action, seen.pod, seen.exit_code) for seen in found] == [
            ("start", "default/web-1", None), ("die", "default/web-1", 137)]
        assert found[0].at == pytest.approx(1.5, abs=0.01)  # a second until the engine was asked again
        assert found[1].at == pytest.approx(1.5 + 0.03 + 0.13 + 0.13 + 1.5, abs=0.01)
        assert engine.closed

    run_virtual(main)
