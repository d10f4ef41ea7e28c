"""The schemas that are published in docs/schemas are those of the code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.experiment.schema import experiment_schema, result_schema, study_schema

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize(("name", "make"), [
    ("experiment.json", experiment_schema), ("result.json", result_schema), ("study.json", study_schema)])
def test_published_schemas_are_current(name: str, make: Callable[[], dict[str, Any]]) -> None:
    kind = name.removesuffix(".json")
    assert json.loads((FOLDER / name).read_text()) == make(), (
        f"write it again: testbed config --schema {kind} > docs/schemas/{name}")
