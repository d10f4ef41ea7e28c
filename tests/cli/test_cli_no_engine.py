"""Without an engine every command that needs one says so in one line that tells what to do, and ends with 4."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [("up",), ("run", "crash"), ("image", "list"), ("doctor",)])
def test_no_engine_is_an_environment_problem(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/nothing"}
    environment.pop("TESTBED_NAME", None)
    done = subprocess.run([sys.executable, "-m", "testbed", *arguments], env=environment, capture_output=True,
                          text=True, timeout=120, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 4 and "Traceback" not in told
    assert "engine" in told and ("DOCKER_HOST" in told or "testbed setup" in told)
    assert "2, 'No such file" not in told
