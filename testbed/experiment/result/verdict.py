"""What came of it, and the exit code of each."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What came of it. ``EXIT_CODES`` gives the exit code of each."""

    PASSED = "passed"
    OBJECTIVE_MISSED = "objective missed"
    STEADY_STATE_NOT_MET = "steady state not met before the fault"
    NO_EFFECT = "fault did not take effect"
    NOT_REGAINED = "steady state not regained"
    UNDO_FAILED = "undo failed"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted: users were hurt more than the budget allows"
    ENVIRONMENT = "environment"
    BUG = "a bug of ours"
    INTERRUPTED = "interrupted"


EXIT_CODES: dict[Verdict, int] = {
    Verdict.PASSED: 0, Verdict.OBJECTIVE_MISSED: 1, Verdict.ENVIRONMENT: 4, Verdict.STEADY_STATE_NOT_MET: 5,
    Verdict.NO_EFFECT: 6, Verdict.NOT_REGAINED: 7, Verdict.UNDO_FAILED: 8, Verdict.INCONCLUSIVE: 9,
    Verdict.ABORTED: 10, Verdict.BUG: 70, Verdict.INTERRUPTED: 130,
}
