"""Where a measuring command is to write files besides its run's folder: looked at before anything is measured.

What is written there, and what becomes of the exit code when it fails nevertheless, is `finish.py`'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.errors import EnvironmentProblem


def check_places(files: Mapping[str, Path | None]) -> None:
    """Tries each place and leaves no file where there was none; folders on the way to it are made.

    Args: files: the places that are wanted by their options.

    Raises: EnvironmentProblem for the first that cannot be written: an hour of runs should not end with that.
    """
    for option, path in files.items():
        if path is not None:
            try:
                _try(Path(os.path.realpath(path)))  # of a link, what it points to
            except OSError as error:
                raise EnvironmentProblem(f"{option} {path}: cannot be written: {error.strerror}",
                                         hint="nothing was run; name a file that can") from error


def _try(path: Path) -> None:
    """Raises: OSError."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return  # a pipe or a terminal: to open it here might wait for its reader, or end what it reads
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):
        pass
    if new:
        path.unlink()
