"""The word of a decision: what a plan wants to have told as an Event.

Plans carry notes, loops turn them into Events on the object that the plan is about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """``type`` is Normal or Warning; ``reason`` is Kubernetes' word."""

    reason: str
    message: str
    type: str = "Normal"
