"""Reads YAML from people: every value keeps its line, and what is wrong is told as a ``Mistake``.

Duplicate keys, anchors that blow up when expanded and files that are too large are mistakes here, so that nothing after
this file needs to think of them. What the values mean is for the readers of each kind.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.api.base import field_path
from testbed.errors import InvalidInput, Mistake

MAX_BYTES = 1 << 20
MAX_VALUES = 50_000  # after aliases are expanded: a small file cannot become a large value
MAX_DEPTH = 60

Location = tuple[int | str, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document as plain JSON values. ``lines``: 1-based line of each value by its location."""

    value: Any
    file: str = ""
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """The line of this value, or of the nearest thing around it that exists."""
        for length in range(len(location), -1, -1):
            found = self.lines.get(location[:length])
            if found is not None:
                return found
        return 0

    def mistake(self, location: Location, message: str, *, suggestion: str = "") -> Mistake:
        return Mistake(message, field=field_path(location), file=self.file, line=self.line(location),
                       suggestion=suggestion)

    def part(self, location: Location) -> Document:
        """The value at ``location`` as a document of its own; its lines stay those of the file."""
        value = self.value
        for step in location:
            value = value[step]
        size = len(location)
        lines = {place[size:]: line for place, line in self.lines.items() if place[:size] == location}
        return Document(value, self.file, lines)


def read_file(path: Path) -> list[Document]:
    """All non-empty documents of a file.

    Raises: InvalidInput when it cannot be read or is not YAML.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput([Mistake(f"larger than {MAX_BYTES >> 20} MiB", file=str(path))])
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput([Mistake("there is no such file", file=str(path))]) from None
    except UnicodeDecodeError:
        raise InvalidInput([Mistake("not UTF-8 text", file=str(path))]) from None
    except OSError as error:
        raise InvalidInput([Mistake(f"cannot be read: {error.strerror}", file=str(path))]) from None
    return read_text(text, str(path))


def read_text(text: str, file: str = "") -> list[Document]:
    """All non-empty documents of a text.

    Raises: InvalidInput with the line of the first thing that is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text.encode()) > MAX_BYTES:
        raise InvalidInput([Mistake(f"larger than {MAX_BYTES >> 20} MiB", file=file)])
    loader = YAML(typ="rt", pure=True)
    try:
        _refuse_depth(text, file)
        return [_document(root, file) for root in loader.load_all(io.StringIO(text)) if root is not None]
    except DuplicateKeyError as error:
        key = str(error.problem or "").partition('"')[2].partition('"')[0]
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise InvalidInput([Mistake(f"the key {key!r} stands twice", file=file, line=line)]) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise InvalidInput([Mistake(f"not YAML: {error.problem or error.context}", file=file, line=line)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput([Mistake(f"not YAML: {str(error).splitlines()[0][:200]}", file=file)]) from None


def _refuse_depth(text: str, file: str) -> None:
    """Stops at the first value that is too deep: reading all of it would cost the square of its depth."""
    from ruamel.yaml import YAML

    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for event in YAML(typ="rt", pure=True).parse(io.StringIO(text)):
        name = type(event).__name__
        depth += name.endswith(("MappingStartEvent", "SequenceStartEvent"))
        depth -= name.endswith(("MappingEndEvent", "SequenceEndEvent"))
        if depth > MAX_DEPTH:
            line = int(event.start_mark.line) + 1
            raise InvalidInput([Mistake(f"nested more than {MAX_DEPTH} deep", file=file, line=line)])


def _document(root: Any, file: str) -> Document:
    lines: dict[Location, int] = {(): _own_line(root)}
    budget = iter(range(MAX_VALUES))
    value = _plain(root, (), lines, budget, file)
    return Document(value, file, lines)


def _plain(node: Any, at: Location, lines: dict[Location, int], budget: Iterator[int], file: str) -> Any:
    if next(budget, None) is None or len(at) > MAX_DEPTH:
        raise InvalidInput([Mistake("too many values, or too deep, once its aliases are expanded", file=file)])
    if isinstance(node, Mapping):
        result: dict[str, Any] = {}
        for key, item in node.items():
            place = (*at, str(key))
            lines[place] = _key_line(node, key) or lines.get(at, 0)
            result[str(key)] = _plain(item, place, lines, budget, file)
        return result
    if isinstance(node, Sequence) and not isinstance(node, str | bytes):
        items = []
        for index, item in enumerate(node):
            place = (*at, index)
            lines[place] = _item_line(node, index) or lines.get(at, 0)
            items.append(_plain(item, place, lines, budget, file))
        return items
    return _scalar(node)


def _scalar(node: Any) -> Any:
    if node is None or isinstance(node, bool):
        return node
    if type(node).__name__ == "ScalarBoolean":
        return bool(node)
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    if isinstance(node, datetime.datetime | datetime.date):
        return node.isoformat()
    return str(node)


def _own_line(node: Any) -> int:
    return int(node.lc.line) + 1 if hasattr(node, "lc") and node.lc.line is not None else 1


def _key_line(node: Any, key: Any) -> int:
    try:
        return int(node.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 0


def _item_line(node: Any, index: int) -> int:
    try:
        return int(node.lc.item(index)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 0
