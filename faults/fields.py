"""The fields of a fault object as a person writes them: ``delay.latency=100ms`` into its place with its type, and all
of them as a list. Pure; what may be there is said by the JSON schema of the fault's kind."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from testbed.errors import Mistake

Json = dict[str, Any]
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")


class WrongField(Exception):
    """Carries the ``Mistake``. Never leaves this package's callers."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def put(spec: MutableMapping[str, Any], schema: Mapping[str, Any], path: str, text: str) -> None:
    """Sets one field of ``spec`` (which is changed) from text.

    Args: schema: of the spec. path: ``delay.latency``, ``methods[0]``, ``selector.labelSelectors.app``.

    Raises: WrongField when there is no such field, or the text is no value of its type.
    """
    path = path.removeprefix("spec.")
    rest = [key or int(number) for key, number in _STEP.findall(path)]
    if not rest or isinstance(rest[0], int):
        raise WrongField(Mistake("a field is named like delay.latency", f"spec.{path}"))
    place: Any = spec
    done = "spec"
    while rest:
        step = rest.pop(0)
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if properties and isinstance(step, str):
            if step not in properties:
                raise WrongField(_unknown(f"{done}.{step}", step, list(properties)))
            schema = properties[step]
        elif isinstance(more, Mapping) and isinstance(step, str):  # the rest of the path is one key, dots and all
            step = ".".join([step, *map(str, rest)])
            rest, schema = [], more
        elif schema.get("type") == "array" and isinstance(step, int):
            schema = schema.get("items") or {}
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            raise WrongField(Mistake(f"is {_kind(schema)} and has no {step!r}", done))
        done += f"[{step}]" if isinstance(step, int) else f".{step}"
        if not rest:
            _store(place, step, value(schema, text, done), done)
        else:
            place = _inside(place, step, list if isinstance(rest[0], int) else dict, done)


def value(schema: Mapping[str, Any], text: str, field: str) -> Any:
    """What a text means for a field. Raises: WrongField."""
    kind = schema.get("type")
    allowed = schema.get("enum")
    if allowed and text not in [str(item) for item in allowed]:
        near = difflib.get_close_matches(text, [str(item) for item in allowed], n=1)
        raise WrongField(Mistake(f"must be one of {', '.join(map(str, allowed))}", field,
                                 suggestion=near[0] if near else ""))
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "array":
            items = schema.get("items") or {}
            if text.startswith("["):
                return _parsed(text, list)
            return [value(items, item.strip(), f"{field}[{index}]") for index, item in enumerate(text.split(","))]
        if kind == "object":
            return _parsed(text, dict)
    except (ValueError, KeyError):
        raise WrongField(Mistake(f"must be {_kind(schema)}, not {text[:60]!r}", field)) from None
    return int(text) if schema.get("x-kubernetes-int-or-string") and text.isdigit() else text


def _parsed(text: str, kind: type) -> Any:
    found = json.loads(text)
    if not isinstance(found, kind):
        raise ValueError(text)
    return found


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, type, description) of every field of a spec's schema."""
    for name, inner in (schema.get("properties") or {}).items():
        yield from _leaves(inner, f"{path}.{name}" if path else name)


def _leaves(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    told = str(schema.get("description") or "")
    items = schema.get("items") or {}
    if schema.get("properties"):
        if told:
            yield path, "object", told
        yield from leaves(schema, path)
    elif items.get("properties"):
        yield path, "list", told
        yield from leaves(items, f"{path}[]")
    else:
        yield path, _told_type(schema), told


def _told_type(schema: Mapping[str, Any]) -> str:
    if schema.get("enum"):
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return "list of " + _told_type(schema.get("items") or {})
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        return "map to " + _told_type(more)
    bounds = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    name = str(schema.get("type") or "any")
    return f"{name} {' to '.join(bounds)}" if len(bounds) == 2 else name


def _kind(schema: Mapping[str, Any]) -> str:
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text",
             "array": "a list", "object": "a map (as JSON)"}
    return words.get(str(schema.get("type")), "a value")


def _unknown(field: str, name: str, known: list[str]) -> Mistake:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    message = "unknown field" if near else f"unknown field; there are {', '.join(sorted(known))}"
    return Mistake(message, field, suggestion=near[0] if near else "")


def _inside(place: Any, step: str | int, make: type, field: str) -> Any:
    if isinstance(step, int):
        if step > len(place):
            raise WrongField(Mistake("comes before the one before it", field))
        if step == len(place):
            place.append(make())
        return place[step]
    return place.setdefault(step, make())


def _store(place: Any, step: str | int, found: Any, field: str) -> None:
    if isinstance(step, int) and step >= len(place):
        if step > len(place):
            raise WrongField(Mistake("comes before the one before it", field))
        place.append(found)
    else:
        place[step] = found
