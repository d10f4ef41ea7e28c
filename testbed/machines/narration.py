"""Progress of long work, told to a person: bars on a terminal, plain lines elsewhere. Always on stderr.

Whoever works calls a ``Narrator``; what it looks like is decided here alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


class Task(Protocol):
    def update(self, line: str, done: float | None = None) -> None:
        """``line``: what happens now; ``done``: the part that is done, 0 to 1, or None where nobody knows."""
        ...


class Narrator(Protocol):
    def say(self, line: str) -> None: ...

    def task(self, title: str) -> AbstractContextManager[Task]: ...


class Silent:
    """For callers that tell nothing."""

    def say(self, line: str) -> None:
        """Says nothing."""

    def update(self, line: str, done: float | None = None) -> None:
        """Shows nothing."""

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        yield self


class Lines:
    """One line when a task begins and one when it ends: for logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        self.say(f"{title} ...")
        began = time.monotonic()
        yield Silent()
        self.say(f"{title}: done in {time.monotonic() - began:.1f} s")


class Bars:
    """A bar per task, with what it does now."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        detail = TextColumn("[dim]{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True))
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
        with Progress(*columns, detail, console=self._console, expand=True) as progress:
            number = progress.add_task(escape(title), total=None, detail="")

            class _Task:
                def update(self, line: str, done: float | None = None) -> None:
                    if done is None:
                        progress.update(number, detail=escape(line))
                    else:
                        progress.update(number, detail=escape(line), total=1.0, completed=done)

            yield _Task()
            progress.update(number, total=1.0, completed=1.0, detail="done")


def narrator(stream: TextIO | None = None) -> Narrator:
    """Bars where stderr is a terminal that can draw them, lines elsewhere."""
    import os

    target = stream or sys.stderr
    if target.isatty() and os.environ.get("TERM") != "dumb":
        return Bars()
    return Lines(target)
