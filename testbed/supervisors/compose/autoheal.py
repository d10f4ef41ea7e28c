"""What the container ``willfarrell/autoheal`` does beside a Compose project, by its defaults, through the engine's API.

Every AUTOHEAL_INTERVAL (5 s) it asks for the containers that are unhealthy and have the label ``autoheal=true``, and
restarts one after the other with a grace of AUTOHEAL_DEFAULT_STOP_TIMEOUT (10 s); one that is "restarting" is left
alone. Source: docker-entrypoint of that project.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from testbed.errors import EngineError, EngineUnavailable
from testbed.runtime.containers import ContainerState
from testbed.runtime.supervision import SupervisingEngine
from testbed.supervisors.compose.timers import Timers
from testbed.supervisors.compose.translate import AUTOHEAL, STOP_TIMEOUT

log = logging.getLogger("autoheal")


class Autoheal:
    """``mine``: labels of the containers that may be touched at all. ``restarting``: told before each restart, with its
    grace in seconds."""

    def __init__(
        self, engine: SupervisingEngine, mine: dict[str, str], timers: Timers,
        restarting: Callable[[ContainerState, int], None],
    ) -> None:
        self._engine, self._mine, self._timers = engine, mine | {AUTOHEAL: "true"}, timers
        self._restarting = restarting

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._pass()
            except EngineUnavailable as error:
                log.info("%s", error)
            await asyncio.sleep(self._timers.interval_s)

    async def _pass(self) -> None:
        for state in await self._engine.look(self._mine):
            if state.health is None or state.health.status != "unhealthy" or state.status == "restarting":
                continue
            grace_s = int(state.labels.get(STOP_TIMEOUT) or self._timers.stop_grace_s)
            log.info("container %s found to be unhealthy - restarting it with %d s timeout", state.name, grace_s)
            self._restarting(state, grace_s)
            try:
                await self._engine.restart(state.id, grace_s)
            except EngineError as error:
                log.warning("restarting container %s failed: %s", state.name, error)
