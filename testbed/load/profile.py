"""When requests are due: a rate, and stages in which it changes linearly, as in k6's ramping-arrival-rate. Pure.

The rate is a line in each stage, so the arrivals up to a moment are its integral, and arrival *k* is due when that is
*k*: in closed form, exact, and known before the first request leaves. Standard library only: the pulse imports this,
inside Locust too.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

MOST = 20_000.0  # requests per second that may be asked for


@dataclass(frozen=True)
class Stage:
    """The rate goes linearly to ``target`` (requests per second) within ``duration_s``; 0: it jumps there."""

    target: float
    duration_s: float


@dataclass(frozen=True)
class _Piece:
    """From ``begin_s`` on, when ``before`` arrivals were due, the rate is ``rate + slope * (t - begin_s)``."""

    begin_s: float
    before: float
    rate: float
    slope: float


@dataclass(frozen=True)
class Profile:
    """``rate`` requests per second until ``wait_s`` (and for ever, without stages), then the stages; the last one's
    target is held. Moments are seconds from the first arrival's."""

    rate: float
    stages: tuple[Stage, ...] = ()
    wait_s: float = 0.0

    @cached_property
    def _pieces(self) -> tuple[_Piece, ...]:
        pieces = [_Piece(0.0, 0.0, self.rate, 0.0)]
        at_s, before, rate = self.wait_s, self.rate * self.wait_s, self.rate
        for stage in self.stages:
            if stage.duration_s > 0:
                pieces.append(_Piece(at_s, before, rate, (stage.target - rate) / stage.duration_s))
                before += (rate + stage.target) / 2 * stage.duration_s
                at_s += stage.duration_s
            rate = stage.target
        if self.stages:
            pieces.append(_Piece(at_s, before, rate, 0.0))
        return tuple(pieces)

    @cached_property
    def _counts(self) -> list[float]:
        return [piece.before for piece in self._pieces]

    @cached_property
    def _begins(self) -> list[float]:
        return [piece.begin_s for piece in self._pieces]

    def _at(self, at_s: float) -> _Piece:
        return self._pieces[max(0, bisect_right(self._begins, at_s) - 1)]

    def arrivals(self, at_s: float) -> float:
        """The integral of the rate up to ``at_s``: arrival *k* is due when it reaches *k*."""
        piece = self._at(at_s)
        since_s = at_s - piece.begin_s
        return piece.before + (piece.rate + piece.slope * since_s / 2) * since_s

    def rate_at(self, at_s: float) -> float:
        """Requests per second that are asked for at this moment."""
        piece = self._at(at_s)
        return piece.rate + piece.slope * max(0.0, at_s - piece.begin_s)

    def due_s(self, number: float) -> float:
        """When arrival ``number`` (from 0) is due; infinite when it never is, because the rate has come to 0."""
        piece = self._pieces[max(0, bisect_right(self._counts, number) - 1)]
        missing = number - piece.before
        if missing <= 0:
            return piece.begin_s
        # The stable root of slope/2 t^2 + rate t - missing = 0; with a slope of 0 it is missing / rate.
        root = piece.rate + math.sqrt(max(0.0, piece.rate * piece.rate + 2 * piece.slope * missing))
        return piece.begin_s + 2 * missing / root if root > 0 else math.inf

    def told(self) -> str:
        """In words: ``50/s``, ``50/s, to 500/s in 30 s``."""
        return ", ".join([f"{self.rate:g}/s", *(
            f"to {stage.target:g}/s in {stage.duration_s:g} s" if stage.duration_s else f"{stage.target:g}/s at once"
            for stage in self.stages)])


def parse_stage(text: str) -> Stage:
    """``30s:500``, as k6's ``--stage`` is written: duration and target; the duration as seconds or with its unit.

    Raises: ValueError.
    """
    duration, separator, target = text.partition(":")
    if not separator:
        raise ValueError(f"{text!r} is not <duration>:<target>, for example 30s:500")
    stage = Stage(float(target), _seconds(duration))
    if not (0 <= stage.target <= MOST and 0 <= stage.duration_s < math.inf):
        raise ValueError(f"{text!r}: the target is 0 to {MOST:g} requests per second, the duration not negative")
    return stage


def _seconds(text: str) -> float:
    for unit, factor in (("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def say_stages(stages: Sequence[Stage]) -> list[str]:
    """What ``parse_stage`` reads."""
    return [f"{stage.duration_s!r}:{stage.target!r}" for stage in stages]
