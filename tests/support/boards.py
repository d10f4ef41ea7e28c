"""The committed dashboards as tests read them, and the expressions in them as Prometheus is asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import pytest

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"
STEP = "1s"
FILES = sorted((FOLDER / "grafana").glob("*.json"))
PROMTOOL = which("promtool") or next((str(path) for path in [ROOT / ".tools/bin/promtool"] if path.exists()), "")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not here: make tools")
every_board = pytest.mark.parametrize("board", [json.loads(file.read_text()) for file in FILES],
                                      ids=[file.stem for file in FILES])
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\{((?:[^{}\"]|\"[^\"]*\")*)\}(\[[^\]]*\])?")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def promtool(*arguments: str) -> None:
    """Runs it in the rules' folder. Raises: AssertionError with what it said."""
    done = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER / "prometheus", capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Selector:
    """``metrics``: the names it selects. ``matchers``: label -> operator and value. ``window``: of a range, else ""."""

    metrics: tuple[str, ...]
    matchers: dict[str, tuple[str, str]]
    window: str
    wrapped_in: str


def panels(board: Json) -> list[Json]:
    """All panels but rows, those of closed rows included."""
    every = [inner for panel in board["panels"] for inner in [panel, *panel.get("panels", [])]]
    return [panel for panel in every if panel["type"] != "row"]


def variables(board: Json) -> list[Json]:
    """Those whose values are asked for."""
    return [variable for variable in board["templating"]["list"] if variable["type"] == "query"]


def annotations(board: Json) -> list[Json]:
    return list(board["annotations"]["list"])


def variable_source(variable: Json) -> tuple[str, str]:
    """The series and the label that have its values: of ``label_values(SERIES, LABEL)``."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert found, variable["query"]
    return found[1], found[2]


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """(who asks, PromQL) of everything that Prometheus is asked."""
    for panel in panels(board):
        yield from ((f"panel {panel['title']}", target["expr"]) for target in panel["targets"])
    yield from ((f"annotation {annotation['name']}", annotation["expr"]) for annotation in annotations(board))
    yield from ((f"variable {variable['name']}", variable_source(variable)[0]) for variable in variables(board))


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression; one without braces is said to be none."""
    found = []
    for match in _SELECTOR.finditer(expression):
        matchers = {label: (operator, value) for label, operator, value in _MATCHER.findall(match[2])}
        names = (match[1],) if match[1] else tuple(matchers.pop("__name__")[1].split("|"))
        function = re.search(r"(\w+)\($", expression[: match.start()])
        found.append(Selector(names, matchers, (match[3] or "").strip("[]"), function[1] if function else ""))
    return found


def naked(expression: str) -> list[str]:
    """Words that can only be metrics without braces."""
    text = re.sub(r"\"[^\"]*\"", "", _SELECTOR.sub("", expression))
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", text)
    text = re.sub(r"\boffset \$__(range|interval)\b", "", text)
    return [word for word in re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", text)
            if word not in ("or", "and", "unless", "bool")]


def plain(expression: str, window: str = "5s", whole: str = "15m", **chosen: str) -> str:
    """As Grafana would send it: every variable at All, but for those ``chosen``."""
    text = expression.replace("$__rate_interval", window).replace("$__range", whole).replace("$__interval", STEP)
    return re.sub(r'"\$([a-z]+)"', lambda found: '"{}"'.format(chosen.get(found[1], ".+")), text)
