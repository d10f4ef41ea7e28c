"""Stretches of time that one thing cost, in a row, and how a gap between two marks is cut out of them. Pure.

A rule explains at most what its arithmetic allows (``limit_s``): the rest of a stretch is *unexplained*, and so is time
that no rule speaks of. So the parts of a gap always add up to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from testbed.experiment.durations import say_duration
from testbed.experiment.observations import EXACT_S
from testbed.experiment.result.timeline import Kind, Part
from testbed.experiment.spans import union

# What asks the API or is told by it: while that gives no answer, whoever needs it tries again.
NEEDS_API: frozenset[Kind] = frozenset({"control", "endpoints", "scheduling", "eviction-timeout", "min-ready"})
NOTHING_SEEN = "nothing that was seen explains it"


@dataclass(frozen=True)
class Segment:
    """``limit_s``: what the rule's arithmetic allows at most. ``start_u``, ``end_u``: how exact the two ends are.
    ``blur_s``: how far the border to its neighbour, another thing in truth, may be from where it is drawn."""

    start: float
    end: float
    kind: Kind
    words: str
    limit_s: float = math.inf
    start_u: float = EXACT_S
    end_u: float = EXACT_S
    blur_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Track:
    """Segments in a row from one moment on; what would go backwards has no length."""

    def __init__(self, start: float, start_u: float = EXACT_S) -> None:
        self.at, self.at_u = start, start_u
        self.segments: list[Segment] = []

    def to(
        self, moment: float | None, kind: Kind, words: str, *, limit_s: float = math.inf, u: float = EXACT_S,
        blur_s: float = 0.0,
    ) -> None:
        """All until ``moment`` went to this. A moment that is not known changes nothing."""
        if moment is None or moment <= self.at:
            return
        self.segments.append(Segment(self.at, moment, kind, words, limit_s, self.at_u, u, blur_s))
        self.at, self.at_u = moment, u

    def follow(self, segments: Iterable[Segment]) -> None:
        """Takes over what others found, from here on."""
        for segment in segments:
            if segment.end > self.at:
                start_u = self.at_u if segment.start <= self.at else segment.start_u
                self.segments.append(replace(segment, start=max(segment.start, self.at), start_u=start_u))
                self.at, self.at_u = segment.end, segment.end_u


def explained(segments: Sequence[Segment], away: Sequence[tuple[float, float]]) -> list[Segment]:
    """With every limit applied, and with what passed while the API was away told as retries."""
    found: list[Segment] = []
    for segment in segments:
        for piece in _without(segment, away) if segment.kind in NEEDS_API else (segment,):
            found += _limited(piece)
    return found


def _limited(segment: Segment) -> list[Segment]:
    """What is over the limit by no more than the ends are uncertain by is not known to be over it."""
    over_s = segment.seconds - segment.limit_s
    if over_s <= segment.start_u + segment.end_u:
        return [segment]
    border = segment.start + segment.limit_s
    words = f"longer than {segment.words} explains ({say_duration(segment.limit_s)})"
    rest = replace(segment, start=border, kind="unexplained", words=words, limit_s=math.inf, start_u=segment.end_u)
    return [replace(segment, end=border), rest] if segment.limit_s > 0 else [rest]


def _without(segment: Segment, away: Sequence[tuple[float, float]]) -> list[Segment]:
    """``segment`` with the stretches in which the API gave no answer taken out of it."""
    pieces, at = [], segment.start
    for begin, end in union(away):
        begin, end = max(begin, at), min(end, segment.end)
        if begin >= end:
            continue
        if begin > at:
            pieces.append(replace(segment, start=at, end=begin))
        pieces.append(replace(segment, start=begin, end=end, kind="retries", limit_s=math.inf,
                              words="the API gave no answer: whoever needed it tried again"))
        at = end
    if at < segment.end:
        pieces.append(replace(segment, start=at))
    return pieces


def cut(segments: Sequence[Segment], start: float, end: float, start_u: float, end_u: float) -> tuple[Part, ...]:
    """The parts of a gap from ``start`` to ``end`` (uncertain by so much), in the order of time. They add up to it."""
    parts: list[Part] = []

    def add(begin: float, until: float, piece: Segment) -> None:
        if until <= begin:
            return
        last = parts[-1] if parts else None
        if last is not None and (last.kind, last.words) == (piece.kind, piece.words):
            parts[-1] = last.model_copy(update={"seconds": last.seconds + until - begin})
            return
        ends_u = (start_u if begin == start else piece.start_u) + (end_u if until == end else piece.end_u)
        parts.append(Part(kind=piece.kind, seconds=until - begin, uncertainty_s=ends_u + piece.blur_s,
                          words=piece.words))

    at = start
    for segment in segments:
        begin, until = max(segment.start, at), min(segment.end, end)
        if until <= begin:
            continue
        add(at, begin, Segment(at, begin, "unexplained", NOTHING_SEEN))
        add(begin, until, segment)
        at = until
    add(at, end, Segment(at, end, "unexplained", NOTHING_SEEN))
    return tuple(parts)
