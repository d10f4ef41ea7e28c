"""Results and studies out of text that may be of another version, or none at all, wherever it was kept.

Where the text lies (a run's folder, a file, a bundle) is `saving.py`'s, `archive.py`'s and `bundle.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.api.base import field_path
from testbed.errors import InvalidInput
from testbed.experiment.field_mistakes import SHAPES
from testbed.experiment.result import Result, Study

MOST_FIELDS = 6  # that are named of a file in which many are wrong


def result_of(text: str, where: Path) -> Result:
    """Raises: InvalidInput that names ``where`` when it is none of this version."""
    try:
        return Result.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise _not_of_this_version(where, error) from None


def study_of(text: str, result_in: Callable[[str], str], where: Path) -> Study:
    """Args: result_in: the text of the result in a variant's folder.

    Raises: InvalidInput when any of it is none of this version, or missing; as ``result_in``.
    """
    try:
        value: dict[str, Any] = json.loads(text)
        for variant in value["variants"]:
            variant["result"] = json.loads(result_in(variant["folder"]))
        return Study.from_json(value)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _not_of_this_version(where, error) from None


def _not_of_this_version(where: Path, error: Exception) -> InvalidInput:
    told = _first_fields(error) if isinstance(error, ValidationError) else (str(error) or repr(error)).splitlines()[0]
    return InvalidInput(f"{where} is not a result of this version: {told}")


def _first_fields(error: ValidationError) -> str:
    """``runId, name: missing``: what is wrong with the first few fields, and with how many more."""
    said: dict[str, list[str]] = {}
    found = error.errors()
    for item in found[:MOST_FIELDS]:
        why = "missing" if item["type"] == "missing" else SHAPES.get(item["type"], str(item["msg"]))
        said.setdefault(why[:1].lower() + why[1:], []).append(field_path(item["loc"]) or "the whole")
    more = f" and {len(found) - MOST_FIELDS} more" if len(found) > MOST_FIELDS else ""
    return "; ".join(f"{', '.join(fields)}: {why}" for why, fields in said.items()) + more
