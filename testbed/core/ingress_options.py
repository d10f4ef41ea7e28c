"""What the annotations ``ingress.testbed.io/...`` of an Ingress ask for, and which of them cannot be read.

Pure. Everything is off where nothing is said. How HAProxy does it: ``docs/ingress.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

PREFIX = "ingress.testbed.io/"
CANARY = PREFIX + "canary"
CANARY_WEIGHT = PREFIX + "canary-weight"
RETRY_BUDGET = PREFIX + "retry-budget"
OUTLIER_ERRORS = PREFIX + "outlier-errors"
OUTLIER_TIME = PREFIX + "outlier-ejection-time"
OUTLIER_CAP = PREFIX + "outlier-max-ejected"
BREAKER = PREFIX + "circuit-breaker"
BREAKER_TIME = PREFIX + "circuit-breaker-time"
MAX_CONNECTIONS = PREFIX + "max-connections"
RATE_LIMIT = PREFIX + "rate-limit"

_RATE = re.compile(r"([1-9]\d{0,6})/(s|m)\Z")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)\Z")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Outliers:
    """Ejected after ``errors`` failures in a row, for ``ejection_s`` at least; never more than ``cap_percent`` of the
    endpoints, but always one where there are two (envoy: outlier detection, max_ejection_percent)."""

    errors: int
    ejection_s: float = 30.0
    cap_percent: int = 10


@dataclass(frozen=True)
class Breaker:
    """Opens for ``open_s`` when ``percent`` of the answers of the last ten seconds were failures."""

    percent: int
    open_s: float = 10.0


@dataclass(frozen=True)
class Options:
    """``retry_percent``: of the requests, how many may be tried again. ``limit``: requests of one client per
    ``limit_period_s``. ``max_connections``: of one endpoint. None and 0: off."""

    canary: bool = False
    canary_weight: int = 0
    retry_percent: int = 0
    outliers: Outliers | None = None
    breaker: Breaker | None = None
    max_connections: int = 0
    limit: int = 0
    limit_period_s: int = 1


@dataclass(frozen=True)
class Problem:
    """An annotation whose value cannot be read."""

    annotation: str
    value: str
    message: str


def read_options(annotations: Mapping[str, str]) -> tuple[Options, tuple[Problem, ...]]:
    """What is asked for, without what cannot be read."""
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for name, read in _READERS.items():
        if name in annotations:
            try:
                found[name] = read(annotations[name])
            except ValueError as error:
                problems.append(Problem(name, annotations[name], str(error)))
    for name, needed in _NEEDED.items():
        if name in annotations and needed not in annotations:
            problems.append(Problem(name, annotations[name], f"has no meaning without {needed}"))
    return _options(found), tuple(problems)


def unknown_annotations(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Those that look like ours and are none."""
    return tuple(sorted(name for name in annotations if name.startswith(PREFIX) and name not in _READERS))


def known_annotations() -> tuple[str, ...]:
    return tuple(_READERS)


def _options(found: Mapping[str, Any]) -> Options:
    limit, period_s = found.get(RATE_LIMIT, (0, 1))
    outliers = Outliers(found[OUTLIER_ERRORS]) if OUTLIER_ERRORS in found else None
    if outliers is not None:
        outliers = replace(outliers, ejection_s=found.get(OUTLIER_TIME, outliers.ejection_s),
                           cap_percent=found.get(OUTLIER_CAP, outliers.cap_percent))
    breaker = Breaker(found[BREAKER]) if BREAKER in found else None
    if breaker is not None:
        breaker = replace(breaker, open_s=found.get(BREAKER_TIME, breaker.open_s))
    return Options(
        canary=found.get(CANARY, False), canary_weight=found.get(CANARY_WEIGHT, 0),
        retry_percent=found.get(RETRY_BUDGET, 0), outliers=outliers, breaker=breaker,
        max_connections=found.get(MAX_CONNECTIONS, 0), limit=limit, limit_period_s=period_s,
    )


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError('must be "true" or "false"')
    return text == "true"


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f'must be a whole number from {low} to {high}, as "{max(low, 5)}"')
        return int(text)

    return read


def _percent(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}%", text) or not 1 <= int(text[:-1]) <= 100:
        raise ValueError('must be a percentage from 1% to 100%, as "20%"')
    return int(text[:-1])


def _time(text: str) -> float:
    match = _TIME.match(text)
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0.1 <= seconds <= 3600:
        raise ValueError('must be a time from 100ms to 1h, as "30s"')
    return seconds


def _rate(text: str) -> tuple[int, int]:
    match = _RATE.match(text)
    if match is None:
        raise ValueError('must be requests of one client per second or minute, as "50/s" or "600/m"')
    return int(match[1]), 1 if match[2] == "s" else 60


_READERS: dict[str, Callable[[str], Any]] = {
    CANARY: _boolean, CANARY_WEIGHT: _whole(0, 100), RETRY_BUDGET: _percent, OUTLIER_ERRORS: _whole(1, 1000),
    OUTLIER_TIME: _time, OUTLIER_CAP: _percent, BREAKER: _percent, BREAKER_TIME: _time,
    MAX_CONNECTIONS: _whole(1, 100_000), RATE_LIMIT: _rate,
}
_NEEDED = {CANARY_WEIGHT: CANARY, OUTLIER_TIME: OUTLIER_ERRORS, OUTLIER_CAP: OUTLIER_ERRORS, BREAKER_TIME: BREAKER}
