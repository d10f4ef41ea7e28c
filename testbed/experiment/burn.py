"""What a disruption costs of an error budget, and which burn-rate alerts it would have fired. Pure.

The pages are those of the Google SRE workbook, chapter 5 (table 5-8): 14.4 times the allowed rate over an hour and
over its last five minutes, 6 times over six hours and the last thirty minutes. A run is shorter than these windows, so
the time before it counts as time without a bad request at the pulse's rate: what *this alone* would have fired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from testbed.experiment.result import Burn, BurnAlert

PAGES = ((14.4, 3600.0, 300.0), (6.0, 21600.0, 1800.0))  # factor, long and short window in seconds


def burn(bad_s: Sequence[float], due: int, rate: float, *, target: float, window_s: float) -> Burn:
    """The account of one stretch.

    Args:
        bad_s: due times of the bad requests, ascending. due: all requests of the stretch; more than 0.
        rate: requests per second; more than 0. target: below 1, e.g. 0.999; over ``window_s``.
    """
    allowed = 1 - target
    return Burn(
        target=target, window_s=window_s, bad=len(bad_s), rate=len(bad_s) / due / allowed, spent_s=len(bad_s) / rate,
        budget_s=allowed * window_s,
        alerts=tuple(BurnAlert(factor=factor, long_s=long_s, short_s=short_s,
                               at_s=_fired(bad_s, rate, allowed * factor, long_s, short_s))
                     for factor, long_s, short_s in PAGES),
    )


def _fired(bad_s: Sequence[float], rate: float, ratio: float, long_s: float, short_s: float) -> float | None:
    """When the share of bad requests is first at ``ratio`` over both windows. It can only become so at a bad one."""
    for count, at_s in enumerate(bad_s, start=1):
        in_long = count - bisect_left(bad_s, at_s - long_s)
        in_short = count - bisect_left(bad_s, at_s - short_s)
        if in_long >= ratio * rate * long_s and in_short >= ratio * rate * short_s:
            return at_s
    return None
