"""What a test asserts about a recovery: plain numbers of seconds and counts.

A moment that never came is infinity, so that ``< 2`` fails and ``> 2`` says what it means; a number that nobody could
have measured is an error, never 0 and never None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from testbed.errors import UsageError
from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, Requests


@dataclass(frozen=True, repr=False)
class Recovery:
    """How the cluster got over one fault. ``disruption``: the whole timeline, with its causes."""

    name: str
    disruption: Disruption | None
    measures_clients: bool = False

    @property
    def detection(self) -> float:
        """Seconds from the injection until anything in the cluster's own view showed it."""
        return _or_never(self.disruption.detection_s if self.disruption else None)

    @property
    def isolation(self) -> float:
        """Seconds from the injection until no new request could reach the victim."""
        return _or_never(self.disruption.isolation_s if self.disruption else None)

    @property
    def repair(self) -> float:
        """Seconds from the injection until as many pods as desired were ready again."""
        return _or_never(self.disruption.repair_s if self.disruption else None)

    @property
    def outage(self) -> float:
        """Seconds in which clients got no right answer, all outages together; one that did not end is infinity.

        Raises: UsageError when no load ran.
        """
        self._need_clients("outage")
        outages = self.disruption.outages if self.disruption else ()
        return math.inf if any(not item.ended for item in outages) else math.fsum(item.seconds for item in outages)

    @property
    def requests(self) -> Requests:
        """What became of the requests: ``due``, ``ok``, ``failed``, ``late``, ``unsent``. Raises: UsageError when no
        load ran."""
        self._need_clients("requests")
        return self.disruption.requests if self.disruption else Requests()

    def _need_clients(self, what: str) -> None:
        if not self.measures_clients:
            raise UsageError(f"nobody sent requests, so there is no {what}",
                             hint="with testbed.load(\"web\", rate=100): ..., or pulse=... in the marker")

    def __repr__(self) -> str:
        said = [f"{word} {_said(seconds)}" for word, seconds in (
            ("detected", self.detection), ("isolated", self.isolation), ("repaired", self.repair))]
        if self.measures_clients:
            said += [f"outage {_said(self.outage)}", f"{self.requests.failed} of {self.requests.due} requests failed"]
        return f"{self.name}: " + ", ".join(said)


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _said(seconds: float) -> str:
    return "never" if math.isinf(seconds) else say_duration(seconds)
