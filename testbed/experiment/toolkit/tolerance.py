"""Whether the answer of a probe is within its tolerance. Pure: a probe that is a tolerance is run by ``hypothesis.py``.

An answer of a type that cannot be compared is not within, and the reason is said; it never breaks the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from testbed.experiment.toolkit.jsonpath import JsonPath
from testbed.experiment.toolkit.substitution import Scope

TYPES = ("probe", "regex", "jsonpath", "range")
_SHOWN = 200  # characters of an answer in a reason


@dataclass(frozen=True)
class Judged:
    met: bool
    why: str = ""


def wrong_with(tolerance: Any) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of a tolerance as written; ``${...}`` inside is not looked into."""
    if isinstance(tolerance, float) or not isinstance(tolerance, bool | int | str | list | dict):
        yield "", ("must be a boolean, a whole number, a text, a list or a mapping with a type "
                   "(for a number with a fraction write {type: range, range: [low, high]})")
        return
    if not isinstance(tolerance, dict):
        return
    kind = tolerance.get("type")
    if kind not in TYPES:
        yield "type", f"must be one of {', '.join(TYPES)}, is {kind!r}"
    elif kind == "regex":
        yield from _wrong_with_text(tolerance, "pattern", re.compile)
    elif kind == "jsonpath":
        yield from _wrong_with_text(tolerance, "path", JsonPath)
        if "count" in tolerance and not isinstance(tolerance["count"], int):
            yield "count", "must be a whole number"
    elif kind == "range":
        limits = tolerance.get("range")
        if not isinstance(limits, list) or len(limits) != 2 or not all(_is_number(item) for item in limits):
            yield "range", "must be two numbers: [low, high]"


def _wrong_with_text(tolerance: Mapping[str, Any], key: str, parse: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    text = tolerance.get(key)
    if not isinstance(text, str) or not text.strip():
        yield key, "is required"
        return
    if "${" in text:
        return
    try:
        parse(text.strip() if key == "path" else text)
    except (ValueError, re.error) as error:
        yield key, f"{text!r} is not valid: {error}"


def judge(tolerance: Any, value: Any, scope: Scope | None = None) -> Judged:
    """A tolerance of any form but a probe. ``value``: what the probed activity returned."""
    scope = scope or Scope()
    if isinstance(tolerance, str):
        tolerance = scope.fill(tolerance)
    if isinstance(tolerance, dict):
        return _judge_typed(tolerance, value, scope)
    if isinstance(tolerance, list):
        return _judge_list(tolerance, value)
    if isinstance(tolerance, int) and not isinstance(tolerance, bool) and isinstance(value, dict) and "status" in value:
        value = value["status"]
    return _judged(value == tolerance, f"{_shown(value)} is not {_shown(tolerance)}")


def _judge_list(tolerance: list[Any], value: Any) -> Judged:
    """A list of two is a lower and an upper bound; another list, and any list for a status, is what is allowed."""
    if isinstance(value, dict) and "status" in value:
        return _judged(value["status"] in tolerance, f"status {value['status']} is not one of {tolerance}")
    if len(tolerance) != 2:
        return _judged(value in tolerance, f"{_shown(value)} is not one of {_shown(tolerance)}")
    try:
        met = bool(tolerance[0] <= value <= tolerance[1])
    except TypeError:
        return Judged(False, f"{_shown(value)} cannot be compared with {tolerance[0]!r} and {tolerance[1]!r}")
    return _judged(met, f"{_shown(value)} is not between {tolerance[0]} and {tolerance[1]}")


def _judge_typed(tolerance: Mapping[str, Any], value: Any, scope: Scope) -> Judged:
    target = tolerance.get("target")
    if target and not isinstance(value, dict):
        return Judged(False, f"{_shown(value)} has no {target!r}")
    value = value.get(target, value) if target else value
    if tolerance["type"] == "regex":
        return _judge_regex(str(scope.fill(tolerance["pattern"])), value)
    if tolerance["type"] == "jsonpath":
        return _judge_jsonpath(tolerance, value, scope)
    low, high = tolerance["range"]
    try:
        number = Decimal(value)
        met = Decimal(low) <= number <= Decimal(high)
    except (InvalidOperation, TypeError, ValueError):
        return Judged(False, f"{_shown(value)} is not a number")
    return _judged(met, f"{_shown(value)} is not between {low} and {high}")


def _judge_regex(pattern: str, value: Any) -> Judged:
    if not isinstance(value, str):
        return Judged(False, f"{_shown(value)} is not a text")
    try:
        found = re.search(pattern, value)
    except re.error as error:
        return Judged(False, f"the pattern {pattern!r} is not valid: {error}")
    return _judged(found is not None, f"{_shown(value)} does not match {pattern!r}")


def _judge_jsonpath(tolerance: Mapping[str, Any], value: Any, scope: Scope) -> Judged:
    """``expect`` wins over ``count``, which wins over "there is something"."""
    text = str(scope.fill(tolerance["path"])).strip()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            pass
    try:
        found = JsonPath(text).values(value)
    except (ValueError, RecursionError) as error:
        return Judged(False, f"the path {text!r} is not valid: {error}")
    if "expect" in tolerance:
        expected = scope.fill(tolerance["expect"])
        expected = expected if isinstance(expected, list) else [expected]
        return _judged(found == expected, f"{text} is {_shown(found)}, not {_shown(expected)}")
    if tolerance.get("count") is not None:
        return _judged(len(found) == tolerance["count"], f"{text} finds {len(found)}, not {tolerance['count']}")
    return _judged(bool(found), f"{text} finds nothing in {_shown(value)}")


def _judged(met: bool, why: str) -> Judged:
    return Judged(met, "" if met else why)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
