"""How percentages of a Deployment become numbers of pods.

Source: kubernetes pkg/controller/deployment/util/deployment_util.go ResolveFenceposts, MaxSurge, MaxUnavailable.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.api.meta import IntOrString, scaled


@dataclass(frozen=True)
class Fenceposts:
    """How many pods a rollout may have above, and may lack below, the desired number."""

    surge: int
    unavailable: int


def resolve(max_surge: IntOrString, max_unavailable: IntOrString, desired: int) -> Fenceposts:
    """Surge rounds up, unavailable rounds down; when both come out as 0, one pod may be unavailable,
    since a rollout could not move otherwise. Unavailable never exceeds ``desired``.

    Raises: ValueError when one is neither a number nor a percentage.
    """
    surge = scaled(max_surge, desired, round_up=True)
    unavailable = scaled(max_unavailable, desired, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Fenceposts(surge=surge, unavailable=min(unavailable, desired))
