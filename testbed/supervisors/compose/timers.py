"""Plain Docker's own timers, and what can be set. Pure.

Sources: moby restartmanager (100 ms doubling to 1 min, anew after 10 s of life), docker-autoheal's docker-entrypoint
(AUTOHEAL_INTERVAL 5, AUTOHEAL_DEFAULT_STOP_TIMEOUT 10), the Compose specification (stop_grace_period 10 s).
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.api.instance import Instance


@dataclass(frozen=True)
class Timers:
    """Of autoheal. ``stop_grace_s``: of its restarts. ``equal``: as a kubelet where that can be set: the grace is the
    liveness probe's or the pod's."""

    autoheal: bool = False
    interval_s: float = 5.0
    stop_grace_s: int = 10
    equal: bool = False

    def words(self) -> tuple[tuple[str, str], ...]:
        """What stands beside the figures."""
        healer = (f"autoheal looks every {self.interval_s:g} s, stops with a grace of "
                  + ("the liveness probe's or the pod's" if self.equal else f"{self.stop_grace_s} s"))
        return (
            ("restart after a crash", "Docker's back-off: 100 ms, doubling to 1 min, anew after 10 s of life"),
            ("unhealthy containers", healer if self.autoheal else "nobody restarts them"),
            ("probes", "one health check: the liveness probe's times, else the readiness probe's"),
            ("routing", "Docker's DNS, asked every 100 ms: all that run, healthy or not"),
        )


def timers_of(instance: Instance) -> Timers:
    """``equal-timers``: autoheal looks as often as a kubelet probes, and stops as a kubelet does."""
    options = instance.supervisor_options
    autoheal, equal = options.get("autoheal") == "true", options.get("equal-timers") == "true"
    return Timers(autoheal, interval_s=1.0, equal=True) if equal else Timers(autoheal)


def timing_words(instance: Instance) -> tuple[tuple[str, str], ...]:
    return timers_of(instance).words()
