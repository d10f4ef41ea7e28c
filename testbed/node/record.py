"""One container as this agent knows it: what the engine last said of it, and what the agent saw or did itself.

Which containers there are, and what is believed when two answers differ, is left to ``engine_view``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from testbed.api import labels
from testbed.api.process_logs import about
from testbed.core.pod_seen import ContainerSeen, Life
from testbed.runtime.containers import ContainerState
from testbed.runtime.host_protocol import ProcessIdentity

CREATE_HASH = "testbed.io/create-hash"  # of everything asked of the engine, to know a container made in advance
SANDBOX_ID = "testbed.io/sandbox-id"  # whose network a container lives in


@dataclass
class Record:
    """One container of this node. ``touched_s``: when we last acted on it or heard of it; ``learned_s``: when first."""

    state: ContainerState
    touched_s: float
    process: ProcessIdentity | None = None
    cgroup: str = ""
    died_ns: int | None = None
    exit_known: bool = False
    started_s: float | None = None
    finished_s: float | None = None
    finished_at: datetime | None = None
    stopping: bool = False
    restart_anyway: bool = False
    message: str = ""
    message_read: bool = False
    learned_s: float = field(init=False)
    uid: str = field(init=False)
    name: str = field(init=False)
    attempt: int = field(init=False)
    sandbox: bool = field(init=False)

    @property
    def id(self) -> str:
        return self.state.id

    def __post_init__(self) -> None:
        self.learned_s = self.touched_s
        tags = self.state.labels
        text = tags.get(labels.ATTEMPT, "0")
        self.uid = tags.get(labels.POD_UID, "")
        self.name = tags.get(labels.CONTAINER_NAME, "")
        self.attempt = int(text) if text.isdecimal() else 0
        self.sandbox = tags.get(labels.ROLE) == labels.ROLE_SANDBOX

    @property
    def whom(self) -> dict[str, Any]:
        """``extra`` of lines of the log."""
        return about(pod_uid=self.uid, container_id=self.id)

    @property
    def running(self) -> bool:
        return self.state.running and self.died_ns is None

    @property
    def never_started(self) -> bool:
        """Made, and neither started nor failed to start."""
        state = self.state
        return state.status == "created" and not state.error and not state.exit_code


def container_seen(record: Record) -> ContainerSeen:
    """For ``core/pods``, which decides about it."""
    state = record.state
    seen = ContainerSeen(
        name=record.name, id=record.id, attempt=record.attempt, life=Life.RUNNING,
        spec_hash=state.labels.get(labels.SPEC_HASH, ""), sandbox=state.labels.get(SANDBOX_ID, ""),
        image=state.image, image_id=state.image_id,
        created_at=state.created_at, started_at=state.started_at, started_s=record.started_s,
        stopping=record.stopping, restart_anyway=record.restart_anyway,
    )
    if record.running:
        return seen
    return replace(
        seen, life=Life.EXITED, exit_code=state.exit_code if record.exit_known else None, oom_killed=state.oom_killed,
        error=state.error, message=record.message, finished_at=record.finished_at, finished_s=record.finished_s,
        learned_s=record.learned_s, started_at=state.started_at,
        message_pending=record.exit_known and not record.message_read,
    )
