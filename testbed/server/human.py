"""Times and counts as kubectl's tables show them.

Source: kubernetes apimachinery pkg/util/duration/duration.go (HumanDuration), pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api.meta import parse_time


def human_duration(seconds: float) -> str:
    """``75s``, ``2m5s``, ``3h20m``, ``5d``."""
    if seconds < -1:
        return "<invalid>"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _pair(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    return _pair(days // 365, "y", days % 365 if days < 365 * 8 else 0, "d")


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(text: Any, now: datetime) -> str:
    """Age of an RFC 3339 time; ``<unknown>`` where there is none."""
    if not text:
        return "<unknown>"
    try:
        return human_duration((now - parse_time(str(text))).total_seconds())
    except ValueError:
        return "<unknown>"
