"""Which processes are a container's, or a node's: as their cgroups say. Standard library only."""

import os
from pathlib import Path

ENDED = (FileNotFoundError, ProcessLookupError)  # what a look at a process gives that has just ended


def processes():
    """Numbers of all that are seen from here, without the one that asks."""
    return {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()} - {os.getpid()}


def belongs(pid, whose):
    """``whose``: ``containers`` (ids) or ``cgroups`` (beginnings of names)."""
    names = _cgroups(pid)
    return (any(container in name for name in names for container in whose.get("containers", ()))
            or any(name.startswith(beginning) for name in names for beginning in whose.get("cgroups", ())))


def is_holder(pid):
    """Whether it is in a container beside this one's: those of holders are apart from all others. So a process of the
    target that gives itself out for one is not believed."""
    return len(own := _cgroups("self")) == len(others := _cgroups(pid)) and all(map(beside, own, others))


def beside(own, other):
    if own == "/":  # seen from inside: cgroup_namespaces(7)
        return other.startswith("/../") and other.count("/") == 2
    return other.rpartition("/")[0] == own.rpartition("/")[0]


def _cgroups(pid):
    """One for each hierarchy; none for a process that has ended."""
    try:
        return [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    except ENDED:
        return []
