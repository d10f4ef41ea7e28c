"""What a driver says of one container of its orchestrator, in words that all orchestrators share.

Moments are the engine's own wall times. ``reachable`` is the platform's own routing, whatever health says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from testbed.core.pod_seen import Life
from testbed.runtime.containers import ContainerState


@dataclass(frozen=True)
class Check:
    """One health check that was carried out."""

    at: datetime
    passed: bool
    output: str = ""


def life_of(state: ContainerState) -> Life:
    return Life.RUNNING if state.running else Life.CREATED if state.status == "created" else Life.EXITED


def checks_of(state: ContainerState) -> tuple[Check, ...]:
    """Those of this life of the container."""
    return tuple(Check(look.at, look.exit_code == 0, look.output)
                 for look in (state.health.looks if state.health else ()) if look.at is not None
                 and (state.started_at is None or look.at >= state.started_at))


@dataclass(frozen=True)
class Task:
    """One container of one replica: a pod with one container.

    Attributes:
        name: of the pod; the same as long as it is the same container (or, where restarts are new containers, the same
            replica).
        deployment: name of the Deployment it is of.
        revision: hash of the pod template it was made from.
        container: name of the container in that template.
        id: in the engine; "" while there is none.
        stopping: somebody has ordered it to end.
        checked: whether anybody checks its health. healthy: what the last word on it is; True where nobody checks.
        checks: the latest health checks, oldest first.
        reachable: requests to the platform's own address of the service may arrive at it.
        waiting: why it does not run, as a container status' reason.
    """

    namespace: str
    name: str
    deployment: str
    revision: str
    container: str
    node: str
    id: str = ""
    life: Life = Life.CREATED
    image: str = ""
    image_id: str = ""
    address: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    stopping: bool = False
    checked: bool = False
    healthy: bool = True
    checks: tuple[Check, ...] = ()
    reachable: bool = False
    waiting: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def owner(self) -> str:
        return f"{self.namespace}/{self.deployment}"

    @property
    def running(self) -> bool:
        return self.life is Life.RUNNING

    @property
    def ready(self) -> bool:
        return self.running and self.healthy and not self.stopping


@dataclass(frozen=True)
class Machine:
    """A node as it is shown. ``cpu`` and ``memory``: quantities. ``kind``: of node, slice or engine."""

    name: str
    address: str
    ready: bool
    runs: str  # what runs the containers there, and its version: docker://20.10
    supervisor: str  # what looks after them, and its version
    cpu: str
    memory: str
    kind: str = "slice"
    kernel: str = ""
    why_not_ready: str = ""
    architecture: str = ""  # in Kubernetes' words
