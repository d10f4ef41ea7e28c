"""Takes injections back by the ledger alone: neither daemon nor API nor anything else of ours need run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from faults.ledger import Entry, Ledger
from faults.opening import daemon_of
from testbed.api.instance import Instance

_WITHIN_S = 60.0


async def undo(instance: Instance, entries: Sequence[Entry]) -> list[Entry]:
    """Takes them back for good: their fault object does not bring them back. The entries as they stand afterwards; what
    is still ``active`` could not be taken back.

    Raises: TimeoutError when it did not end in time; holders and the daemon go on trying. EnvironmentProblem.
    """
    async with daemon_of(instance) as daemon, asyncio.timeout(_WITHIN_S):
        return await daemon.take_back(entries, by_hand=True)


def known(instance: Instance) -> tuple[Entry, ...]:
    """All injections that the ledger knows. Raises: EnvironmentProblem."""
    if not instance.ledger.exists():
        return ()
    ledger = Ledger(instance.ledger)
    try:
        return ledger.all()
    finally:
        ledger.close()


def why_not(entry: Entry) -> str:
    """Why it could not be taken back."""
    return next((str(event.get("message") or "") for event in reversed(entry.events) if event["type"] == "Failed"), "")
