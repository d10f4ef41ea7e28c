"""Records of a pulse at moments of a repetition that began at ``STARTED``."""

from __future__ import annotations

from datetime import UTC, datetime

from testbed.load.records import FRESH, Outcome, Record

STARTED = datetime(2026, 11, 29, 12, tzinfo=UTC)
UNIX_S = int(STARTED.timestamp())
ZERO_NS = 5_000_000_000_000  # CLOCK_MONOTONIC of that moment
WALL_NS = UNIX_S * 10**9 - ZERO_NS


def record(at_s: float, took_s: float = 0.01, outcome: Outcome = Outcome.OK, stream: str = FRESH) -> Record:
    due = ZERO_NS + round(at_s * 1e9)
    done = 0 if outcome in (Outcome.UNSENT, Outcome.TIMEOUT) else due + round(took_s * 1e9)
    return Record(0, stream, due, 0 if outcome is Outcome.UNSENT else due, done, outcome)
