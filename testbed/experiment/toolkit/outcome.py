"""What came of a Chaos Toolkit experiment. Pure: what happened in, a verdict out.

Chaos Toolkit ends green when the hypothesis was not met before the method, when an action failed, when it was only not
met *during* the method, and when a rollback failed. Here each has an exit code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.experiment.result import Verdict
from testbed.experiment.toolkit.activities import Done, Look


@dataclass
class Happened:
    """Everything a verdict is made of. ``method_began``: from then on something may have to be rolled back."""

    before: Look | None = None
    during: list[Look] = field(default_factory=list)
    after: Look | None = None
    method: list[Done] = field(default_factory=list)
    rollbacks: list[Done] = field(default_factory=list)
    method_began: bool = False
    method_ended: bool = False
    failed_fast: bool = False
    interrupted: str = ""
    without_rollbacks: bool = False  # asked for by SIGUSR2
    bug: str = ""

    @property
    def deviated(self) -> bool:
        return any(not look.met for look in (*self.during, *([self.after] if self.after else [])))


def plays_rollbacks(strategy: str, happened: Happened) -> bool:
    """What the method may have changed is always taken back, but for ``never`` and ``deviated``."""
    if happened.without_rollbacks or strategy == "never":
        return False
    if strategy == "always":
        return True
    if strategy == "deviated":
        return happened.deviated
    return happened.method_began


def decide(happened: Happened) -> tuple[Verdict, str]:
    """The first of these that is so, and why; what else went wrong is added to the reason."""
    problems = list(_problems(happened))
    if not problems:
        return Verdict.PASSED, ""
    return problems[0][0], "; ".join(reason for _, reason in problems)


def _problems(happened: Happened) -> list[tuple[Verdict, str]]:
    found: list[tuple[Verdict, str]] = []
    if happened.bug:
        found.append((Verdict.BUG, happened.bug))
    if happened.interrupted:
        found.append((Verdict.INTERRUPTED, happened.interrupted))
    if happened.before is not None and not happened.before.met:
        found.append((Verdict.STEADY_STATE_NOT_MET, _told(happened.before)))
    found += [(Verdict.NO_EFFECT, f"{done.activity.name}: {done.problem}") for done in happened.method
              if done.activity.kind == "action" and done.problem and not happened.interrupted]
    if happened.after is not None and not happened.after.met:
        found.append((Verdict.NOT_REGAINED, _told(happened.after)))
    missed = [look for look in happened.during if not look.met]
    if missed:
        share = f"in {len(missed)} of {len(happened.during)} looks during the method"
        ended = ", which ended it" if happened.failed_fast else ""
        found.append((Verdict.OBJECTIVE_MISSED, f"{_told(missed[0])} ({share}{ended})"))
    found += [(Verdict.UNDO_FAILED, f"rollback {done.activity.name}: {done.problem}") for done in happened.rollbacks
              if done.problem]
    return found


def journal_status(happened: Happened, verdict: Verdict) -> str:
    """Chaos Toolkit's word. ``completed`` without ``deviated`` is said of nothing but a success."""
    if verdict is Verdict.BUG:
        return "aborted"
    if verdict is Verdict.INTERRUPTED:
        return "interrupted"
    answered = happened.after is None or not happened.after.raised
    only_deviated = answered and not happened.failed_fast and verdict in (
        Verdict.NOT_REGAINED, Verdict.OBJECTIVE_MISSED)
    return "completed" if verdict is Verdict.PASSED or only_deviated else "failed"


def _told(look: Look) -> str:
    return f"{look.missed}: {look.why}"
