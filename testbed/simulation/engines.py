"""The container engine of a simulated node of kind engine, as EngineChaos breaks it.

Containers of all nodes are the one simulated machine's; what the node's agent is answered, and what becomes of its
containers when a killed engine comes back, is the node's own.
"""

from __future__ import annotations

import asyncio
import signal

from testbed.api import labels
from testbed.machines.protocol import EngineState
from testbed.runtime.simulated_machine import Hiccups, SimulatedMachine

KILL, FREEZE = "kill", "freeze"


class OwnEngine:
    def __init__(self, machine: SimulatedMachine, node: str) -> None:
        self._machine, self._node = machine, node
        self.hiccups = Hiccups()
        self._held: dict[str, tuple[str, asyncio.TimerHandle]] = {}

    def hold(self, key: str, act: str, deadline_s: float) -> None:
        if key in self._held:
            self._held.pop(key)[1].cancel()
        self._held[key] = (act, self._machine.later(deadline_s, self.free, key))
        self._machine.log(f"engine of {self._node}: {act}")
        self._obey()

    def free(self, key: str) -> None:
        if key in self._held:
            self._held.pop(key)[1].cancel()
            self._obey()

    def forget(self) -> None:
        """The power is off: the next engine is a new one."""
        for _, timer in self._held.values():
            timer.cancel()
        self._held.clear()
        self.hiccups.down = self.hiccups.silent = False

    def state(self) -> EngineState:
        process = "" if self.hiccups.down else "T" if self.hiccups.silent else "S"
        return EngineState(process, tuple(sorted(self._held)))

    def _obey(self) -> None:
        acts = {act for act, _ in self._held.values()}
        came_back = self.hiccups.down and KILL not in acts
        self.hiccups.down, self.hiccups.silent = KILL in acts, FREEZE in acts
        if came_back:
            self._end_containers()

    def _end_containers(self) -> None:
        """What a Docker engine does at its start with containers that it finds running, without live-restore (moby:
        daemon/daemon.go restore)."""
        self._machine.log(f"engine of {self._node}: is back and ends its containers")
        for container in tuple(self._machine.containers.values()):
            ours = container.spec.labels.get(labels.NODE) == self._node
            if ours and container.running and container.process is not None:
                self._machine.send_signal(container.process, signal.SIGKILL, "engine")
