"""Is this a locustfile? Found out by Locust itself in a process of its own, before anything is begun; and what its
complaints mean."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from testbed.errors import EnvironmentProblem, InvalidInput, Mistake, TestbedError

_LOOK_WITHIN_S = 60.0
_OWN_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)\b")


class LoadFailed(TestbedError):
    """The load generator ended by itself, or could not be started."""

    exit_code = 9


def check_locustfile(file: Path) -> None:
    """Raises: InvalidInput when there is no such file, or Locust could not be given its name."""
    if not file.is_file():
        near = sorted(path.name for path in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise InvalidInput(f"there is no locustfile {file}", hint="here are: " + ", ".join(near[:5]) if near else "")
    if "," in str(file.resolve()):
        raise InvalidInput(f"{file}: Locust cannot load a file with a comma in its path")


def examine_locustfile(file: Path) -> tuple[str, ...]:
    """Has Locust import the file (which runs its top level) and list its users.

    Returns: the names of its User classes.
    Raises: InvalidInput with the file's line when it cannot be imported or has no User; LoadFailed, EnvironmentProblem
        when Locust itself does not work.
    """
    check_locustfile(file)
    argv = [sys.executable, "-m", "locust", "-f", str(file.resolve()), "--list"]
    try:
        run = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_LOOK_WITHIN_S,
                             cwd=file.resolve().parent, check=False)
    except subprocess.TimeoutExpired:
        late = Mistake(f"its import does not end within {_LOOK_WITHIN_S:.0f} s", file=str(file))
        raise InvalidInput([late]) from None
    except OSError as error:
        raise EnvironmentProblem(f"Locust cannot be started: {error}") from error
    if run.returncode:
        raise failure(file, run.returncode, run.stdout + run.stderr)
    lines = run.stdout.splitlines()
    listed = lines[lines.index("Available Users:") + 1:] if "Available Users:" in lines else []
    names = tuple(line.strip() for line in listed if line.startswith("    "))
    if not names:
        raise _no_user(file)
    return names


def failure(file: Path, code: int, log: str) -> TestbedError:
    """What Locust's output means: the user's file is wrong, or Locust crashed."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    if "No User class found" in log:
        return _no_user(file)
    own = [int(found["line"]) for found in _OWN_LINE.finditer(log) if Path(found["file"]).name == file.name]
    raised = [line for line in lines if _RAISED.match(line)]
    if own and raised:
        return InvalidInput([Mistake(raised[-1], file=str(file), line=own[-1])])
    shown = "\n    ".join(lines[-6:])
    return LoadFailed(f"Locust ended with exit code {code}: {last}", hint=f"its last lines:\n    {shown}")


def _no_user(file: Path) -> InvalidInput:
    return InvalidInput([Mistake("has no class that is a User (locust.HttpUser)", file=str(file))])
