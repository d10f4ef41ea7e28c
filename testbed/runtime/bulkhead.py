"""Keeps calls about one thing from taking the places of calls about others.

Decides only how many calls may be under way for each key; which key and what call is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from testbed.errors import EngineUnavailable


@dataclass
class _Gate:
    places: asyncio.Semaphore
    users: int = 0


class Bulkhead:
    """At most ``per_key`` calls at once for each key; a key that is not in use costs nothing."""

    def __init__(self, per_key: int) -> None:
        self._per_key = per_key
        self._gates: dict[str, _Gate] = {}

    @asynccontextmanager
    async def hold(self, key: str, timeout_s: float) -> AsyncIterator[None]:
        """Raises: EngineUnavailable when no place is free within ``timeout_s``."""
        gate = self._gates.setdefault(key, _Gate(asyncio.Semaphore(self._per_key)))
        gate.users += 1
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await gate.places.acquire()
            except TimeoutError:
                raise EngineUnavailable(f"earlier calls about {key} have not been answered") from None
            try:
                yield
            finally:
                gate.places.release()
        finally:
            gate.users -= 1
            if not gate.users:
                self._gates.pop(key, None)
