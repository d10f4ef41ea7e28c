"""What happened to a container between two looks is told once each, with the engine's own times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from testbed.core.pod_seen import Life
from testbed.supervisors.changes import changes
from testbed.supervisors.tasks import Check, Task

T0 = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


CREATED = Task("default", "web-1-x", "web", "r1", "web", "machine", id="c1")
RUNS = replace(CREATED, life=Life.RUNNING, started_at=at(1), address="10.0.0.2", reachable=True)
CHECKED = replace(RUNS, checked=True, healthy=True, checks=(Check(at(2), True),))
FAILING = replace(CHECKED, checks=(*CHECKED.checks, Check(at(3), False, "refused")))
UNHEALTHY = replace(FAILING, healthy=False, checks=(*FAILING.checks, Check(at(4), False, "refused")))
ENDED = replace(RUNS, life=Life.EXITED, finished_at=at(5), exit_code=137, reachable=False, waiting="CrashLoopBackOff")
AGAIN = replace(RUNS, started_at=at(5.3), finished_at=at(5))
STARTING = replace(AGAIN, checked=True, healthy=False)


@pytest.mark.parametrize(("before", "after", "told"), [
    pytest.param(None, CREATED, [], id="made"),
    pytest.param(CREATED, RUNS, [("Started", 1), ("ContainerReady", 1)], id="started, nobody checks"),
    pytest.param(None, CHECKED, [("Started", 1), ("ContainerReady", 2)], id="ready by its first good check"),
    pytest.param(CHECKED, CHECKED, [], id="nothing"),
    pytest.param(CHECKED, FAILING, [("Unhealthy", 3)], id="a check fails"),
    pytest.param(FAILING, UNHEALTHY, [("Unhealthy", 4), ("ContainerUnready", 4)], id="unhealthy"),
    pytest.param(CHECKED, UNHEALTHY, [("Unhealthy", 3), ("Unhealthy", 4), ("ContainerUnready", 4)], id="both at once"),
    pytest.param(RUNS, ENDED, [("ContainerDied", 5), ("ContainerUnready", 5)], id="died"),
    pytest.param(ENDED, AGAIN, [("Started", 5.3), ("ContainerReady", 5.3)], id="restarted"),
    pytest.param(RUNS, AGAIN, [("ContainerDied", 5), ("ContainerUnready", 5), ("Started", 5.3),
                               ("ContainerReady", 5.3)], id="died and restarted between two looks"),
    pytest.param(UNHEALTHY, STARTING, [("ContainerDied", 5), ("Started", 5.3)], id="restarted, not healthy yet"),
    pytest.param(RUNS, replace(RUNS, stopping=True), [("ContainerUnready", None)], id="ordered to end"),
])
def test_each_change_is_told_at_its_moment(
    before: Task | None, after: Task, told: list[tuple[str, float | None]]
) -> None:
    found = [(item.reason, None if item.at is None else (item.at - T0).total_seconds())
             for item in changes(before, after)]
    assert found == told


def test_what_an_earlier_life_failed_by_is_not_told_again() -> None:
    assert [item.reason for item in changes(UNHEALTHY, UNHEALTHY)] == []
