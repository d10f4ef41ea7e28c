"""What Docker says of a container, as a task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from testbed.api import labels
from testbed.core.pod_seen import Life
from testbed.runtime.containers import ContainerState, HealthLook, HealthState
from testbed.supervisors.changes import changes
from testbed.supervisors.compose.seen import ended, task_of

T0 = datetime(2030, 1, 1, tzinfo=UTC)
LABELS = {labels.POD_NAMESPACE: "default", labels.POD_NAME: "web-1-x", labels.CONTAINER_NAME: "web",
          labels.NODE: "machine", labels.SPEC_HASH: "r1", "testbed.io/deployment": "default/web"}
RUNS = ContainerState("c1", "n", LABELS, "i", "i", "running", started_at=T0, address="10.0.0.2",
                      health=HealthState("healthy", (HealthLook(T0 - timedelta(seconds=9), 1, "of an earlier life"),
                                                    HealthLook(T0 + timedelta(seconds=1), 0, "ok"))))
AGAIN = replace(RUNS, started_at=T0 + timedelta(seconds=5.2), finished_at=T0 + timedelta(seconds=5), health=None)


def test_a_container_that_runs_gets_requests_whatever_its_health() -> None:
    task = task_of(replace(RUNS, health=HealthState("unhealthy")))
    assert (task.running, task.ready, task.reachable) == (True, False, True)
    assert [check.passed for check in task_of(RUNS).checks] == [True], "an earlier life's checks are over"


def test_one_that_waits_for_its_restart_gets_none() -> None:
    task = task_of(replace(RUNS, status="restarting", address="", exit_code=137))
    assert (task.life, task.waiting, task.reachable, task.exit_code) == (Life.EXITED, "CrashLoopBackOff", False, 137)


def test_a_death_is_shown_although_it_runs_again_by_now() -> None:
    before = task_of(RUNS)
    dead = ended(before, AGAIN, 137)
    assert (dead.running, dead.reachable, dead.exit_code) == (False, False, 137)
    assert [told.reason for told in changes(before, dead)] == ["ContainerDied", "ContainerUnready"]
    assert [told.reason for told in changes(dead, task_of(AGAIN, last_exit=137))] == ["Started", "ContainerReady"]


def test_an_event_of_a_death_that_is_known_already_changes_nothing() -> None:
    now = task_of(AGAIN)
    assert ended(now, AGAIN, 137) is now
