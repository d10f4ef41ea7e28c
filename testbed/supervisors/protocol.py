"""What a driver is. ``catalog`` names the module of each; it has a function ``open_driver`` of type ``OpenDriver``.

A driver looks (its orchestrator's engine), compares (``wishes``), acts in the orchestrator's own terms, and hands what
it saw to ``mirror``. It never does what the orchestrator would not have done: no healing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from testbed.api.instance import Instance
from testbed.supervisors.mirror import Mirror
from testbed.supervisors.wishes import Wishes


class Driver(Protocol):
    async def run(self) -> None:
        """Until cancelled; leaves everything running. Raises: TestbedError for what no waiting mends."""
        ...


OpenDriver = Callable[[Instance, Wishes, Mirror], Driver]
