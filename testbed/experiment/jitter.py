"""The random part of the moment of an injection.

A fault that always comes at the same phase of a probe's period measures that phase, not the probe. So the moment is
moved by a random part, uniform over the longest period in the chain that must notice, drawn from the seed and the
run's number, and stored with the run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.core.profile import Profile


def injection_jitter(seed: int, run: int, step: str, longest_period_s: float) -> float:
    """Seconds in [0, ``longest_period_s``), the same for the same seed, run and step."""
    return random.Random(f"{seed}/{run}/{step}").uniform(0.0, longest_period_s)


def longest_period(fault_kind: str, templates: Iterable[Mapping[str, Any]], profile: Profile) -> float:
    """The longest period, in seconds, of all that must notice a fault of this kind.

    Args:
        templates: pod specs (JSON) of the workloads that the fault may hit.
    """
    periods = [0.0]
    if fault_kind == "NodeChaos":
        periods += [profile.lease_renew_interval_s, profile.node_monitor_period_s]
    for spec in templates:
        for container in spec.get("containers") or ():
            for name in ("livenessProbe", "readinessProbe"):
                probe = container.get(name)
                if probe:
                    periods.append(float(probe.get("periodSeconds") or 10))
    return max(periods)
