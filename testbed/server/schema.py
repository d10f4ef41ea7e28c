"""What fields the served kinds have upstream: name, type, merge key.

Read lazily from ``schemas/kubernetes-1.32.txt``; the one source for field validation, strategic merge keys and OpenAPI
documents. Which of these fields this cluster enforces is said in ``fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SCALARS = {
    "s": "string", "i": "integer", "n": "number", "b": "boolean", "t": "time", "q": "quantity",
    "x": "integer or string", "any": "any",
}


@dataclass(frozen=True, slots=True)
class Type:
    """``form``: one of SCALARS, ``list``, ``map`` (both with ``item``) or ``struct`` (with ``name``)."""

    form: str
    item: Type | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """``merge_key``: of list items in a strategic merge, ``*`` merges a list of primitives."""

    name: str
    type: Type
    merge_key: str = ""
    retain_keys: bool = False
    required: bool = False


def fields_of(type_name: str) -> dict[str, Field]:
    """The fields of a type by name; empty when the type is not known."""
    fields = _parsed().get(type_name)
    if fields is None:
        line = _lines().get(type_name)
        if line is None:
            return {}
        fields = _parsed()[type_name] = {field.name: field for field in map(_field, line.split())}
    return fields


def known(type_name: str) -> bool:
    return type_name in _lines()


def type_names() -> tuple[str, ...]:
    return tuple(_lines())


@cache
def _parsed() -> dict[str, dict[str, Field]]:
    return {}


@cache
def _lines() -> dict[str, str]:
    text = files("testbed.server").joinpath("schemas/kubernetes-1.32.txt").read_text()
    lines: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            lines[name] += line
        else:
            name, _, rest = line.partition(" ")
            lines[name] = rest
    return lines


def _field(text: str) -> Field:
    name, _, rest = text.partition(":")
    required = rest.endswith("!")
    kind, _, key = rest.rstrip("!").partition("@")
    return Field(name, parse_type(kind), key.rstrip("+"), key.endswith("+"), required)


@cache
def parse_type(text: str) -> Type:
    if text in SCALARS:
        return Type(text)
    if text.startswith("["):
        return Type("list", parse_type(text[1:-1]))
    if text.startswith("{"):
        return Type("map", parse_type(text[1:-1]))
    return Type("struct", name=text)
