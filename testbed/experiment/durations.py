"""Durations and percentages as people write them, as floats in seconds and as ratios.

Go's duration syntax (``1m30s``, ``250ms``), as Kubernetes and Chaos Mesh use it; a bare number is seconds.
"""

from __future__ import annotations

import math
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


def parse_span(value: Any) -> float:
    """Seconds; a duration that may also be written in days or weeks, as Prometheus does: ``30d``, ``4w``.

    Raises: ValueError.
    """
    found = re.fullmatch(r"(\d+)([dw])", str(value).strip())
    if found is None:
        return parse_duration(value)
    return int(found[1]) * (86400.0 if found[2] == "d" else 604800.0)


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


HARDLY = 0.02  # of a figure


def say_duration(seconds: float | None, uncertainty_s: float | None = None) -> str:
    """For people: ``4 ms``, ``1.52 s``, ``2 min 5 s``; ``–`` when unknown.

    Args:
        uncertainty_s: how far it may be wrong. No digit is printed that it makes meaningless, and where it shows in
            what is printed it is told: ``1.52 s ± 5 ms``, ``1.5 s ± 0.2 s``.
    """
    if seconds is None:
        return "–"
    unit_s, unit, decimals = _form(max(abs(seconds), uncertainty_s or 0.0))
    told = ""
    if uncertainty_s is not None and uncertainty_s > 0:
        decimals = min(decimals, -_leading(uncertainty_s / unit_s))
        told = f" ± {_say_uncertainty(uncertainty_s)}" if uncertainty_s / unit_s >= 0.5 * 10.0 ** -decimals else ""
    if unit == "min":
        whole = round(seconds, min(decimals, 0))
        minutes, rest = divmod(round(abs(whole)), 60)
        return f"{'-' if whole < 0 else ''}{minutes} min {rest} s{told}"
    value = round(seconds / unit_s, decimals) + 0.0  # + 0.0: no minus before a zero
    if unit == "ms" and abs(value) >= 1000:  # rounded up to a second
        return f"{value / 1000:.{min(2, max(0, decimals + 3))}f} s{told}"
    return f"{value:.{max(decimals, 0)}f} {unit}{told}"


def _form(size: float) -> tuple[float, str, int]:
    """(seconds of the unit, the unit, decimals) of a duration of this size: three figures, or two below 10 ms."""
    if size < 0.00005:
        return 1e-3, "ms", 0
    if size < 0.0095:
        return 1e-3, "ms", 1
    if size < 0.9995:
        return 1e-3, "ms", 0
    if size < 99.95:
        return 1.0, "s", 2 if size < 9.995 else 1
    return 1.0, "min", 0


def _leading(value: float) -> int:
    """The power of ten of the first digit: 0 of 5, -1 of 0.2; 0 of 0.99 too, which is told as 1."""
    return math.floor(math.log10(value) + 0.005)


def _say_uncertainty(seconds: float) -> str:
    """One figure, rounded up, but for what is hardly over it."""
    if seconds >= 60:
        return f"{math.ceil(seconds / 60 - HARDLY)} min"
    power = _leading(seconds)
    rounded = math.ceil(seconds / 10.0 ** power - HARDLY) * 10.0 ** power
    return f"{rounded:g} s" if rounded >= 0.0995 else f"{rounded * 1000:g} ms"


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
Span = Annotated[
    float, BeforeValidator(parse_span),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": rf"{PATTERN}|^\d+[dw]$"}, {"type": "number", "minimum": 0}],
        "description": "A long duration: 30d, 4w, 12h, or a number of seconds.",
    }),
]
Ratio = Annotated[
    float, BeforeValidator(parse_ratio),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?%$"}, {"type": "number", "minimum": 0, "maximum": 1}],
        "description": "A ratio: 0.1% or 0.001.",
    }),
]
