"""``docs/reliability.md`` lists every invariant, rule, known bug and attack, and names only tests that exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
WANTED = [
    *(f"I{number}" for number in range(1, 17)), *(f"R{number}" for number in range(1, 11)),
    *(str(number) for number in range(1, 58)), *(f"S{number}" for number in range(1, 17)),
]
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
NOT_HERE = re.compile(r"Not here yet: .{20,}")


def rows() -> dict[str, str]:
    """The last cell of each row by its first."""
    cells = [line.strip().strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[-1].strip() for row in cells if row[0].strip() not in ("#", "---")}


@cache
def names_in(file: str) -> frozenset[str]:
    found = list((ROOT / "tests").rglob(file))
    if len(found) != 1:
        return frozenset()
    return frozenset(node.name for node in ast.walk(ast.parse(found[0].read_text()))
                     if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_is_listed_once() -> None:
    assert list(rows()) == WANTED
    firsts = Counter(line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| "))
    assert [name for name in WANTED if firsts[name] != 1] == []


def test_every_row_names_a_test_or_says_why_not() -> None:
    silent = [name for name, cell in rows().items() if not TEST.search(cell) and not NOT_HERE.match(cell)]
    assert silent == []


def test_every_named_test_exists() -> None:
    named = TEST.findall(PAGE.read_text())
    assert len(named) > 150
    assert sorted({f"{file}::{name}" for file, name in named if name not in names_in(file)}) == []


def test_no_task_is_started_and_let_go() -> None:
    """Row 57: the event loop holds tasks weakly, so one that nobody keeps may vanish. Task groups keep theirs."""
    found = []
    for path in sorted(path for package in ("testbed", "faults", "probes") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = ast.unparse(node.value.func)
                if called.endswith(("create_task", "ensure_future")) and not called.endswith("group.create_task"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {called}")
    assert not found, "\n".join(found)
