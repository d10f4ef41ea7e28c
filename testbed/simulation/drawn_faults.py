"""Registered faults, drawn for a scenario: each as its ``example`` says, on the pods of a Deployment or their nodes.

Draws from a source of its own, so that a seed without such faults plays as it always did. Left out: faults of the
control plane (scenarios restart it themselves), and what needs nodes or a registry that a scenario does not have.
"""

from __future__ import annotations

import asyncio
import copy
import random
from dataclasses import dataclass
from typing import Any

from faults.protocol import Fault
from faults.registry import Registry
from testbed.api import labels
from testbed.errors import ApiError
from testbed.simulation.world import World

Json = dict[str, Any]

_LOOK_S = 0.25
_AFTER_S = 8.0  # probes that failed under the fault may complete their row when it is over


@dataclass(frozen=True)
class DrawnFault:
    """``at_s``: when; ``lasts_s``: its duration."""

    at_s: float
    fault: Fault
    lasts_s: float


def draw_faults(seed: int, count: int, span_s: float) -> list[DrawnFault]:
    draw = random.Random(f"{seed} faults")
    known = [fault for fault in Registry().faults()
             if fault.level != "cluster" and "slice" in fault.node_kinds and fault.kind.kind != "ImageChaos"]
    return [DrawnFault(draw.uniform(0.0, span_s), draw.choice(known), draw.uniform(0.5, 12.0)) for _ in range(count)]


def object_of(drawn: DrawnFault, name: str, app: str) -> Json:
    fault = drawn.fault
    spec = {"mode": "one", "selector": {"labelSelectors": {"app": app}}, **copy.deepcopy(fault.example)}
    if fault.action:
        spec["action"] = fault.action
    if fault.level == "container":
        spec.setdefault("containerNames", [app])
    if fault.reversible:
        spec["duration"] = f"{int(drawn.lasts_s * 1000)}ms"
    return {"apiVersion": fault.kind.api_version, "kind": fault.kind.kind, "metadata": {"name": name}, "spec": spec}


async def inject(world: World, drawn: DrawnFault, number: int, app: str) -> None:
    """As a person would; deleted when its time is over. Containers of ``app`` may be sick meanwhile, whoever is hit."""
    await asyncio.sleep(drawn.at_s)
    world.trace.add(f"ACT fault {drawn.fault.name} {drawn.lasts_s:.3f}")
    name, until_s = f"drawn-{number}", world.loop.time() + drawn.lasts_s + _AFTER_S
    try:
        await world.create(drawn.fault.kind, object_of(drawn, name, app))
        while world.loop.time() < until_s:
            excuse(world, app)
            await asyncio.sleep(_LOOK_S)
        await world.delete(drawn.fault.kind, name)
    except ApiError as error:
        world.trace.add(f"fault refused: {error.reason}")


def excuse(world: World, app: str) -> None:
    for container in world.machine.containers.values():
        if container.spec.labels.get(labels.CONTAINER_NAME) == app:
            world.excuses.containers.add(container.id)
