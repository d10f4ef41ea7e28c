"""The scheduler's queue: the most important pod first, then the one that waits longest.

Source: kubernetes pkg/scheduler/framework/plugins/queuesort/priority_sort.go.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.controlplane.queue import WorkQueue


class PriorityQueue(WorkQueue):
    """``priority``: of a key, higher ones first."""

    def __init__(self, priority: Callable[[str], int]) -> None:
        super().__init__()
        self._priority = priority

    async def get(self) -> str:
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        first = max(self._waiting, key=self._priority)  # of equal ones, the first in the queue
        self._waiting.remove(first)
        self._waiting.appendleft(first)
        return await super().get()
