"""How an activity fails, and how a control ends a run."""

from __future__ import annotations


class ActivityFailed(Exception):
    """The activity gave no answer: it raised, was refused, could not start or took too long."""


class ControlInterrupted(Exception):
    """A control asked that the experiment be ended."""


def asks_to_interrupt(error: BaseException) -> bool:
    """Whether a control raised Chaos Toolkit's ``InterruptExecution``, whose package need not be installed."""
    return any(kind.__name__ == "InterruptExecution" for kind in type(error).__mro__)
