"""Which processes are a container's, or a node's: as their cgroups say. Standard library only."""

import os
from pathlib import Path

ENDED = (FileNotFoundError, ProcessLookupError)  # what a look at a process gives that has just ended


def processes():
    """Numbers of all that are seen from here, without the one that asks."""
    return {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()} - {os.getpid()}


def belongs(pid, whose):
    """``whose``: ``containers`` (ids) or ``cgroups`` (beginnings of names)."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except ENDED:
        return False
    names = [line.split(":", 2)[2] for line in lines]
    return (any(container in name for name in names for container in whose.get("containers", ()))
            or any(name.startswith(beginning) for name in names for beginning in whose.get("cgroups", ())))
