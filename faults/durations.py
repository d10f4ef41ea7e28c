"""Go's duration strings (``20s``, ``1m30s``, ``250ms``, ``-10m100ns``), which Chaos Mesh's objects use."""

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


SIGNED_PATTERN = r"^[-+]?(0|((([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(ns|us|µs|μs|ms|s|m|h))+)$"
_SIGNED_PART = re.compile(r"([0-9]*)\.?([0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
                "h": 3600 * 10**9}
_MOST_NS = 2**63 - 1


def nanoseconds(text: str) -> int:
    """``-10m100ns`` as -600000000100 (go: time.ParseDuration; what is less than a nanosecond is cut off).

    Raises: ValueError when it is not a duration, or longer than Go's longest, 292 years.
    """
    if len(text) > 64 or not re.fullmatch(SIGNED_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration such as 300ms, -1.5h or 2h45m")
    total: int = sum(int(whole or "0") * _NANOSECONDS[unit] + int(part or "0") * _NANOSECONDS[unit] // 10 ** len(part)
                     for whole, part, unit in _SIGNED_PART.findall(text))
    if total > _MOST_NS:
        raise ValueError(f"{text!r} is more than 292 years")
    return -total if text.startswith("-") else total
