"""Go's duration strings (``20s``, ``1m30s``, ``250ms``), which Chaos Mesh's objects use."""

from __future__ import annotations

import re

PATTERN = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """``1m30s`` as 90.0 (go: time.ParseDuration without sign).

    Raises: ValueError when it is not a duration.
    """
    if len(text) > 64 or not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration such as 20s, 1m30s or 250ms")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
