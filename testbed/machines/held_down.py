"""Which processes are held down, by whom and until when: they are not started again before.

Kept in a file, so that a room that was killed still knows; every hold ends at its own time (CLOCK_MONOTONIC), whoever
has died meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path


class HeldDown:
    """``file``: where it is kept."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._until: dict[str, dict[str, float]] = {}  # process: key: loop time
        self._changed = asyncio.Event()

    def restore(self) -> None:
        """Takes up what another room was told. What cannot be read holds nothing down."""
        try:
            self._until = {str(process): {str(key): float(until) for key, until in held.items()}
                           for process, held in json.loads(self._file.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._until = {}

    def hold(self, process: str, key: str, deadline_s: float) -> None:
        """``deadline_s``: seconds from now."""
        self._until.setdefault(process, {})[key] = asyncio.get_running_loop().time() + deadline_s
        self._save()

    def let_up(self, process: str, key: str) -> None:
        if self._until.get(process, {}).pop(key, None) is not None:
            self._save()

    def keys(self, process: str) -> tuple[str, ...]:
        """Who holds it down now."""
        now = asyncio.get_running_loop().time()
        return tuple(sorted(key for key, until in self._until.get(process, {}).items() if until > now))

    async def free(self, process: str) -> None:
        """Returns when nobody holds it down."""
        while self.keys(process):
            self._changed.clear()
            try:
                async with asyncio.timeout_at(min(self._until[process].values())):
                    await self._changed.wait()
            except TimeoutError:
                self._drop_ended(process)

    def _drop_ended(self, process: str) -> None:
        held = set(self.keys(process))
        self._until[process] = {key: until for key, until in self._until[process].items() if key in held}
        self._save()

    def _save(self) -> None:
        self._changed.set()
        temporary = self._file.with_suffix(".json.new")
        temporary.write_text(json.dumps({process: held for process, held in self._until.items() if held}))
        temporary.replace(self._file)
