"""Durations and percentages as people write them, as floats in seconds and as ratios.

Go's duration syntax (``1m30s``, ``250ms``), as Kubernetes and Chaos Mesh use it; a bare number is seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
MOST_DECIMALS = 6


@dataclass(frozen=True)
class Grain:
    """How a time is written: its unit, and its last figure (``decimals`` below 0: tens or hundreds of the unit).

    Times of one grain can be added up as they are shown. An uncertainty has the unit of what it stands beside.
    """

    unit_s: float
    unit: str
    decimals: int

    def figures(self, seconds: float) -> int:
        """How many of its last figure ``seconds`` are."""
        return round(seconds / self.unit_s * 10.0 ** self.decimals)

    def say(self, figures: int) -> str:
        """That many of its last figure: ``4 ms``, ``1.52 s``, ``2 min 5 s``."""
        if self.unit == "min":
            minutes, rest = divmod(round(abs(figures) * self._step_s), 60)
            sign = "-" if figures < 0 else ""
            return f"{sign}{minutes} min {rest} s" if minutes else f"{sign}{rest} s"
        return f"{figures * 10.0 ** -self.decimals:.{max(self.decimals, 0)}f} {self.unit}"

    def beside(self, uncertainty_s: float) -> str:
        """`` ± 0.2 s``: one figure, rounded up; nothing where it does not show in the last figure."""
        if uncertainty_s < 0.5 * self._step_s:
            return ""
        rounded_s = _rounded_up(uncertainty_s, self._step_s)
        if self.unit == "min":
            return f" ± {rounded_s:g} s" if uncertainty_s < 60 else f" ± {math.ceil(uncertainty_s / 60 - HARDLY)} min"
        return f" ± {rounded_s / self.unit_s:g} {self.unit}"

    def shares(self, seconds: Sequence[float], whole: int) -> list[int]:
        """``seconds``, the parts of a whole of so many figures, each in figures so that they add up to it: what
        rounding down leaves goes to the largest remainders."""
        exact = [value / self._step_s for value in seconds]
        found = [math.floor(value + 1e-9) for value in exact]
        left = whole - sum(found)
        order = sorted(range(len(exact)), key=lambda index: found[index] - exact[index])
        for index in order[:left] if left > 0 else [index for index in order[::-1] if found[index]][:-left]:
            found[index] += 1 if left > 0 else -1
        return found

    @property
    def _step_s(self) -> float:
        return self.unit_s * 10.0 ** -self.decimals


def grain_of(seconds: float, uncertainty_s: float = 0.0) -> Grain:
    """Three figures, two below 10 ms; but no figure that the uncertainty makes meaningless."""
    known = uncertainty_s > 0
    grain = _form(max(abs(seconds), _rounded_up(uncertainty_s) if known else 0.0))
    if known:
        finest = -_leading(uncertainty_s / grain.unit_s)
        grain = replace(grain, decimals=min(grain.decimals, finest))
    if grain.unit == "ms" and abs(round(seconds / grain.unit_s, grain.decimals)) >= 1000:  # rounded up to a second
        return Grain(1.0, "s", min(2, max(0, grain.decimals + 3)))
    return grain


def say_duration(seconds: float | None, uncertainty_s: float | None = None) -> str:
    """For people: ``4 ms``, ``1.52 s``, ``2 min 5 s``; ``–`` when unknown.

    Args:
        uncertainty_s: how far it may be wrong. No digit is printed that it makes meaningless, and where it shows in
            what is printed it is told in the same unit: ``1.52 s ± 0.01 s``, ``1.5 s ± 0.2 s``.
    """
    if seconds is None:
        return "–"
    grain = grain_of(seconds, uncertainty_s or 0.0)
    return grain.say(grain.figures(seconds)) + grain.beside(uncertainty_s or 0.0)


def say_apart(seconds: float, other_s: float, uncertainty_s: float = 0.0) -> str:
    """As `say_duration`, with as many more figures as it takes to see that it is not ``other_s``."""
    grain = grain_of(seconds, uncertainty_s)
    if seconds != other_s and grain.unit == "min" and grain.figures(seconds) == grain.figures(other_s):
        grain = Grain(1.0, "s", grain.decimals)
    while seconds != other_s and grain.figures(seconds) == grain.figures(other_s) and grain.decimals < MOST_DECIMALS:
        grain = replace(grain, decimals=grain.decimals + 1)
    return grain.say(grain.figures(seconds)) + grain.beside(uncertainty_s)


def _form(size: float) -> Grain:
    """Of a duration of this size that is known exactly."""
    if size < 0.00005:
        return Grain(1e-3, "ms", 0)
    if size < 0.0095:
        return Grain(1e-3, "ms", 1)
    if size < 0.9995:
        return Grain(1e-3, "ms", 0)
    if size < 99.95:
        return Grain(1.0, "s", 2 if size < 9.995 else 1)
    return Grain(1.0, "min", 0)


def _leading(value: float) -> int:
    """The power of ten of the first digit: 0 of 5, -1 of 0.2; 0 of 0.99 too, which is told as 1."""
    return math.floor(math.log10(value) + 0.005)


def _rounded_up(seconds: float, step_s: float = 0.0) -> float:
    """To one figure, and to whole steps; what is hardly over it is not taken for the next."""
    figure_s = max(10.0 ** _leading(seconds), step_s)
    return math.ceil(seconds / figure_s - HARDLY) * figure_s


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
