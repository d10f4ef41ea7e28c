"""What something costs in processor time, so that a test can hold it to an order: whatever else runs on the machine
only makes it slower, so the least of a few times counts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

TIMES = 3


async def least_cpu_s(
    act: Callable[[], Awaitable[object]], before: Callable[[int], object] = lambda turn: None,
) -> float:
    """Seconds of this process. ``before``: what comes first each time, and does not count."""
    found = []
    for turn in range(TIMES):
        before(turn)
        begin = time.process_time()
        await act()
        found.append(time.process_time() - begin)
    return min(found)
