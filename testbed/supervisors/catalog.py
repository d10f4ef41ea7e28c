"""Which other orchestrators a cluster can be given to, and what each of them needs. No driver is imported here.

What ``testbed up`` asks before anything is made: whether there is such a supervisor, which nodes it has, which images
must be there, which switches it knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.api.instance import ENGINE, NODE_KINDS, SLICE, TESTBED, Instance
from testbed.errors import InvalidInput


@dataclass(frozen=True)
class Supervisor:
    """One orchestrator.

    Attributes:
        package: with a module ``driver`` that has ``open_driver`` (protocol.py), and a module ``timers`` that has
            ``timers_of(instance)``, and ``timing_words(instance)``: what sets its pace, in words; and a module
            ``translate`` that has ``left_out(deployment, timers)``: what of it is not done, in lines.
        node_kinds: the first is the usual one. Nodes of kind slice are the machine's own engine: it is one, whatever
            number is asked for, and has no NodeInstance.
        most_nodes: with engines of their own.
        images: that must be on the machine's engine.
        options: its switches and their usual values. One that is "true" becomes part of the platform's name.
    """

    name: str
    summary: str
    package: str
    node_kinds: tuple[str, ...]
    most_nodes: int = 100
    images: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def node_kind(self, asked: str) -> str:
        """Raises: InvalidInput."""
        if asked not in NODE_KINDS:
            raise InvalidInput(f"there are no nodes of kind {asked!r}", hint="one of: " + ", ".join(NODE_KINDS))
        return asked if asked in self.node_kinds else self.node_kinds[0]

    def node_count(self, asked: int, kind: str) -> int:
        """How many nodes of its own the machine room keeps."""
        return 0 if kind == SLICE else min(asked, self.most_nodes)

    def checked_options(self, given: Mapping[str, str]) -> dict[str, str]:
        """All of its options. Raises: InvalidInput."""
        unknown = sorted(set(given) - set(self.options))
        if unknown:
            raise InvalidInput(f"{self.name} has no option {unknown[0]!r}",
                               hint="its options: " + (", ".join(self.options) or "none"))
        for name, usual in self.options.items():
            value = given.get(name, usual)
            if usual in ("true", "false") and value not in ("true", "false"):
                raise InvalidInput(f"option {name} of {self.name} is true or false, not {value!r}")
        return {**self.options, **given}


COMPOSE = Supervisor(
    name="compose", summary="plain Docker: restart policies and health checks, as Docker Compose sets them up",
    package="testbed.supervisors.compose", node_kinds=(SLICE, ENGINE), most_nodes=1,
    images=("testbed-gateway:1", "testbed-healthcheck:1"), options={"autoheal": "false", "equal-timers": "false"},
)
SWARM = Supervisor(
    name="swarm", summary="Docker Swarm services on engines of their own",
    package="testbed.supervisors.swarm", node_kinds=(ENGINE,),
    images=("testbed-gateway:1", "testbed-node:1", "testbed-healthcheck:1"),
    options={"equal-timers": "false"},
)
SUPERVISORS: dict[str, Supervisor] = {one.name: one for one in (COMPOSE, SWARM)}


# What an experiment may ask for: the supervisor and the switches that are on (``Instance.platform`` says it so).
PLATFORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "compose": ("compose", ()),
    "compose-autoheal": ("compose", ("autoheal",)),
    "compose-autoheal-equal-timers": ("compose", ("autoheal", "equal-timers")),
    "swarm": ("swarm", ()),
    "swarm-equal-timers": ("swarm", ("equal-timers",)),
}


def timing_words(instance: Instance) -> tuple[tuple[str, str], ...]:
    """What sets the pace of a foreign instance's recovery, in words: (what, value)."""
    package = supervisor(instance.supervisor).package
    words: tuple[tuple[str, str], ...] = importlib.import_module(f"{package}.timers").timing_words(instance)
    return words


_NOBODYS = frozenset({"StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet", "HorizontalPodAutoscaler",
                      "PodDisruptionBudget", "PersistentVolumeClaim"})


def left_out(instance: Instance, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an object the supervisor of a foreign instance does not do, each in one line."""
    kind = str(manifest.get("kind", ""))
    if kind == "Deployment":
        package = supervisor(instance.supervisor).package
        timers = importlib.import_module(f"{package}.timers").timers_of(instance)
        found: tuple[str, ...] = importlib.import_module(f"{package}.translate").left_out(manifest, timers)
        return found
    return ("nobody acts on it",) if kind in _NOBODYS or (kind == "Ingress" and not instance.routed) else ()


def supervisor(name: str) -> Supervisor:
    """Raises: InvalidInput when there is no such driver."""
    try:
        return SUPERVISORS[name]
    except KeyError:
        raise InvalidInput(f"there is no supervisor {name!r}",
                           hint="one of: " + ", ".join((TESTBED, *SUPERVISORS))) from None
