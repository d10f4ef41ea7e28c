"""What an agent sees of one pod: the values that pod decisions start from.

Three answers are kept apart: a container runs, has ended, or is not known. Times named ``_s`` are monotonic seconds,
times named ``_at`` are wall times for the status only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Life(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class ContainerSeen:
    """``exit_code`` is None while the process is seen to have ended and the engine has not yet told its code.
    ``sandbox``: id of the one it lives in. ``stopping``: a kill of ours is under way.
    ``restart_anyway``: we ended it so that it is restarted. ``message_pending``: its end is not told yet, because its
    termination message is still being read.
    """

    name: str
    id: str
    attempt: int
    life: Life
    spec_hash: str = ""
    sandbox: str = ""
    image: str = ""
    image_id: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    message: str = ""
    message_pending: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    started_s: float | None = None
    finished_s: float | None = None
    learned_s: float | None = None
    stopping: bool = False
    restart_anyway: bool = False

    @property
    def running(self) -> bool:
        return self.life is Life.RUNNING

    @property
    def exited(self) -> bool:
        return self.life is Life.EXITED


@dataclass(frozen=True)
class SandboxSeen:
    id: str
    attempt: int
    running: bool
    address: str = ""


@dataclass(frozen=True)
class PodSeen:
    """``containers``: the newest instance of each name that was ever started; ``previous``: the one before it."""

    sandbox: SandboxSeen | None = None
    containers: Mapping[str, ContainerSeen] = field(default_factory=dict)
    previous: Mapping[str, ContainerSeen] = field(default_factory=dict)
