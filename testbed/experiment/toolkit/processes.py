"""The process provider: a program with its arguments, never a shell. A dead or late one leaves no child behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.experiment.toolkit.failures import ActivityFailed

_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
_LITERAL = re.compile(r"""'[^']*'|\\.""", re.DOTALL)  # in double quotes a shell still looks for variables
END_S = 2.0  # for what it wrote to be read after it was killed


def find_program(path: str) -> str:
    """Raises: ValueError that says why it cannot be run."""
    found = shutil.which(str(Path(path).expanduser()))
    if found is None:
        raise ValueError(f"there is no program {path!r}")
    return found


def argument_list(arguments: Any) -> list[str]:
    """Arguments as a list: a mapping is flattened, a text is split as a shell would, quotes and all.

    Raises: ValueError when a text needs more of a shell than that.
    """
    if isinstance(arguments, str):
        return _split(arguments)
    if isinstance(arguments, dict):
        arguments = [part for pair in arguments.items() for part in pair]
    return [str(part) for part in arguments or () if part not in (None, "")]


def _split(text: str) -> list[str]:
    words = shlex.split(text)  # raises ValueError on a quote that is not closed
    found = re.search(r"[|&;<>`*]|\n", _QUOTED.sub("", text)) or re.search(r"\$[A-Za-z_({]", _LITERAL.sub("", text))
    if found is not None:
        raise ValueError(f"{found[0]!r} needs a shell, and none is used here; say it: path: sh, "
                         "arguments: [\"-c\", \"...\"]")
    return words


async def run_process(provider: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
    """``status``, ``stdout`` and ``stderr`` of a program; ``provider`` has no ``${name}`` left.

    Raises: ActivityFailed when it cannot start or takes longer than its timeout, or than ``limit_s``.
    """
    timeout = provider.get("timeout")
    seconds = float(timeout) if timeout is not None else limit_s
    try:
        argv = [find_program(str(provider["path"])), *argument_list(provider.get("arguments"))]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True)
    except (ValueError, OSError) as error:
        raise ActivityFailed(str(error)) from error
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise ActivityFailed(f"{argv[0]} took longer than {seconds:g} s") from None
    finally:
        await _end(process)
    return {"status": process.returncode, "stdout": stdout.decode("utf-8", "replace"),
            "stderr": stderr.decode("utf-8", "replace")}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills a program that still runs, with all it has started."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), END_S)
