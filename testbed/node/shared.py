"""What all pod workers of one agent share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.protocol import ProbeKind
from testbed.api.clock import WallClock
from testbed.client.protocol import Client
from testbed.core.backoff import BackoffRule
from testbed.core.profile import Profile
from testbed.node.checkpoint import Checkpoint
from testbed.node.claims import PodClaims
from testbed.node.config import ConfigSource
from testbed.node.engine_view import EngineView
from testbed.node.facts import NodeFacts, Recorder, RouteSandbox
from testbed.node.images import Images
from testbed.node.measures import Measures
from testbed.node.pod_tokens import PodTokens
from testbed.node.status_sender import StatusSender
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

PROBES_AT_ONCE = 64
SANDBOXES_AT_ONCE = 2
SPARES_AT_ONCE = 1


@dataclass
class Shared:
    facts: NodeFacts
    client: Client
    engine: Engine
    host: Host
    view: EngineView
    sender: StatusSender
    recorder: Recorder
    images: Images
    config: ConfigSource
    claims: PodClaims
    tokens: PodTokens
    profile: Profile
    clock: WallClock
    draw: random.Random
    route: RouteSandbox
    kinds: Callable[[str], ProbeKind]
    checkpoint: Checkpoint
    measures: Measures
    uptime_s: Callable[[], float]
    crash_rule: BackoffRule
    cluster: str = ""  # uid of the namespace kube-system
    lowest_oom_score: int = -1000  # 0 once the engine has refused a lower one
    taken: set[str] = field(default_factory=set)  # pod addresses being given out
    probe_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PROBES_AT_ONCE))
    sandbox_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SANDBOXES_AT_ONCE))
    spare_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SPARES_AT_ONCE))

    def retry_s(self) -> float:
        """Pause after something failed that may work later (kubernetes: pod_workers.go, spread by a half)."""
        return self.profile.crash_backoff_initial_s * (1 + self.draw.random() / 2)
