"""What a simulated machine is asked of the damage that faults do inside containers: here there is none.

Decides nothing. The simulation (``simulation/effects.py``) answers otherwise while a fault is in force; an engine that
is used alone knows of no faults.
"""

from __future__ import annotations

import random


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

    def round_trip_s(self, client: str, address: str, draw: random.Random) -> float | None:
        """Of an echo request between two addresses of pods; None: it stays unanswered."""
        return draw.uniform(0.00005, 0.0002)
