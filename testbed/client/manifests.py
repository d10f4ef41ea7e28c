"""Manifests as the public client reads them from a file: plain JSON objects, Lists taken apart.

What is said of a mistake's line and field is the command line's (``experiment/documents.py``); here a file is read or
refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput

Json = dict[str, Any]
MAX_BYTES = 1 << 20
MAX_VALUES = 50_000


def read_manifests(path: Path) -> list[Json]:
    """All objects of a YAML file.

    Raises: InvalidInput.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        budget = iter(range(MAX_VALUES))
        documents = [_plain(document, budget) for document in YAML(typ="safe").load_all(path)]
    except _TooMany:
        raise InvalidInput(f"{path} has more than {MAX_VALUES} values when its aliases are expanded") from None
    except RecursionError:
        raise InvalidInput(f"{path} is nested too deeply, or contains itself") from None
    except (OSError, YAMLError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    return [item for document in documents if document is not None for item in _objects(document, path)]


def _objects(document: Any, path: Path) -> list[Json]:
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: an object is expected, not {type(document).__name__}")
    items = document.get("items") if document.get("kind") == "List" else [document]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidInput(f"{path}: the items of a List are a list of objects")
    return items


class _TooMany(Exception):
    """A small file would become a large value."""


def _plain(value: Any, budget: Iterator[int]) -> Any:
    """As JSON has it: an alias is a copy, a date its text. Raises: _TooMany, RecursionError."""
    if next(budget, None) is None:
        raise _TooMany
    if isinstance(value, dict):
        return {str(key): _plain(item, budget) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, budget) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
