"""What happened to a container between two looks at it, as the Events of a recovery timeline. Pure.

The engine's own times are used, so a look that comes late tells the moment all the same. What came and went between two
looks (two restarts, more health checks than the engine remembers) is told as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from testbed.supervisors.tasks import Task


@dataclass(frozen=True)
class Told:
    """``at``: None is now."""

    reason: str
    message: str
    at: datetime | None = None
    warning: bool = False


def changes(before: Task | None, after: Task) -> tuple[Told, ...]:
    """``before``: as it was seen last; None when it is new."""
    found = [*_life(before, after), *_checks(before, after), *_readiness(before, after)]
    return tuple(sorted(found, key=lambda told: told.at.timestamp() if told.at else float("inf")))


def restarted(before: Task | None, after: Task) -> bool:
    """It runs (or has run) again since ``before``."""
    return (before is not None and before.started_at is not None and after.started_at is not None
            and after.started_at != before.started_at)


def _life(before: Task | None, after: Task) -> Iterator[Told]:
    ran = before is not None and before.running
    if ran and (not after.running or restarted(before, after)):
        yield Told("ContainerDied", f"Container {after.container} ended", after.finished_at)
    if after.running and (not ran or restarted(before, after)):
        yield Told("Started", f"Started container {after.container}", after.started_at)


def _checks(before: Task | None, after: Task) -> Iterator[Told]:
    """Only of this life of the container: what a check said of an earlier one is over."""
    last = before.checks[-1].at if before is not None and before.checks else None
    for check in after.checks:
        if check.passed or (last is not None and check.at <= last):
            continue
        yield Told("Unhealthy", f"Health check failed: {check.output.strip()[:200]}", check.at, warning=True)


def _readiness(before: Task | None, after: Task) -> Iterator[Told]:
    was = before is not None and before.ready
    if was and (not after.ready or restarted(before, after)):
        ended = not after.running or restarted(before, after)
        at = after.finished_at if ended else after.checks[-1].at if after.checks and not after.healthy else None
        yield Told("ContainerUnready", "The pod is not ready", at)
    if after.ready and (not was or restarted(before, after)):
        yield Told("ContainerReady", "The pod is ready", _since_ready(after))


def _since_ready(task: Task) -> datetime | None:
    """The check by which it turned healthy; without checks, its start."""
    if not task.checked:
        return task.started_at
    turned = None
    for check in reversed(task.checks):
        if not check.passed or (task.started_at is not None and check.at < task.started_at):
            break
        turned = check.at
    return turned
