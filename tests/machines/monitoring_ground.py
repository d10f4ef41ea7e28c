"""Ground for the stack that watches a cluster: a state directory, the simulated engine, and programs that answer."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.api.instance_files import save_instance
from testbed.errors import EnvironmentProblem
from testbed.machines import monitoring
from testbed.machines.cleanup import clean
from testbed.machines.monitoring_plan import (
    ALERTMANAGER,
    PROMETHEUS,
    Order,
    Site,
    Wishes,
)
from testbed.machines.monitoring_seen import ALERTS, TARGETS
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.loop import VirtualClock, VirtualLoop, run_virtual

IMAGES = {PROMETHEUS: "testbed-prometheus:1", ALERTMANAGER: "testbed-alertmanager:1"}
ID, NEXT_ID, OTHER_ID = "7e57c0ffee11", "7e57c0ffee12", "7e57c0ffee13"


@dataclass
class Programs:
    """Answers for Prometheus and the others, where their containers run. ``health``: target to what it is said to be;
    ``broken``: part to the log with which it ends instead of getting ready."""

    machine: SimulatedMachine
    health: dict[str, str] = field(default_factory=lambda: {"api": "up", "agent": "up"})
    broken: dict[str, str] = field(default_factory=dict)

    async def ask(self, url: str) -> Any:
        address, _, path = url.removeprefix("http://").partition("/")
        container = next((item for item in self.machine.containers.values() if item.running
                          and item.spec.labels.get(labels.ADDRESS) == address), None)
        if container is None:
            raise EnvironmentProblem(f"{url} does not answer: refused")
        said = self.broken.get(container.spec.labels[labels.MONITORING])
        if said is not None:
            self.machine.write_log(container, said.encode())
            self.machine.exit(container, 1)
            raise EnvironmentProblem(f"{url} does not answer: refused")
        if f"/{path}" == TARGETS:
            return {"data": {"activeTargets": [{"labels": {"part": part}, "health": health, "lastError": "refused"}
                                               for part, health in self.health.items()]}}
        return {"data": {"alerts": []}} if f"/{path}" == ALERTS else "ready"


class Body(Protocol):
    def __call__(self, ground: Ground) -> Coroutine[Any, Any, None]: ...


class Ground:
    """A cluster's state directory, and an engine that has the images."""

    def __init__(self, loop: VirtualLoop, state: Path) -> None:
        self.machine = SimulatedMachine(random.Random(1), VirtualClock(loop))
        self.machine.add_image(*IMAGES.values(), "sample:v1")
        self.engine, self.programs, self.said = SimulatedEngine(self.machine), Programs(self.machine), list[str]()
        self.site = Site("shop", state / "testbed" / "shop", (os.geteuid(), os.getegid()))

    def cluster(self, identity: str = ID) -> Instance:
        """It comes up: its state directory is as `testbed up` leaves it."""
        instance = Instance("shop", identity, self.site.directory, "10.99.0.0/16", 29990, ())
        instance.directory.mkdir(parents=True, exist_ok=True)
        (instance.directory / "id").write_text(identity)
        instance.token_file.write_text("secret")
        save_instance(instance)
        return instance

    async def down(self) -> None:
        """`testbed down`."""
        await clean(self.site.directory, self.engine, lambda identity, _: SimulatedHost(self.machine, identity),
                    lambda step: None)

    async def up(self, instance: Instance | None, wishes: Wishes | None = None, **images: str) -> monitoring.Seen:
        order = Order(self.site, instance, {**IMAGES, **images}, wishes or Wishes())
        return await monitoring.start(self.engine, order, self.programs.ask, self.said.append)

    def containers(self) -> dict[str, SimulatedContainer]:
        return {item.spec.labels[labels.MONITORING]: item for item in self.machine.containers.values()
                if labels.MONITORING in item.spec.labels}

    async def dies(self, part: str) -> None:
        """It ends, and the engine has seen it."""
        self.machine.exit(self.containers()[part], 137)
        await asyncio.sleep(1)


def on_ground(body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, taken: tuple[int, ...] = ()) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("testbed.api.instance._MEMORY", tmp_path)
    monkeypatch.setattr(monitoring, "is_free", lambda port: port not in taken)

    async def main(loop: VirtualLoop) -> None:
        await body(Ground(loop, tmp_path))

    run_virtual(main)
