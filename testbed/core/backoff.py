"""How long a failing container (or image pull) waits before the next try.

The first restart is immediate; then the wait, counted from the moment the container ended, doubles from the initial
value to the maximum. It starts over when the container ran for longer than the reset window. No jitter.
Times are seconds of one monotonic clock. Source: kubernetes client-go util/flowcontrol/backoff.go,
pkg/kubelet/kuberuntime/kuberuntime_manager.go doBackOff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from testbed.core.profile import Profile


@dataclass(frozen=True)
class BackoffRule:
    initial_s: float
    max_s: float
    reset_s: float

    def delay_s(self, failures: int) -> float:
        """What follows the last of so many failures in a row, one at least."""
        return min(self.initial_s * 2.0 ** min(failures - 1, 32), self.max_s)

    @staticmethod
    def of_crashes(profile: Profile) -> BackoffRule:
        return BackoffRule(profile.crash_backoff_initial_s, profile.crash_backoff_max_s, profile.crash_backoff_reset_s)

    @staticmethod
    def of_images(profile: Profile) -> BackoffRule:
        longest_s = profile.image_backoff_max_s
        return BackoffRule(profile.image_backoff_initial_s, longest_s, 2 * longest_s)

    @staticmethod
    def of_jobs(profile: Profile) -> BackoffRule:
        """A success starts it over, time does not."""
        return BackoffRule(profile.job_backoff_initial_s, profile.job_backoff_max_s, math.inf)

    @staticmethod
    def of_daemons(profile: Profile) -> BackoffRule:
        longest_s = profile.daemon_backoff_max_s
        return BackoffRule(profile.daemon_backoff_initial_s, longest_s, 2 * longest_s)


@dataclass(frozen=True)
class BackoffEntry:
    """``delay_s``: how long the *next* restart must wait. ``updated_s``: when the last one was allowed. ``attempt``: of
    the container that it started, where instances are numbered."""

    delay_s: float
    updated_s: float
    attempt: int = 0


def remaining_s(rule: BackoffRule, entry: BackoffEntry | None, finished_s: float, now_s: float) -> float:
    """Seconds until a restart is allowed; 0 when it is allowed now."""
    if entry is None or _expired(rule, entry, finished_s):
        return 0.0
    return max(0.0, finished_s + entry.delay_s - now_s)


def advanced(
    rule: BackoffRule, entry: BackoffEntry | None, finished_s: float, now_s: float, attempt: int = 0,
) -> BackoffEntry:
    """The entry after a restart, as ``attempt``, was allowed at ``now_s`` of a container that ended at
    ``finished_s``."""
    if entry is None or _expired(rule, entry, finished_s):
        return BackoffEntry(rule.initial_s, now_s, attempt)
    return BackoffEntry(min(entry.delay_s * 2, rule.max_s), now_s, attempt)


def caught_up(rule: BackoffRule, entry: BackoffEntry, attempt: int, started_s: float) -> BackoffEntry:
    """The entry once restarts that were made and not remembered are counted: those up to ``attempt``, the newest
    container there is. An agent that dies between a start and the engine's answer leaves one. Errs on the side of
    waiting: it does not ask how long the container before ran."""
    missed = attempt - entry.attempt
    if missed <= 0:
        return entry
    return BackoffEntry(min(entry.delay_s * 2.0 ** min(missed, 32), rule.max_s), started_s, attempt)


def reconstructed(rule: BackoffRule, restarts: int, started_s: float) -> BackoffEntry | None:
    """The entry of a container whose agent lost its memory: after ``restarts`` restarts, the last one made at
    ``started_s``. Errs on the side of waiting."""
    if restarts <= 0:
        return None
    return BackoffEntry(rule.delay_s(restarts), started_s, restarts)


def _expired(rule: BackoffRule, entry: BackoffEntry, finished_s: float) -> bool:
    return finished_s - entry.updated_s > rule.reset_s
