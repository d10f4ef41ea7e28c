"""The committed dashboards as tests read them, and the expressions in them as Prometheus is asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"
FILES = sorted((FOLDER / "grafana").glob("*.json"))
PROMTOOL = which("promtool") or next((str(path) for path in [ROOT / ".tools/bin/promtool"] if path.exists()), "")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not here: make tools")
every_board = pytest.mark.parametrize("board", [json.loads(file.read_text()) for file in FILES],
                                      ids=[file.stem for file in FILES])


def promtool(*arguments: str) -> None:
    """Runs it in the rules' folder. Raises: AssertionError with what it said."""
    done = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER / "prometheus", capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def panels(board: Json) -> list[Json]:
    """All panels but rows, those of closed rows included."""
    every = [inner for panel in board["panels"] for inner in [panel, *panel.get("panels", [])]]
    return [panel for panel in every if panel["type"] != "row"]


def expressions(board: Json) -> Iterator[str]:
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in board["annotations"]["list"] if "expr" in annotation)


def plain(expression: str) -> str:
    """With every variable at All, as Grafana would send it."""
    text = expression.replace("$__rate_interval", "5s").replace("$__range", "15m")
    return re.sub(r'"\$\w+"', '".+"', text)
