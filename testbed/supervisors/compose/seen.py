"""From what Docker says of a container to a task. Pure."""

from __future__ import annotations

from dataclasses import replace

from testbed.api import labels
from testbed.core.pod_seen import Life
from testbed.runtime.containers import ContainerState
from testbed.supervisors.containers import DEPLOYMENT
from testbed.supervisors.tasks import Task, checks_of, life_of


def task_of(state: ContainerState, *, stopping: bool = False, last_exit: int | None = None) -> Task:
    """``last_exit``: exit code of its last death, which Docker forgets when it starts the container again.

    Docker's DNS names a container while it runs, whatever its health.
    """
    own, health, runs = state.labels, state.health, state.running
    return Task(
        namespace=own[labels.POD_NAMESPACE], name=own[labels.POD_NAME], deployment=own[DEPLOYMENT].partition("/")[2],
        revision=own.get(labels.SPEC_HASH, ""), container=own[labels.CONTAINER_NAME], node=own[labels.NODE],
        id=state.id, life=life_of(state), image=state.image, image_id=state.image_id, address=state.address,
        created_at=state.created_at, started_at=state.started_at, finished_at=state.finished_at,
        exit_code=state.exit_code if not runs or last_exit is None else last_exit, oom_killed=state.oom_killed,
        error=state.error, stopping=stopping, checked=health is not None,
        healthy=health is None or health.status == "healthy", checks=checks_of(state),
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
