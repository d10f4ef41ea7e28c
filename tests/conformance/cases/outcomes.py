"""What became of each case on each engine, kept in ``build/conformance`` for ``docs/conformance.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .registry import Case

PLACE = Path(__file__).resolve().parents[3] / "build" / "conformance"


@contextmanager
def recorded(case: Case, engine: str) -> Iterator[None]:
    """``engine``: simulated or docker. What the body raises is recorded in one line and raised on."""
    try:
        yield
    except BaseException as error:
        words = str(error) or type(error).__name__
        _write(case, engine, {"passed": False, "reason": words.splitlines()[0][:200]})
        raise
    _write(case, engine, {"passed": True})


def read(case: Case, engine: str) -> dict[str, object] | None:
    """The last outcome; None when it has not run."""
    file = PLACE / engine / f"{case.name}.json"
    return dict(json.loads(file.read_text())) if file.is_file() else None


def _write(case: Case, engine: str, outcome: dict[str, object]) -> None:
    file = PLACE / engine / f"{case.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(outcome))
