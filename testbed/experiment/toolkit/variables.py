"""``--var NAME[:TYPE]=VALUE`` and ``--var-file``: values from the command line for configuration and secrets.

A file of JSON or YAML has ``configuration`` and ``secrets`` in the form of an experiment; any other file is read as
``NAME=VALUE`` lines, which become environment variables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput, Mistake, UsageError
from testbed.experiment.documents import read_file

TYPES = ("str", "int", "float", "bytes", "bool", "json")
_OTHER_NAMES = {"string": "str", "integer": "int", "number": "float"}


def converted(kind: str | None, text: Any) -> Any:
    """A text as the type that is asked for. Raises: ValueError that says what is wrong."""
    name = _OTHER_NAMES.get(kind or "str", kind or "str")
    if name not in TYPES:
        raise ValueError(f"{kind!r} is not a type; one of {', '.join(TYPES)}")
    if not isinstance(text, str):  # a default is in the file with its type already
        return text
    if name == "int":
        return int(text)
    if name == "float":
        return float(text)
    if name == "bytes":
        return text.encode()
    if name == "bool":
        return text.lower() not in ("false", "0", "no")
    if name == "json":
        return json.loads(text) if text else text
    return text


def parse_variables(texts: Iterable[str]) -> dict[str, Any]:
    """``--var`` options. Raises: UsageError."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--var {text!r} is not NAME[:TYPE]=VALUE", hint="--var replicas:int=3")
        name, _, kind = name.partition(":")
        try:
            found[name] = converted(kind or None, value)
        except ValueError as error:
            raise UsageError(f"--var {text!r}: {error}") from error
    return found


def read_variable_files(files: Iterable[Path]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Configuration, secrets and environment of ``--var-file`` options; a later file wins. Raises: InvalidInput."""
    configuration: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    environment: dict[str, str] = {}
    for file in files:
        if file.suffix not in (".json", ".yaml", ".yml"):
            environment |= _environment(file)
            continue
        for document in read_file(file):
            parts = document.value if isinstance(document.value, dict) else {}
            for key, kept in (("configuration", configuration), ("secrets", secrets)):
                part = parts.get(key) or {}
                if not isinstance(part, dict):
                    raise InvalidInput([document.mistake((key,), "expected a mapping")])
                kept.update(part)
    return configuration, secrets, environment


def _environment(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InvalidInput([Mistake(f"cannot be read: {reason}", file=str(file))]) from None
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().partition("=")
        if not equals or not name:
            raise InvalidInput([Mistake("is not NAME=VALUE", file=str(file), line=number)])
        found[name] = value
    return found
