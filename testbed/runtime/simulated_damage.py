"""What a simulated machine is asked of the damage that faults do inside containers: here there is none.

Decides nothing. The simulation (``simulation/effects.py``) answers otherwise while a fault is in force; an engine that
is used alone knows of no faults.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """Echo requests, one every ``gap_s``, of so many bytes on the wire."""

    count: int
    gap_s: float
    size_bytes: int


@dataclass(frozen=True)
class Echo:
    """``after_s`` None: unanswered. ``doubled``: how many more answers came."""

    after_s: float | None
    doubled: int = 0


class Damage:
    """Nothing is wrong."""

    def answer_name(self, sandbox: str, name: str) -> str | None:
        """What a pod is told instead of a name's address; None: the truth. Raises: OSError where it gets no answer."""
        return None

    def offset_s(self, container: str) -> float:
        """How far the clock of a container's processes is off."""
        return 0.0

    def meet_file(self, container: str, path: str, methods: tuple[str, ...]) -> float:
        """Seconds by which a file operation is late. ``methods``: what it asks of the file system, by FUSE's names.
        Raises: OSError where it fails."""
        return 0.0

    def load_of(self, cgroup: str) -> tuple[float, int]:
        """CPUs kept busy and bytes held below a cgroup by what is not the containers' own."""
        return 0.0, 0

    def meet_pull(self, registry: str, reference: str) -> float:
        """Seconds by which a pull from a registry is late. ``registry``: its container. Raises: ConnectionError when
        nobody answers, LookupError when the image is not found there."""
        return 0.0

    def echo(self, client: str, address: str, sent: Sent, draw: random.Random) -> list[Echo]:
        """Echo requests between two addresses. ``client``: empty for this machine."""
        return [Echo(draw.uniform(0.00005, 0.0002)) for _ in range(sent.count)]
