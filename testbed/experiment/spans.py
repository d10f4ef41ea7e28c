"""Stretches of time as pairs of moments, and what they have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[float, float]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that do not meet, in order; empty ones are left out."""
    merged: list[Span] = []
    for begin, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def clipped(spans: Iterable[Span], begin: float, end: float) -> list[Span]:
    """What of them lies within [begin, end]."""
    return [(max(start, begin), min(stop, end)) for start, stop in spans if min(stop, end) > max(start, begin)]


def length(spans: Iterable[Span]) -> float:
    """Seconds, overlaps counted once."""
    return sum(end - begin for begin, end in union(spans))


def without(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """The time of ``spans`` that is in none of ``others``."""
    left: list[Span] = []
    taken = union(others)
    for begin, end in union(spans):
        at = begin
        for start, stop in taken:
            if stop <= at or start >= end:
                continue
            if start > at:
                left.append((at, start))
            at = max(at, stop)
        if at < end:
            left.append((at, end))
    return left
