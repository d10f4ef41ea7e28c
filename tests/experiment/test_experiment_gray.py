"""What is red and what is not, and the time in which clients fail while all is green."""

from __future__ import annotations

import pytest
from evidence_builder import START_NS, World
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment.clients import Clients
from testbed.experiment.gray import red_spans
from testbed.experiment.spans import Span, clipped, length, union, without
from testbed.load.records import FRESH, Outcome, Record

WEB = ("default/web",)
UNTIL = 30.0


def red(world: World) -> list[Span]:
    return red_spans(world.evidence, WEB, UNTIL)


def gray_s(world: World, outage: Span, every: int = 1) -> float | None:
    """Of clients of whom one of ``every`` fails in ``outage`` and nowhere else."""
    records = []
    for index in range(3000):
        due_ns = START_NS + index * 10_000_000
        bad = outage[0] <= index / 100 < outage[1] and index % every == 0
        records.append(Record(index, FRESH, due_ns, due_ns, due_ns + 2_000_000,
                              Outcome.TIMEOUT if bad else Outcome.OK))
    clients = Clients(records, start_ns=START_NS, rate=100, deadline_s=1.0, healthy_until_s=5.0)
    return clients.view(10.0, UNTIL, red=red(world)).gray_s


def test_a_healthy_workload_is_green() -> None:
    assert red(World()) == []


def test_a_fault_that_no_probe_sees_is_gray_all_along() -> None:
    assert gray_s(World(), (10.0, 15.0)) == pytest.approx(5.0, abs=0.02)


def test_one_of_four_who_fails_again_and_again_is_gray_all_along_too() -> None:
    assert gray_s(World(), (10.0, 15.0), every=4) == pytest.approx(5.0, abs=0.05)
    assert gray_s(World(), (10.0, 15.0), every=250) == pytest.approx(0.02, abs=0.001)  # single failures far apart


def test_a_hang_is_gray_until_the_first_failed_probe() -> None:
    world = World()
    world.told(11.8, "Unhealthy", "web-1", "Readiness probe failed: timeout")
    world.told(12.8, "Unhealthy", "web-1", "Readiness probe failed: timeout")
    world.told(12.81, "ContainerUnready", "web-1")
    world.pod(12.83, "web-1", ready=False)
    world.rotation(12.84, "web-2", "web-3")
    assert gray_s(world, (10.1, 12.85)) == pytest.approx(1.7, abs=0.02)


def test_a_death_that_was_seen_is_red_at_once() -> None:
    world = World()
    world.told(10.001, "ContainerDied", "web-1")
    world.pod(10.03, "web-1", ready=False)
    world.told(12.0, "ContainerReady", "web-1")
    world.pod(12.02, "web-1", ready=True, restarts=1)
    assert red(world)[0] == pytest.approx((10.001, 12.02))
    assert gray_s(world, (10.0, 11.0)) == pytest.approx(0.0, abs=0.011)


def test_a_restart_faster_than_any_watch_is_red_until_it_started() -> None:
    world = World()
    world.told(10.0, "ContainerDied", "web-1")
    world.told(10.12, "Started", "web-1")
    assert red(world)[0] == pytest.approx((10.0, 10.12))


def test_a_lost_node_is_gray_until_its_pods_are_given_up() -> None:
    world = World()
    world.node(12.0, "node-1", ready=False)
    world.pod(12.05, "web-1", ready=False)
    assert gray_s(world, (10.0, 12.3)) == pytest.approx(2.05, abs=0.02)


def test_a_new_pod_that_is_not_ready_yet_is_no_alarm() -> None:
    world = World()
    world.pod(12.0, "web-4", node="node-1", ready=False)
    world.pod(20.0, "web-4", ready=True)
    assert red(world) == []


def test_a_pod_on_its_way_out_is_red_while_it_is_in_rotation() -> None:
    world = World()
    world.pod(12.0, "web-1", deleting=True)
    world.rotation(12.4, "web-2", "web-3")
    world.pod(20.0, "web-1", gone=True)
    assert red(world) == [(12.0, 12.4)]


def test_nobody_in_rotation_is_red() -> None:
    world = World()
    world.rotation(12.0)
    world.rotation(14.0, "web-1")
    assert red(world) == [(12.0, 14.0)]


def test_without_a_deployment_nothing_can_be_told() -> None:
    clients = Clients([], start_ns=START_NS, rate=100, deadline_s=1.0, healthy_until_s=5.0)
    assert clients.view(0.0, 1.0).gray_s is None


spans = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: (min(pair), max(pair))),
                 max_size=8)


@given(spans, spans)
def test_spans_behave_as_sets_of_moments(some: list[Span], others: list[Span]) -> None:
    def moments(items: list[Span]) -> set[int]:
        return {at for begin, end in items for at in range(int(begin), int(end))}

    assert moments(union(some)) == moments(some)
    assert length(some) == len(moments(some))
    assert moments(without(some, others)) == moments(some) - moments(others)
    assert moments(clipped(some, 20, 60)) == moments(some) & set(range(20, 60))
