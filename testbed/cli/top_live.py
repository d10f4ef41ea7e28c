"""``testbed top``: the live feed on a terminal until q or Ctrl-C; one picture where nobody can press a key.

A control plane that is away is asked again until it answers; the cluster's own files say whether it is still up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.api.instance_files import load_instance
from testbed.cli import output as printing
from testbed.cli.finish import terminal_form
from testbed.cli.top_view import Connection, render
from testbed.client.live_feed import LiveFeed, Picture, applied
from testbed.errors import ApiError, ApiUnavailable, TestbedError

AGAIN_S = (0.3, 0.6, 1.0, 2.0)
REDRAW_S = 1.0  # ages grow though nothing happens
SOON_S = 0.1  # what comes together is drawn together
FIRST_WITHIN_S = 10.0


def show(directory: Path, *, once: bool) -> None:
    """Args: directory: of the instance. Raises: TestbedError."""
    instance = load_instance(directory)
    if once:
        printing.out(as_text(asyncio.run(_first(LiveFeed(instance))), datetime.now(UTC), **terminal_form(160)))
        return
    from rich.console import Console

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Top(directory).run(Console(highlight=False)))


def as_text(picture: Picture, now: datetime, *, width: int, color: bool) -> str:
    """All of a picture, with ANSI colours when ``color``."""
    import io

    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, force_terminal=color, no_color=not color,
            color_system="standard" if color else None).print(render(picture, now, Connection()))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


async def _first(feed: LiveFeed) -> Picture:
    """Raises: ApiUnavailable."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_WITHIN_S):
            async for messages in feed.messages():
                for message in messages:
                    return applied({}, message)
    raise ApiUnavailable(f"the control plane told nothing within {FIRST_WITHIN_S:.0f} s")


class Top:
    """The picture as it is now, and how the control plane can be reached."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._feed: LiveFeed | None = None
        self._instance_id = ""
        self._picture: Picture = {}
        self._away_since_s: float | None = None
        self._why = ""
        self._changed = asyncio.Event()

    async def run(self, console: Any) -> None:
        """Until q or Ctrl-C is pressed, also where whoever started us ignores interrupts (nohup)."""
        from rich.live import Live

        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
        with _keys(ended), Live(console=console, screen=True, auto_refresh=False) as live:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.follow()), group.create_task(self._draw(live, console))]
                await ended.wait()
                for task in tasks:
                    task.cancel()

    async def follow(self) -> None:
        """Keeps the picture up, for ever."""
        failures = 0
        while True:
            try:
                async for messages in self._open().messages():
                    failures, self._away_since_s = 0, None
                    for message in messages:
                        self._picture = applied(self._picture, message)
                    self._changed.set()
            except (ApiError, TestbedError) as error:
                self._lost(error.message)
            await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
            failures += 1

    def _open(self) -> LiveFeed:
        """Of the cluster that has this name now. Raises: EnvironmentProblem when none is up."""
        instance = load_instance(self._directory)
        if self._feed is None or instance.id != self._instance_id:
            self._feed, self._instance_id, self._picture = LiveFeed(instance), instance.id, {}
        return self._feed

    def _lost(self, why: str) -> None:
        if self._away_since_s is None:
            self._away_since_s = asyncio.get_running_loop().time()
        self._why = why
        self._changed.set()

    @property
    def picture(self) -> Picture:
        return self._picture

    @property
    def connection(self) -> Connection:
        if self._away_since_s is None:
            return Connection()
        return Connection(asyncio.get_running_loop().time() - self._away_since_s, self._why)

    async def _draw(self, live: Any, console: Any) -> None:
        while True:
            live.update(render(self._picture, datetime.now(UTC), self.connection, height=console.size.height),
                        refresh=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REDRAW_S):
                    await self._changed.wait()
            await asyncio.sleep(SOON_S)
            self._changed.clear()


@contextlib.contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """Sets ``ended`` when q is pressed. The terminal is as before afterwards."""
    import termios
    import tty

    if not sys.stdin.isatty():
        yield
        return
    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def pressed() -> None:
        typed = os.read(descriptor, 64)
        if not typed or b"q" in typed.lower():
            ended.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
