"""Measures what a pod has on this node's disk, at a bounded cost.

Decides nothing: limits are ``core/local_storage``. A directory is walked in small steps, so that the agent's loop
keeps its turn; what a walk may look at is bounded, and a walk that took long is not repeated soon. What the agent may
not read counts nothing. Containers' logs are bounded by the engine and are not counted.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from testbed.core.local_storage import DiskUse, limited_containers, limited_volumes
from testbed.errors import EngineError, EngineUnavailable
from testbed.node.facts import now_s
from testbed.node.pod_context import PodContext
from testbed.node.volumes import volume_path

MOST_ENTRIES = 200_000  # of one walk; what lies beyond is not counted
STEP_ENTRIES = 250  # between turns of the loop
REST_FACTOR = 20  # a pod rests so many times as long as its measurement took: at most 5 % of a core
_BLOCK_BYTES = 512  # unit of st_blocks, whatever the file system's own


class DiskMeter:
    """Remembers when each pod may be measured again."""

    def __init__(self) -> None:
        self._not_before_s: dict[str, float] = {}

    async def measure(self, context: PodContext) -> DiskUse | None:
        """None: nothing is limited, or it was measured so expensively that it rests. Raises: EngineUnavailable."""
        spec, begun_s = context.pod.spec, now_s()
        volumes, containers = limited_volumes(spec), limited_containers(spec)
        if not (volumes or containers) or begun_s < self._not_before_s.get(context.uid, 0.0):
            return None
        paths = {item.name: volume_path(context.shared.facts, context.pod, item)
                 for item in spec.volumes if item.name in volumes}
        sizes = {name: await directory_bytes(path) for name, path in paths.items()}
        written = await self._written(context) if containers else {}
        self._not_before_s[context.uid] = now_s() + REST_FACTOR * (now_s() - begun_s)
        return DiskUse(sizes, written)

    async def _written(self, context: PodContext) -> dict[str, int]:
        found: dict[str, int] = {}
        for item in context.seen.containers.values():
            try:
                found[item.name] = await context.shared.engine.written_bytes(item.id)
            except EngineUnavailable:
                raise
            except EngineError:  # it went meanwhile
                continue
        return found

    def forget_others(self, uids: set[str]) -> None:
        self._not_before_s = {uid: at for uid, at in self._not_before_s.items() if uid in uids}


async def directory_bytes(top: Path) -> int:
    """What its files take up on disk. Symlinks are not followed, a file of several names counts once."""
    total = seen = 0
    linked: set[tuple[int, int]] = set()
    left = [str(top)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if seen == MOST_ENTRIES:
                        return total
                    seen += 1
                    if seen % STEP_ENTRIES == 0:
                        await asyncio.sleep(0)
                    total += _entry_bytes(entry, left, linked)
        except OSError:
            continue
    return total


def _entry_bytes(entry: os.DirEntry[str], left: list[str], linked: set[tuple[int, int]]) -> int:
    try:
        state = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            left.append(entry.path)
            return 0
    except OSError:
        return 0
    if state.st_nlink > 1:
        if (state.st_dev, state.st_ino) in linked:
            return 0
        linked.add((state.st_dev, state.st_ino))
    return state.st_blocks * _BLOCK_BYTES
