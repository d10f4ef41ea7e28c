"""How often a node's power has come on: each time the node has a boot id of its own, as a machine has.

The machine room counts, the agent reads. All nodes of a cluster share one kernel, so a node's id is made of the
kernel's and the count.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

_FILE = "boots"
_KERNEL = Path("/proc/sys/kernel/random/boot_id")


def boots(directory: Path) -> int:
    """``directory``: the node's. 0 before its power ever went off."""
    with contextlib.suppress(OSError, ValueError):
        return int((directory / _FILE).read_text())
    return 0


def count_boot(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f"{_FILE}.new"
    temporary.write_text(str(boots(directory) + 1))
    temporary.replace(directory / _FILE)


def boot_id(directory: Path) -> str:
    """The kernel's own until the node's power has gone off once."""
    kernel, count = _KERNEL.read_text().strip(), boots(directory)
    return str(uuid.uuid5(uuid.UUID(kernel), str(count))) if count else kernel
