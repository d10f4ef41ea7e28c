"""Which process of this machine is meant: its number together with its start time, since numbers are used again."""

from __future__ import annotations

from pathlib import Path


def start_ticks(pid: int) -> int | None:
    """Field 22 of ``/proc/<pid>/stat``; None when there is no such process or it has ended and waits to be reaped."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def same_process(pid: int, ticks: int) -> bool:
    return start_ticks(pid) == ticks
