"""Keeps the view of the engine fresh: by its events, and by its list again and again, whatever the events say.

What an event or a list means is left to ``engine_view``. Both loops are ended and begun again by the agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from testbed.node.engine_view import EngineView
from testbed.node.facts import now_s

_CALM_INTERVALS = 3  # relists are this much rarer while events flow and the engine owes no answer


class EngineNews:
    """``selector``: labels of this node's containers."""

    def __init__(self, view: EngineView, selector: Mapping[str, str], relist_interval_s: float) -> None:
        self._view, self._selector, self._interval_s = view, selector, relist_interval_s
        self._following = False

    async def follow(self) -> None:
        self._following = False
        async for event in self._view.engine.events(self._selector):
            self._following = True
            if event.action == "reconnect" or not event.container_id:
                await self._view.relist()
            else:
                self._view.on_event(event)

    async def relist_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            listed_s = self._view.listed_s
            calm = self._following and not self._view.unsettled and listed_s is not None
            if not calm or now_s() - (listed_s or 0.0) >= _CALM_INTERVALS * self._interval_s:
                await self._view.relist()
