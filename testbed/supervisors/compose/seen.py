"""From what Docker says of a container to a task. Pure."""

from __future__ import annotations

from dataclasses import replace

from testbed.api import labels
from testbed.core.pod_seen import Life
from testbed.runtime.protocol import ContainerState
from testbed.supervisors.compose.translate import DEPLOYMENT
from testbed.supervisors.tasks import Check, Task

_RUNS = ("running", "paused")


def task_of(state: ContainerState, *, stopping: bool = False, last_exit: int | None = None) -> Task:
    """``last_exit``: exit code of its last death, which Docker forgets when it starts the container again.

    Docker's DNS names a container while it runs, whatever its health.
    """
    own, health = state.labels, state.health
    runs = state.status in _RUNS
    life = Life.RUNNING if runs else Life.CREATED if state.status == "created" else Life.EXITED
    checks = tuple(Check(look.at, look.exit_code == 0, look.output)
                   for look in (health.looks if health else ()) if look.at is not None
                   and (state.started_at is None or look.at >= state.started_at))
    return Task(
        namespace=own[labels.POD_NAMESPACE], name=own[labels.POD_NAME], deployment=own[DEPLOYMENT].partition("/")[2],
        revision=own.get(labels.SPEC_HASH, ""), container=own[labels.CONTAINER_NAME], node=own[labels.NODE],
        id=state.id, life=life, image=state.image, image_id=state.image_id, address=state.address,
        created_at=state.created_at, started_at=state.started_at, finished_at=state.finished_at,
        exit_code=state.exit_code if not runs or last_exit is None else last_exit, oom_killed=state.oom_killed,
        error=state.error, stopping=stopping, checked=health is not None,
        healthy=health is None or health.status == "healthy", checks=checks,
        reachable=runs and bool(state.address), waiting="CrashLoopBackOff" if state.status == "restarting" else "",
    )


def ended(task: Task, state: ContainerState, exit_code: int) -> Task:
    """A task whose container has died, also when it runs again by now: in between it was in no DNS.

    ``state``: as it is now; Docker keeps the time of its last end.
    """
    if not task.running or state.finished_at is None or (
            task.started_at is not None and state.finished_at < task.started_at):
        return task
    return replace(task, life=Life.EXITED, finished_at=state.finished_at, exit_code=exit_code, reachable=False,
                   address="", waiting="CrashLoopBackOff")
