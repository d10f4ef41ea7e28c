"""The load of one repetition: the pulse and Locust as processes of their own, from their start to their data."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from testbed.errors import EnvironmentProblem
from testbed.load.records import Follower, PulseData

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0


class PulseProcess:
    """Open-loop requests to ``url``, recorded in ``file``. It ends when its runner does: its stdin closes."""

    def __init__(self, url: str, file: Path, *, rate: float, keep_rate: float = 0.0, patience_s: float = 10.0) -> None:
        self.url, self.file, self.rate = url, file, rate
        self._argv = [
            sys.executable, "-m", "testbed.load.pulse", "--url", url, "--out", str(file), "--rate", f"{rate:g}",
            "--keep-rate", f"{keep_rate:g}", "--patience", f"{patience_s:g}", "--until-eof",
        ]
        self._follower = Follower(file)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def data(self) -> PulseData:
        """All that it has written up to the last ``poll``."""
        return self._follower.data

    def poll(self) -> PulseData:
        self._follower.poll()
        return self._follower.data

    async def start(self) -> None:
        """Returns when it has begun. Raises: EnvironmentProblem with its own words when it does not."""
        self._process = await asyncio.create_subprocess_exec(
            *self._argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )
        loop = asyncio.get_running_loop()
        until = loop.time() + START_TIMEOUT_S
        while not self.poll().start:
            if self._process.returncode is not None or loop.time() > until:
                words = await self._last_words()
                await self.stop()
                raise EnvironmentProblem(f"the pulse did not start: {words or 'no word from it'}")
            await asyncio.sleep(0.02)

    @property
    def died(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def stop(self) -> PulseData:
        """Lets it finish what is in flight; returns everything it recorded. Stopping twice is harmless."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        return self.poll()

    async def _last_words(self) -> str:
        if self._process is None or self._process.stderr is None:
            return ""
        with contextlib.suppress(TimeoutError):
            return (await asyncio.wait_for(self._process.stderr.read(2000), 1.0)).decode("utf-8", "replace").strip()
        return ""
