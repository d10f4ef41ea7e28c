"""Two processes that are kept running, the engine and the agent, and what holds the engine: killed or stopped.

Every hold has a key and a moment (CLOCK_MONOTONIC) at which it ends by itself, whoever has died meanwhile; what several
say adds up.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

SETTLED_S = 20.0  # who has lived this long starts again at once
MAX_PAUSE_S = 8.0
KILL, FREEZE = "kill", "freeze"


class Kept:
    """``argv``: what is kept running; its output goes to ``log``, which is ``owner``'s. ``before`` and ``after`` are
    called around each start."""

    def __init__(
        self, argv: list[str], log: Path, owner: tuple[int, int], *, env: dict[str, str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._argv, self._log, self._owner, self._env, self._before = argv, log, owner, env, before
        self.after: Callable[[], None] = lambda: None
        self.process: asyncio.subprocess.Process | None = None
        self.free = asyncio.Event()
        self.free.set()

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None and self.process.returncode is None else 0

    async def run(self) -> None:
        """For ever."""
        deaths = 0
        while True:
            await self.free.wait()
            self._before()
            with self._log.open("ab") as log:
                os.fchown(log.fileno(), *self._owner)
                self.process = await asyncio.create_subprocess_exec(
                    *self._argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=self._env,
                    start_new_session=True)
            self.after()
            started = time.monotonic()
            await self.process.wait()
            deaths = 1 if time.monotonic() - started > SETTLED_S else deaths + 1
            await asyncio.sleep(0 if deaths == 1 else min(MAX_PAUSE_S, 0.5 * 2 ** (deaths - 2)))

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Holds:
    """What is done to the engine, by key."""

    def __init__(self, engine: Kept) -> None:
        self._engine = engine
        self._held: dict[str, tuple[str, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        engine.after = self._obey

    def hold(self, key: str, act: str, until_s: float) -> None:
        """Raises: ValueError for another act than kill and freeze."""
        if act not in (KILL, FREEZE):
            raise ValueError(f"{act!r} is not {KILL} or {FREEZE}")
        self._held[key] = (act, until_s)
        self._obey()

    def release(self, key: str) -> None:
        if self._held.pop(key, None) is not None:
            self._obey()

    def keys(self) -> dict[str, str]:
        return {key: act for key, (act, _) in self._held.items()}

    def _obey(self) -> None:
        now = time.monotonic()
        self._held = {key: held for key, held in self._held.items() if held[1] > now}
        acts = {act for act, _ in self._held.values()}
        if KILL in acts:
            self._engine.free.clear()
            self._engine.signal(signal.SIGKILL)
        else:
            self._engine.free.set()
        self._engine.signal(signal.SIGSTOP if FREEZE in acts else signal.SIGCONT)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._held:
            left_s = min(until for _, until in self._held.values()) - now
            self._timer = asyncio.get_running_loop().call_later(left_s, self._obey)


def state(pid: int) -> str:
    """The letter of ``/proc/<pid>/stat``: T is stopped; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
