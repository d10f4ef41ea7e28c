"""What faults need of a machine, and whether this one has it.

A fault names in ``needs`` what it cannot do without: ``"fuse"``, or ``"netem or nfqueue"`` where either will do. It is
refused before anything is touched when the machine lacks it; a fault that has a fallback for everything needs nothing.
How an ability is found out is `testbed.runtime.trial`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from faults.protocol import Fault, Refused
from faults.registry import Registry
from testbed.errors import TestbedError
from testbed.runtime.protocol import Engine
from testbed.runtime.trial import ABILITIES
from testbed.runtime.trial import abilities as tried

_ASK_AGAIN_S = 60.0  # what was missing may have been mended


def names_in(need: str) -> tuple[str, ...]:
    """``"netem or nfqueue"`` as its names. Raises: KeyError for one that nobody knows."""
    names = tuple(need.split(" or "))
    return tuple(ABILITIES[name].name for name in names)


def unmet(needs: Iterable[str], have: Mapping[str, bool]) -> tuple[str, ...]:
    """Needs of which nothing is there. What is not known counts as there: the fault's own verification judges."""
    return tuple(need for need in needs if not any(have.get(name, True) for name in names_in(need)))


def refusal(fault: Fault, missing: Sequence[str]) -> Refused:
    mends = [ABILITIES[name].mend for name in names_in(missing[0])]
    return Refused(f"this machine cannot do {fault.name}: it lacks {', '.join(missing)}",
                   hint="what mends it: " + "; or ".join(mends) + " (see: testbed doctor)")


def carried_by(ability: str) -> tuple[str, ...]:
    """Names of the faults that need it, or could do with it."""
    return tuple(fault.name for fault in Registry().faults()
                 if any(ability in names_in(need) for need in fault.needs)) if ability else ()


class Abilities(Protocol):
    async def check(self, fault: Fault) -> None:
        """Raises: Refused when this machine lacks what the fault needs."""
        ...


class Everything:
    """A machine that lacks nothing: the simulator's."""

    async def check(self, fault: Fault) -> None:
        return


class Tried:
    """Tries on the engine what is asked for the first time. What works is remembered for good, what does not for a
    minute; what could not be tried is nobody's fault."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, bool] = {}
        self._asked_s = 0.0
        self._one = asyncio.Lock()

    async def check(self, fault: Fault) -> None:
        if not fault.needs:
            return
        async with self._one:
            missing = unmet(fault.needs, await self._have(fault))
        if missing:
            raise refusal(fault, missing)

    async def _have(self, fault: Fault) -> dict[str, bool]:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_s > _ASK_AGAIN_S:
            self._known = {name: True for name, has in self._known.items() if has}
        wanted = {name for need in fault.needs for name in names_in(need)} - self._known.keys()
        if wanted:
            self._asked_s = now_s
            try:
                self._known |= await tried(self._engine, wanted)
            except TestbedError:
                return dict(self._known)
        return dict(self._known)
