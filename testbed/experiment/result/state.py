"""What became of what was written: acknowledged writes, the backlog behind them, and who was dragged along."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from testbed.experiment.result.value import Value


class Writes(Value):
    """Every acknowledged write was asked for at the end.

    Attributes:
        acknowledged: requests that were answered rightly. stored: of them, how many were found.
        lost: the others; ``lost_ids`` names some of them.
        in_doubt: requests without a right answer that were found stored all the same.
    """

    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    in_doubt: int = 0
    lost_ids: tuple[str, ...] = ()


class BacklogSample(Value):
    """``length`` None: nobody answered."""

    at_s: float
    length: float | None


class Backlog(Value):
    """From a disruption on.

    Attributes:
        peak: the longest that was seen; ``usual``: the longest before.
        drained_s: seconds from the injection until it was back at the usual and stayed there; None: not while it was
            watched.
        drain_s: of them, those after everything was restored: what working it off took.
        unknown_s: for how long nobody could say.
        uncertainty_s: the time between two looks.
    """

    peak: float | None = None
    usual: float = 0.0
    drained_s: float | None = None
    drain_s: float | None = None
    unknown_s: float = 0.0
    uncertainty_s: float = 0.0


class Reached(Value):
    """A Deployment that the disruption did not hit, and that suffered all the same. ``after_s``: since the injection;
    ``lasted_s`` None: until the end of what was watched."""

    deployment: str
    how: Literal["unready", "restarted"]
    after_s: float
    lasted_s: float | None = None
    pods: int = 1


class StateView(Value):
    """Of a whole run. ``problem``: why the writes could not be accounted for."""

    writes: Writes | None = None
    samples: tuple[BacklogSample, ...] = Field(default=())
    problem: str = ""
