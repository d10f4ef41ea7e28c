"""One colour for one state, on every dashboard: whoever has read one of them can read all."""

from __future__ import annotations

GOOD, DOUBTFUL, BAD, UNKNOWN, NEUTRAL, OFF = "green", "orange", "red", "purple", "blue", "transparent"

STATES = {
    # how many are ready, of those that should be
    "ready": GOOD, "all ready": GOOD, "some ready": DOUBTFUL, "none ready": BAD, "not ready": BAD, "unready": DOUBTFUL,
    "terminating": UNKNOWN, "available": GOOD, "unavailable": BAD, "updated": "light-blue", "asked for": NEUTRAL,
    "answers": GOOD, "no ready endpoint": BAD,
    # kubernetes' words
    "Running": GOOD, "Pending": DOUBTFUL, "Failed": BAD, "Unknown": UNKNOWN, "Succeeded": NEUTRAL,
    "true": GOOD, "false": BAD, "unknown": UNKNOWN,
    # rollouts
    "settled": GOOD, "rolling out": DOUBTFUL, "stalled": BAD, "paused": UNKNOWN,
    # what clients met
    "ok": GOOD, "late": DOUBTFUL, "failed": BAD, "unsent": UNKNOWN,
    # what ends well and what does not
    "passed": GOOD, "objective missed": BAD, "met": GOOD, "missed": BAD, "inconclusive": DOUBTFUL, "void": UNKNOWN,
    "success": GOOD, "failure": BAD,
    # phases of an experiment
    "steady": NEUTRAL, "inject": BAD, "observe": DOUBTFUL, "undo": UNKNOWN, "converge": "yellow", "between runs": OFF,
    # what is there or not
    "in force": BAD, "off": OFF, "firing": BAD, "up": GOOD, "down": BAD, "yes": DOUBTFUL, "no": GOOD,
    # parts of a distribution
    "p50": "light-blue", "p95": NEUTRAL, "p99": "dark-blue",
}
