"""Requests and pulses that leave this machine by plain sockets: the part that all real platforms share."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.experiment.loading import LoadedExperiment

MAX_BODY_BYTES = 1 << 20
STOP_TIMEOUT_S = 10.0


class FromHere:
    """The parts of ``protocol.Platform`` that send requests. Nothing is kept between them."""

    ours = True

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        """Most platforms run whatever was loaded without a mistake."""
        return ()

    async def http_get(self, url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str] | str:
        """(status, body) of one GET on a connection of its own, or why there was no answer."""
        import aiohttp

        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session, session.get(
                    url, timeout=aiohttp.ClientTimeout(total=timeout_s), headers=headers,
                    allow_redirects=False) as response:
                return response.status, (await response.content.read(MAX_BODY_BYTES)).decode("utf-8", "replace")
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__

    async def start_pulse(self, arguments: Sequence[str]) -> LocalPulse:
        """A pulse as a process of its own, which ends when its stdin closes: with its runner at the latest."""
        return LocalPulse(await asyncio.create_subprocess_exec(
            sys.executable, "-m", "testbed.load.pulse", *arguments, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True))


class LocalPulse:
    """``protocol.PulseRun`` as a process of this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def begin_stages(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):  # it has ended: whoever looks at ``ended`` tells
                self._process.stdin.write(b"begin\n")
                await self._process.stdin.drain()

    async def stop(self) -> str:
        """Returns: what it wrote to stderr, at most 2 kB."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._process.stderr is None:
            return ""
        with contextlib.suppress(TimeoutError):
            return (await asyncio.wait_for(self._process.stderr.read(2000), 1.0)).decode("utf-8", "replace").strip()
        return ""
