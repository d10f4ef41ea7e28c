"""Durations and percentages as people write them, as floats in seconds and as ratios.

Go's duration syntax (``1m30s``, ``250ms``), as Kubernetes and Chaos Mesh use it; a bare number is seconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h)"
PATTERN = rf"^(?:{_PART})+$"


def parse_duration(value: Any) -> float:
    """Seconds.

    Raises: ValueError when it is not a duration of zero or more.
    """
    if isinstance(value, bool):
        raise ValueError("expected a duration such as 5s, 250ms or 1m30s")
    if isinstance(value, int | float):
        if not 0 <= value < float("inf"):
            raise ValueError("a duration must not be negative")
        return float(value)
    text = str(value).strip()
    if text == "0":
        return 0.0
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write 5s, 250ms or 1m30s")
    total = 0.0
    for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text):
        total += float(number) * _UNITS_S[unit]
    return total


def parse_ratio(value: Any) -> float:
    """``0.1%`` or ``0.001`` as 0.001.

    Raises: ValueError when it is neither, or not within 0 to 1.
    """
    text = str(value).strip()
    try:
        ratio = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a percentage nor a ratio") from None
    if not 0 <= ratio <= 1:
        raise ValueError(f"{text!r} is not between 0 and 100 %")
    return ratio


def say_duration(seconds: float | None) -> str:
    """For people: ``4 ms``, ``1.52 s``, ``2 min 5 s``; ``–`` when unknown."""
    if seconds is None:
        return "–"
    size = abs(seconds)
    if size < 0.0005:
        return "0 ms" if size < 0.00005 else f"{seconds * 1000:.1f} ms"
    if size < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if size < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if size < 99.95:
        return f"{seconds:.2f} s" if size < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def say_setting(seconds: float) -> str:
    """A configured duration, without padding: ``2 s``, ``1.5 s``, ``250 ms``."""
    return f"{seconds * 1000:g} ms" if 0 < seconds < 1 else f"{seconds:g} s"


Duration = Annotated[
    float, BeforeValidator(parse_duration),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "number", "minimum": 0}],
        "description": "A duration: 5s, 250ms, 1m30s, or a number of seconds.",
    }),
]
Ratio = Annotated[
    float, BeforeValidator(parse_ratio),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?%$"}, {"type": "number", "minimum": 0, "maximum": 1}],
        "description": "A ratio: 0.1% or 0.001.",
    }),
]
