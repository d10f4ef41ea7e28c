"""Two runs held against each other, as a page: by the command line's own ``compare``, in a process of its own, because
the statistics behind it must not be loaded here. One at a time, and not for long."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from testbed.errors import ApiUnavailable, BadRequest, TooManyRequests

DEADLINE_S = 60.0
LOWEST_PRIORITY = ("nice", "-n", "19")  # what is being measured meanwhile comes first


class Comparer:
    def __init__(self) -> None:
        self._busy = False

    async def page(self, a: Path, b: Path) -> bytes:
        """HTML. ``a``, ``b``: folders that hold a result.

        Raises: TooManyRequests, BadRequest (they cannot be compared, in words), ApiUnavailable.
        """
        if self._busy:
            raise TooManyRequests("another comparison is being made", details={"retryAfterSeconds": 2})
        self._busy = True
        try:
            return await self._compare(a, b)
        finally:
            self._busy = False

    @staticmethod
    async def _compare(a: Path, b: Path) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                *LOWEST_PRIORITY, sys.executable, "-m", "testbed", "compare", str(a), str(b), "-o", "html",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        except OSError as error:
            raise ApiUnavailable(f"the comparison cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, complaint = await process.communicate()
        except TimeoutError:
            raise ApiUnavailable(f"the comparison was not done within {DEADLINE_S:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            words = complaint.decode("utf-8", "replace").strip().removeprefix("error: ")[-1000:]
            raise BadRequest(words or f"the comparison ended with {process.returncode}")
        return out
