"""Accounts of a system with state: acknowledged writes, the backlog behind them, who was dragged along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from evidence_builder import START_NS, World
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment import bookkeeping
from testbed.experiment.accounting import NAMED, backlog, drained_at, usual, writes
from testbed.experiment.bookkeeping import Bookkeeper
from testbed.experiment.cascade import reached
from testbed.experiment.interrupts import Interrupts
from testbed.experiment.kind import StateSpec
from testbed.experiment.phases import RepetitionRunner
from testbed.experiment.result import Backlog, BacklogSample, Disruption, Marks, Verdict
from testbed.load.records import Outcome, Record


def record(index: int, outcome: Outcome = Outcome.OK, stream: str = "fresh") -> Record:
    return Record(index, stream, START_NS, START_NS, START_NS + 1, outcome, 202)


# --- writes


def test_lost_is_what_was_acknowledged_and_is_not_stored() -> None:
    records = [record(1), record(2), record(3, Outcome.STATUS), record(4, Outcome.TIMEOUT)]
    found = writes(records, ["1", "4", "stranger"], "{index}")
    assert (found.acknowledged, found.stored, found.lost, found.lost_ids) == (2, 1, 1, ("2",))
    assert found.in_doubt == 1  # no answer, and stored all the same


def test_streams_have_ids_of_their_own() -> None:
    records = [record(1), record(1, stream="keep")]
    assert writes(records, ["keep-1"], "{stream}-{index}").lost_ids == ("fresh-1",)


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_every_acknowledged_write_is_stored_or_lost(acknowledged: set[int], stored: set[int]) -> None:
    found = writes([record(index) for index in acknowledged], [str(index) for index in stored], "{index}")
    assert found.stored + found.lost == found.acknowledged == len(acknowledged)
    assert found.lost == len(acknowledged - stored)
    assert len(found.lost_ids) == min(found.lost, NAMED)


# --- backlog


def samples(*lengths: float | None) -> list[BacklogSample]:
    """One a second from 0 s on."""
    return [BacklogSample(at_s=float(at), length=length) for at, length in enumerate(lengths)]


def of(lengths: list[BacklogSample], *, injected: float = 2.0, restored: float | None = 4.0) -> Backlog:
    item = Disruption(name="x", kind="fault", marks=Marks(injected=injected, restored=restored))
    found = backlog(lengths, item, since=2.0, until=100.0, every_s=1.0)
    assert found is not None
    return found


def test_a_backlog_is_drained_when_it_is_back_at_the_usual_for_good() -> None:
    found = of(samples(1, 2, 2, 30, 50, 20, 2, 9, 2, 2))
    assert (found.usual, found.peak) == (2, 50)
    assert found.drained_s == 6.0  # at 8 s: it was longer once more at 7 s
    assert found.drain_s == 4.0


def test_one_more_than_usual_is_no_backlog() -> None:
    assert of(samples(1, 1, 2, 2, 2)).drained_s == 0.0


def test_what_an_earlier_step_left_is_not_usual() -> None:
    """The wait and the figure hold it against the same: what was seen before the method."""
    looks = samples(1, 2, 30, 40, 9, 9, 2)
    found = of(looks, injected=4.0, restored=5.0)
    assert found.usual == usual(looks, 2.0) == 2 and found.drained_s == 2.0


def test_a_moment_of_calm_is_not_drained() -> None:
    looks = samples(0, 9, 0, 9)
    assert drained_at(looks, 1.0, 0.0) is None and drained_at(looks, 9.0, 0.5) == 0.5
    assert drained_at([*looks, BacklogSample(at_s=4.0, length=0)], 1.0, 0.0) == 4.0
    assert drained_at(looks, 1.0, 9.0) is None  # nobody looked


def test_one_that_is_not_worked_off_while_we_watch_has_no_drain_time() -> None:
    found = of(samples(0, 0, 5, 9, 30))
    assert found.drained_s is None and found.drain_s is None and found.peak == 30


def test_what_nobody_can_say_is_not_taken_for_drained() -> None:
    found = of(samples(0, 0, None, None, 0, 0))
    assert found.drained_s == 2.0 and found.unknown_s == 2.0 and found.peak == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), min_size=4, max_size=30))
def test_after_it_was_drained_it_is_never_long_again(lengths: list[int | None]) -> None:
    looks = samples(*(None if one is None else float(one) for one in lengths))
    found = of(looks)
    if found.drained_s is not None:
        later = [one.length for one in looks if one.at_s >= 2.0 + found.drained_s]
        assert all(length is not None and length <= found.usual + 1 for length in later)
        assert found.drained_s >= 0 and (found.drain_s or 0.0) <= found.drained_s


# --- cascades


def other(world: World, at: float, name: str, *, ready: bool, restarts: int = 0, gone: bool = False) -> None:
    """A pod of another Deployment, ``api``."""
    world.pod(at, name, ready=ready, restarts=restarts, gone=gone)
    world.evidence.pod_json[f"uid-{name}"]["metadata"]["labels"] = {"app": "api"}


def world_with_api() -> World:
    world = World(replicas=2)
    world.evidence.deployment_json["default/api"] = {
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "api"}}}}
    other(world, 0.0, "api-1", ready=True)
    return world


def crash(at: float = 1.0, target: str = "default/web-1/web") -> Disruption:
    return Disruption(name="crash", kind="fault", targets=(target,), marks=Marks(injected=at), window_s=(at, at + 1))


def test_another_deployment_that_turns_unready_was_dragged_along() -> None:
    world = world_with_api()
    other(world, 2.0, "api-1", ready=False)
    other(world, 5.0, "api-1", ready=True)
    found = reached(crash(), world.evidence, [], 10.0)
    assert [(one.deployment, one.how, one.after_s, one.lasted_s) for one in found] == [
        ("default/api", "unready", 1.0, 3.0)]


def test_restarts_elsewhere_count_too() -> None:
    world = world_with_api()
    other(world, 2.0, "api-1", ready=True, restarts=1)
    assert [one.how for one in reached(crash(), world.evidence, [], 10.0)] == ["restarted"]


def test_the_deployment_that_was_hit_was_not_dragged_along() -> None:
    world = world_with_api()
    world.pod(2.0, "web-1", ready=False)
    world.pod(2.1, "web-2", ready=False)
    assert reached(crash(), world.evidence, [], 10.0) == ()


def test_what_lay_on_a_lost_node_was_hit_not_dragged_along() -> None:
    world = world_with_api()
    world._node["api-1"] = "node-1"
    other(world, 0.5, "api-1", ready=True)
    other(world, 2.0, "api-1", ready=False)
    assert reached(crash(target="node-1"), world.evidence, [], 10.0) == ()


def test_what_a_step_changes_on_purpose_does_not_count() -> None:
    world = world_with_api()
    other(world, 2.0, "api-1", ready=False)
    ship = Disruption(name="ship", kind="rollout", targets=("deployment default/api",), window_s=(1.5, 4.0))
    assert reached(crash(), world.evidence, [ship], 10.0) == ()
    assert reached(ship, world.evidence, [], 10.0) == ()


def test_one_that_stays_unready_has_no_end() -> None:
    world = world_with_api()
    other(world, 2.0, "api-1", ready=False)
    assert reached(crash(), world.evidence, [], 10.0)[0].lasted_s is None


# --- asking


class Answering:
    """A platform whose Service answers what it is told."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self.answers = answers

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        return f"{service}:80"

    async def http_get(self, url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str] | str:
        value = self.answers.get(url.partition(":80")[2])
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            value = value.pop(0)[0] if len(value) > 1 else value[0][0]
        return "refused" if value is None else (200, json.dumps(value))


def keeper(answers: Mapping[str, object]) -> Bookkeeper:
    spec = StateSpec.model_validate({"stored": {"service": "api", "path": "/all"},
                                     "backlog": {"service": "api", "path": "/backlog", "at": "length"}})
    platform: Any = Answering(answers)
    return Bookkeeper(platform, "default", spec, asyncio.get_running_loop().time)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "LOOK_AT_BACKLOG_S", 0.01)
    monkeypatch.setattr(bookkeeping, "DRAIN_S", 0.3)


async def test_it_asks_when_the_backlog_is_worked_off() -> None:
    books = keeper({"/backlog": [({"length": 2},), ({"length": 1},), ({"length": 0},)], "/all": ["1"]})
    books.start()
    found = await books.account([record(1), record(2)])
    assert found.writes is not None and found.writes.lost_ids == ("2",)
    assert found.problem == "" and [one.length for one in found.samples][:3] == [2, 1, 0]


async def test_a_backlog_that_stays_is_told() -> None:
    books = keeper({"/backlog": {"length": 7}, "/all": ["1"]})
    books.start()
    found = await books.account([record(1)])
    assert found.writes is not None and "not worked off" in found.problem


async def test_a_store_that_does_not_answer_loses_nothing_as_far_as_is_known() -> None:
    books = keeper({"/backlog": {"length": 0}})
    books.start()
    found = await books.account([record(1)])
    assert found.writes is None and "no list of ids" in found.problem


async def test_a_backlog_that_nobody_tells_is_unknown() -> None:
    books = keeper({"/all": []})
    books.start()
    await books.account([])
    assert books.samples and all(one.length is None for one in books.samples)


async def test_whoever_interrupts_waits_for_no_backlog() -> None:
    books = keeper({"/backlog": {"length": 7}, "/all": ["1"]})
    books.start()
    looks = len(books.samples)
    found = await books.account([record(1), record(2)], patient=False)
    assert found.writes is not None and found.writes.lost == 1 and "nobody waited" in found.problem
    assert len(books.samples) - looks < 5


async def test_an_interrupt_while_the_backlog_is_worked_off_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "DRAIN_S", 3600.0)
    books, interrupts = keeper({"/backlog": {"length": 7}, "/all": ["1"]}), Interrupts(lambda words: None)
    runner: Any = SimpleNamespace(interrupts=interrupts, _written=lambda: [record(1)],
                                  repetition=SimpleNamespace(verdict=Verdict.PASSED, reason=""))
    books.start()
    async with asyncio.timeout(30):
        asyncio.get_running_loop().call_later(0.05, interrupts.ask)
        found = await RepetitionRunner._account(runner, books)
    assert runner.repetition.verdict is Verdict.INTERRUPTED
    assert found.writes is not None and "nobody waited" in found.problem
