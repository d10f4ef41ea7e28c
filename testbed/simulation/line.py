"""A process's way to the simulated API: its node's cable (``machines/cable_state.py``), or nothing in between.

Decides what a request and its answer meet on the way. One direction cut: a connection that is open goes on in the other
one, so a client's first request may still arrive (or its answer still come); after it has waited in vain it makes a new
connection, and no handshake ends while half of it is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from testbed.errors import ApiUnavailable
from testbed.machines.protocol import CableHold

_LOOK_S = 0.05
TO_API, FROM_API = "to", "from"


class Line:
    """``holds``: what each key makes of it."""

    def __init__(self) -> None:
        self.holds: dict[str, CableHold] = {}

    @property
    def cut(self) -> bool:
        """In at least one direction."""
        return any(hold.cut for hold in self.holds.values())

    def cut_towards(self, direction: str) -> bool:
        return any(hold.cut and _concerns(hold, direction) for hold in self.holds.values())

    def late_s(self, direction: str) -> float:
        return sum(hold.delay_s for hold in self.holds.values() if _concerns(hold, direction))

    async def cross(self, direction: str, deadline_s: float, *, fresh: bool = False) -> None:
        """``fresh``: on a new connection. Raises: ApiUnavailable after ``deadline_s``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        if fresh:  # a handshake, once there and back (TLS takes as much again)
            await _pause(2 * (self.late_s(TO_API) + self.late_s(FROM_API)), deadline)
        await _pause(self.late_s(direction), deadline)
        while self.cut_towards(direction) or (fresh and self.cut):
            if loop.time() >= deadline:
                raise ApiUnavailable(f"no answer within {deadline_s:g} s")
            await asyncio.sleep(_LOOK_S)


async def _pause(delay_s: float, deadline: float) -> None:
    """Raises: ApiUnavailable at the deadline."""
    loop = asyncio.get_running_loop()
    if not delay_s:
        return
    await asyncio.sleep(min(delay_s, max(0.0, deadline - loop.time())))
    if loop.time() >= deadline:
        raise ApiUnavailable("no answer in time: it is late")


def _concerns(hold: CableHold, direction: str) -> bool:
    return hold.direction in ("both", direction)


def told(holds: Mapping[str, CableHold]) -> tuple[CableHold, ...]:
    return tuple(holds[key] for key in sorted(holds))
