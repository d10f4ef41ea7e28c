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
from testbed.runtime.protocol import ContainerState
from testbed.runtime.supervision import SupervisingEngine
from testbed.supervisors.compose.translate import AUTOHEAL

log = logging.getLogger("autoheal")

INTERVAL_S = 5.0
STOP_GRACE_S = 10


class Autoheal:
    """``mine``: labels of the containers that may be touched at all. ``restarting``: told before each restart."""

    def __init__(
        self, engine: SupervisingEngine, mine: dict[str, str], restarting: Callable[[ContainerState], None]
    ) -> None:
        self._engine, self._mine, self._restarting = engine, mine | {AUTOHEAL: "true"}, restarting

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._pass()
            except EngineUnavailable as error:
                log.info("%s", error)
            await asyncio.sleep(INTERVAL_S)

    async def _pass(self) -> None:
        for state in await self._engine.look(self._mine):
            if state.health is None or state.health.status != "unhealthy" or state.status == "restarting":
                continue
            log.info("container %s found to be unhealthy - restarting it with %d s timeout", state.name, STOP_GRACE_S)
            self._restarting(state)
            try:
                await self._engine.restart(state.id, STOP_GRACE_S)
            except EngineError as error:
                log.warning("restarting container %s failed: %s", state.name, error)
