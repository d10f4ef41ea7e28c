"""A probe that cannot be made is no evidence: its tick is discarded after three tries, counts neither way and is told.

Source: kubernetes pkg/kubelet/prober/worker.go doProbe, prober.go maxProbeRetries.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from node_world import pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.core.probing import ATTEMPTS
from testbed.errors import EngineError, HostError
from testbed.runtime.containers import ExecResult

PERIOD_S = 2
WRONG = {"exec": {"command": ["true"]}, "periodSeconds": PERIOD_S, "failureThreshold": 1}


class ExecsThatErr:
    """Both ways into containers, the host's and the engine's, which are broken while ``broken``."""

    def __init__(self, w: SimulatedWorld) -> None:
        self._host, self._engine = w.host.exec_in_container, w.engine.exec
        self.broken, self.asked = False, 0
        w.host.exec_in_container = self.by_host  # type: ignore[method-assign]
        w.engine.exec = self.by_engine  # type: ignore[method-assign]

    async def by_host(self, *arguments: Any, **more: Any) -> ExecResult:
        self.asked += 1
        if self.broken:
            raise HostError("the namespaces cannot be entered")
        return await self._host(*arguments, **more)

    async def by_engine(self, *arguments: Any, **more: Any) -> ExecResult:
        if self.broken:
            raise EngineError("the engine cannot run it")
        return await self._engine(*arguments, **more)


def test_an_error_neither_restarts_nor_unreadies_and_is_told(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        execs = ExecsThatErr(w)
        await w.start_agent()
        await w.create(pod("a", container={"livenessProbe": WRONG, "readinessProbe": WRONG}))
        await until(lambda: w.ready("a"), 30)
        execs.broken, before = True, execs.asked
        await asyncio.sleep(10 * PERIOD_S)
        assert execs.asked - before >= ATTEMPTS * 2 * 8  # both probes, three tries at every tick
        assert await w.ready("a")
        assert (await w.container("a"))["restartCount"] == 0
        assert any("errored" in item["message"] for item in await w.events("Unhealthy"))
        execs.broken = False
        await asyncio.sleep(3 * PERIOD_S)
        assert await w.ready("a")

    simulated(tmp_path, body)


def test_an_error_does_not_make_ready_either(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        execs = ExecsThatErr(w)
        execs.broken = True
        await w.start_agent()
        await w.create(pod("a", container={"readinessProbe": WRONG}))
        await until(lambda: execs.asked > 2 * ATTEMPTS, 30)
        assert not await w.ready("a")
        execs.broken = False
        await until(lambda: w.ready("a"), 30)

    simulated(tmp_path, body)
