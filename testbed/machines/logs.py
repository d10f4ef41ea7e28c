"""Keeps the logs of a cluster's own processes small: a process that dies and starts again for ever fills no disk.

Decides when a log is cut: beyond ``MAX_BYTES`` it becomes ``<name>.log.1``, of which there is one. A process keeps its
open file, so the file is copied and emptied, not renamed: everyone appends (``O_APPEND``), and goes on at its start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
INTERVAL_S = 5.0


def bound(log: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Empties ``log`` when it is longer than ``max_bytes``, keeping its end as ``.1``. True when it did.

    On a full disk nothing is kept: room for what comes is worth more than what was.
    """
    old = log.with_name(f"{log.name}.1")
    try:
        if log.stat().st_size <= max_bytes:
            return False
        try:
            with log.open("rb") as source, old.open("wb") as target:
                source.seek(-max_bytes, os.SEEK_END)
                shutil.copyfileobj(source, target)
        except OSError:
            old.unlink(missing_ok=True)
        os.truncate(log, 0)
    except OSError:
        return False
    return True


def bound_all(directory: Path, max_bytes: int = MAX_BYTES) -> None:
    """``bound`` for every ``*.log`` in ``directory``."""
    for log in directory.glob("*.log"):
        bound(log, max_bytes)


async def keep_bounded(directory: Path, max_bytes: int = MAX_BYTES, interval_s: float = INTERVAL_S) -> None:
    """Looks after the logs in ``directory`` until cancelled."""
    while True:
        bound_all(directory, max_bytes)
        await asyncio.sleep(interval_s)
