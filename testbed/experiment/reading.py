"""Results and studies out of text that may be of another version, or none at all, wherever it was kept.

Where the text lies (a run's folder, a file, a bundle) is `saving.py`'s, `archive.py`'s and `bundle.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput
from testbed.experiment.result import Result, Study


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
    return InvalidInput(f"{where} is not a result of this version: {(str(error) or repr(error)).splitlines()[0]}")
