"""Who writes a run's journal, and whether that is still so: one rule for the runner's lists and the live page's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from testbed.api.process_identity import start_ticks


def writer() -> dict[str, Any]:
    """What a journal says of the process that writes it."""
    return {"pid": os.getpid(), "pidTicks": start_ticks(os.getpid())}


def goes_on(journal: Mapping[str, Any]) -> bool:
    """Whether its runner still works at it. Else a journal that says ``running`` was broken off."""
    pid = journal.get("pid")
    if journal.get("state") != "running" or not isinstance(pid, int) or pid <= 0:
        return False
    ticks = start_ticks(pid)
    return ticks is not None and journal.get("pidTicks") in (None, ticks)
