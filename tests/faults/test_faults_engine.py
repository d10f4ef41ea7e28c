"""Faults on real containers: the kernel, not the engine's word, says whether they took effect and were undone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fault_bench import Bench

from faults.daemon import ChaosDaemon
from faults.holders import ProcessHolders
from faults.kinds import FREEZE_CHAOS, NODE_CHAOS, POD_CHAOS
from faults.ledger import Ledger
from faults.protocol import Site
from testbed.api import labels
from testbed.api.clock import SystemClock
from testbed.runtime.containers import ContainerSpec, ContainerState
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

pytestmark = pytest.mark.engine

WEB = {"labelSelectors": {"app": "web"}}


class RealBench(Bench):
    """The API in process; engine and host are this machine's; the room is still made up."""

    def __init__(self, directory: Path, engine: Engine, host: Host, instance_id: str) -> None:
        super().__init__(directory)
        self.engine, self.host, self.id = engine, host, instance_id
        self.made: list[str] = []

    async def real_pod(self, name: str, node: str = "n1") -> ContainerState:
        pod = await self.pod(name, node)
        spec = ContainerSpec(
            name=f"faults-{self.id}-{name}", image="testbed-pause:1", cgroup_parent=f"/testbed-{self.id}/{node}",
            labels={labels.INSTANCE: self.id, labels.ROLE: labels.ROLE_CONTAINER, labels.NODE: node,
                    labels.POD_UID: pod["metadata"]["uid"], labels.CONTAINER_NAME: "app", labels.ATTEMPT: "0"})
        self.made.append(await self.engine.create(spec))
        return await self.engine.start(self.made[-1])

    def start_daemon(self) -> None:
        self._ledger = Ledger(self.ledger_path)
        daemon = ChaosDaemon(
            self.client, self.engine, self.host, self.world, self._ledger, SystemClock(), self._random(),
            site=Site(self.id, self.directory, f"/testbed-{self.id}"), holders=ProcessHolders(self.directory))
        self._daemon = asyncio.create_task(daemon.run())

    @staticmethod
    def _random() -> Any:
        import random

        return random.Random(3)

    async def end(self) -> None:
        await self.kill_daemon()
        with contextlib.suppress(Exception):
            await self.host.thaw(f"/testbed-{self.id}/n1")
        for container in self.made:
            await self.engine.remove(container)
        await self.host.remove_cgroup(f"/testbed-{self.id}")
        await self.host.close()
        await self.engine.close()


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealBench]:
    engine = open_engine()
    identity = secrets.token_hex(6)
    bench = RealBench(tmp_path, engine, open_host(identity, engine), identity)
    await bench.begin()
    bench.start_daemon()
    try:
        yield bench
    finally:
        await bench.end()


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def stopped(pid: int) -> bool:
    """The kernel has the process in a freezer: cgroup v1 shows it as stopped in the disk wait state."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    waits = Path(f"/proc/{pid}/wchan").read_text() if os.geteuid() == 0 else "frozen"
    return state == "D" or "frozen" in waits or "refrigerator" in waits or "freez" in waits


async def test_a_crash_is_not_known_to_the_engine_as_a_persons_act(real: RealBench) -> None:
    victim = await real.real_pod("web-1")
    other = await real.real_pod("db-1")
    await real.fault(POD_CHAOS, {"action": "container-kill", "mode": "one", "containerNames": ["app"],
                                 "selector": {"pods": {"default": ["web-1"]}}})
    await real.until_condition(POD_CHAOS, "AllInjected")
    assert not exists(victim.pid)

    async def exited() -> bool:
        return (await real.engine.inspect(victim.id)).status == "exited"

    await real.until(exited)
    assert (await real.engine.inspect(victim.id)).exit_code == 137
    assert (await real.engine.inspect(other.id)).running


async def test_a_freeze_stops_the_processes_and_the_engine_still_says_running(real: RealBench) -> None:
    state = await real.real_pod("web-1")
    await real.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "500ms"})
    await real.until_condition(FREEZE_CHAOS, "AllInjected")
    assert stopped(state.pid)
    assert (await real.engine.inspect(state.id)).status == "running"
    await real.until_condition(FREEZE_CHAOS, "AllRecovered")
    assert not stopped(state.pid)


async def test_a_dead_daemons_freeze_is_ended_by_its_holder(real: RealBench) -> None:
    state = await real.real_pod("web-1")
    await real.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "1s"})
    await real.until_condition(FREEZE_CHAOS, "AllInjected")
    await real.kill_daemon()
    assert stopped(state.pid)

    async def thawed() -> bool:
        return not stopped(state.pid)

    await real.until(thawed)

    async def holder_gone() -> bool:
        return not list((real.directory / "holders").iterdir())

    await real.until(holder_gone)
    real.start_daemon()
    await real.until_condition(FREEZE_CHAOS, "AllRecovered")


async def test_a_target_that_is_killed_while_frozen_leaves_nothing(real: RealBench) -> None:
    state = await real.real_pod("web-1")
    await real.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "700ms"})
    await real.until_condition(FREEZE_CHAOS, "AllInjected")
    await real.host.kill_cgroup(f"/testbed-{real.id}/n1/{state.id}")
    await real.engine.remove(state.id)
    await real.until_condition(FREEZE_CHAOS, "AllRecovered")


async def test_a_frozen_node_stops_with_all_that_is_on_it_and_nothing_else(real: RealBench) -> None:
    here, there = await real.real_pod("web-1", "n1"), await real.real_pod("web-2", "n2")
    await real.fault(NODE_CHAOS, {"action": "freeze", "mode": "one", "selector": {"nodes": ["n1"]},
                                  "duration": "500ms"})
    await real.until_condition(NODE_CHAOS, "AllInjected")
    assert stopped(here.pid)
    assert not stopped(there.pid)
    await real.until_condition(NODE_CHAOS, "AllRecovered")
    assert not stopped(here.pid)


async def test_a_container_of_another_instance_is_never_hit(real: RealBench) -> None:
    state = await real.real_pod("web-1")
    await real.kill_daemon()
    real.id, mine = "0" * 12, real.id
    real.start_daemon()
    await real.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "10s"})

    async def told() -> bool:
        return any(event["type"] == "Failed" for record in await real.records(FREEZE_CHAOS)
                   for event in record["events"])

    await real.until(told)
    assert not stopped(state.pid)
    real.id = mine
