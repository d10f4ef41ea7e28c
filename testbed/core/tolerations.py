"""Which taints a pod bears, and for how long.

Source: kubernetes staging component-helpers/scheduling/corev1/helpers.go; pkg/controller/tainteviction
getMinTolerationTime.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.api.core_v1 import Taint, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def first_intolerable(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: Sequence[str]
) -> Taint | None:
    return next(
        (
            taint for taint in taints
            if taint.effect in effects and not any(tolerates(toleration, taint) for toleration in tolerations)
        ),
        None,
    )


@dataclass(frozen=True)
class Patience:
    """How long a pod stays on a node with NoExecute taints. ``seconds`` None: for ever."""

    seconds: float | None
    reason: str


def patience(taints: Sequence[Taint], tolerations: Sequence[Toleration]) -> Patience:
    """The shortest of all tolerations that are used; 0 when a taint is not tolerated at all."""
    taints = [taint for taint in taints if taint.effect == "NoExecute"]
    if (taint := first_intolerable(taints, tolerations, ("NoExecute",))) is not None:
        return Patience(0.0, f"does not tolerate {taint.key}:{taint.effect}")
    used = [item for item in tolerations if any(tolerates(item, taint) for taint in taints)]
    limits = [item.toleration_seconds for item in used if item.toleration_seconds is not None]
    if not limits:
        return Patience(None, "tolerates all taints")
    seconds = max(min(limits), 0)
    return Patience(float(seconds), f"tolerationSeconds {seconds}")
