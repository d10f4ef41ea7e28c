"""Precedence for what must send at its moment: a meter that waits for a turn measures the machine. Standard library."""

from __future__ import annotations

import contextlib
import os

NICE = -15


def ask_for_precedence() -> int:
    """Of this process, where the user may; returns the nice value that holds."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    return os.getpriority(os.PRIO_PROCESS, 0)
