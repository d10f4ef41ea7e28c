"""Swarm's own timers, as they are or as near to ours as they go. Pure.

Sources: moby/swarmkit manager/orchestrator/restart (delay), manager/dispatcher (heartbeat period, three of which make a
node lost), moby/moby libnetwork/networkdb over hashicorp/memberlist (gossip).
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.api.instance import Instance
from testbed.core.profile import PROFILES, Profile

_LOST_AFTER_BEATS = 3
_SHORTEST_BEAT_S = 1.0


@dataclass(frozen=True)
class Timers:
    """``restart_delay_s``: between the end of a task and the start of its successor. ``heartbeat_s``: of a node to its
    manager."""

    restart_delay_s: float = 5.0
    heartbeat_s: float = 5.0

    @property
    def node_lost_s(self) -> float:
        return _LOST_AFTER_BEATS * self.heartbeat_s

    def words(self) -> tuple[tuple[str, str], ...]:
        """What stands beside the figures."""
        return (
            ("restart delay", f"{self.restart_delay_s:g} s"),
            ("heartbeat", f"{self.heartbeat_s:g} s; a node is lost after {self.node_lost_s:g} s without"),
            ("out of rotation on a lost node", "by gossip, about 6 s"),
            ("balancing", "the gateway, in place of ip_vs"),
            ("probes", "one health check: the liveness probe's times, else the readiness probe's; unhealthy is ended"),
        )


def timing_words(instance: Instance) -> tuple[tuple[str, str], ...]:
    return timers_of(instance).words()


def timers_of(instance: Instance) -> Timers:
    return timers(PROFILES[instance.profile], equal=instance.supervisor_options.get("equal-timers") == "true")


def timers(profile: Profile, *, equal: bool) -> Timers:
    """``equal``: the first restart waits as long as ours, which is not at all; a node and its pods are given up after
    about as long as ours. Gossip has no setting."""
    if not equal:
        return Timers()
    given_up_s = profile.node_monitor_grace_s + profile.default_toleration_s
    return Timers(0.0, max(_SHORTEST_BEAT_S, round(given_up_s / _LOST_AFTER_BEATS, 1)))
