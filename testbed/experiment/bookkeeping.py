"""Asks a system with state what became of what was written: its backlog while a run goes, its ids at the end.

What the answers mean is `accounting.py`'s. A system that does not answer is unknown, and the result says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable

from testbed.errors import TestbedError
from testbed.experiment.accounting import TOLERATED, drained_at, usual, writes
from testbed.experiment.kind import Asked, StateSpec
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import LOOK_AT_BACKLOG_S
from testbed.experiment.result import BacklogSample, StateView
from testbed.experiment.steady_state import pick
from testbed.experiment.targets import find_target
from testbed.load.records import Record

TIMEOUT_S = 1.0
DRAIN_S = 60.0


class Bookkeeper:
    """Of one repetition. ``now``: seconds of the run."""

    def __init__(self, platform: Platform, namespace: str, spec: StateSpec, now: Callable[[], float]) -> None:
        self._platform, self._namespace, self._spec, self._now = platform, namespace, spec, now
        self._task: asyncio.Task[None] | None = None
        self.samples: list[BacklogSample] = []

    def start(self) -> None:
        """Begins to look at the backlog."""
        if self._spec.backlog is not None:
            self._task = asyncio.create_task(self._follow(self._spec.backlog))

    async def _follow(self, asked: Asked) -> None:
        while True:
            at = self._now()
            length = await self._ask(asked)
            self.samples.append(BacklogSample(
                at_s=round(at, 3), length=float(length) if isinstance(length, int | float) else None))
            await asyncio.sleep(max(0.0, LOOK_AT_BACKLOG_S - (self._now() - at)))

    async def drained(self, most: float) -> bool:
        """Waits until no more than ``most`` is left to do, for at most ``DRAIN_S``; whether it was so.

        Only looks that begin from now on count: what was written since the last one is in none before.
        """
        if self._task is None:  # nobody looks: none is asked for, or the run ended before its load began
            return True
        since = self._now()
        while self._now() < since + DRAIN_S:
            if drained_at(self.samples, most, since) is not None:
                return True
            await asyncio.sleep(LOOK_AT_BACKLOG_S)
        return False

    async def back_to_usual(self, began: float) -> bool:
        """Waits until the backlog is as short as before the method, which ``began`` then, for at most ``DRAIN_S``."""
        return await self.drained(usual(self.samples, began) + TOLERATED)

    async def account(self, records: Iterable[Record], *, patient: bool = True) -> StateView:
        """What became of what the pulse wrote, once nothing more is written and the backlog is worked off.

        Args: patient: wait for the backlog; without, what is not worked off yet may look lost, and that is told.
        """
        problem = "" if await self._worked_off(patient) else (
            f"the backlog was not worked off within {DRAIN_S:g} s" if patient
            else "interrupted: nobody waited until the backlog was worked off")
        found = await self.stored()
        await self.stop()
        if isinstance(found, str):
            return StateView(samples=tuple(self.samples), problem=found)
        return StateView(writes=writes(records, found, self._spec.id), samples=tuple(self.samples), problem=problem)

    async def _worked_off(self, patient: bool) -> bool:
        return await self.drained(0) if patient else self._task is None

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def stored(self) -> list[str] | str:
        """The ids that are stored, or why that cannot be said."""
        found = await self._ask(self._spec.stored)
        if not isinstance(found, list):
            return f"{self._spec.stored.path} answered no list of ids"
        return [str(item) for item in found]

    async def _ask(self, asked: Asked) -> object:
        """The value, or None."""
        try:
            target = await find_target(self._platform, self._namespace, asked)
        except TestbedError:
            return None
        answer = await self._platform.http_get(f"http://{target.address}{asked.path}", target.headers, TIMEOUT_S)
        if isinstance(answer, str) or answer[0] != 200:
            return None
        try:
            value = json.loads(answer[1])
            return pick(value, asked.at) if asked.at else value
        except (ValueError, LookupError, TypeError):
            return None
