"""The platform that an experiment's runner meets inside the simulation: the cluster of a `World`, and clients that send
over its network. Everything that it hands out runs on the virtual loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from testbed.api import labels
from testbed.client.protocol import Client
from testbed.core.profile import Profile
from testbed.errors import NotFound
from testbed.experiment.engine_witness import EngineEvents, engine_events
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.observations import EngineSeen
from testbed.experiment.platforms.profile_words import timing_of
from testbed.experiment.platforms.protocol import Timing
from testbed.experiment.platforms.simulation import environment_of_simulation
from testbed.experiment.platforms.testbed import cluster_ip
from testbed.experiment.result import Environment
from testbed.load.ask import Ask
from testbed.load.open_loop import Pulse
from testbed.load.profile import say_stages
from testbed.load.pulse import arguments, ask_of, plan_of
from testbed.load.sink import FileSink, Flying
from testbed.runtime.simulated import SimulatedEngine
from testbed.simulation.asking import SimulatedSender, ask_once
from testbed.simulation.world import World


class SimulatedPlatform:
    """A `World` as a platform."""

    name = "simulation"
    cluster = "virtual time"
    ours = True

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def client(self) -> Client:
        return self._world.client

    @property
    def profile(self) -> Profile:
        return self._world.profile

    def timing(self) -> Timing:
        return timing_of(self.profile)

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        return ()

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        return await cluster_ip(self.client, namespace, service, port)

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        """Raises: NotFound."""
        found = [item for item in self._world.machine.containers.values()
                 if item.spec.labels.get(labels.POD_NAMESPACE) == namespace
                 and item.spec.labels.get(labels.POD_NAME) == pod
                 and item.spec.labels.get(labels.ROLE) != labels.ROLE_SANDBOX]
        if not found:
            raise NotFound(f"pod {pod} has no container")
        return b"\n".join(line for _, line in found[-1].logs[-lines:]).decode("utf-8", "replace")

    def engine_events(self) -> EngineEvents:
        world = self._world

        def events(start_ns: int) -> AsyncIterator[EngineSeen]:
            return engine_events(SimulatedEngine(world.machine, "witness"), world.instance_id, start_ns, world.clock)

        return events

    async def environment(self) -> Environment:
        return environment_of_simulation(len(self._world.room.nodes))

    async def http_get(self, url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str] | str:
        others = tuple((name, value) for name, value in headers.items() if name.lower() != "host")
        answer = await ask_once(Ask(url, host=headers.get("Host", ""), headers=others), timeout_s)
        if isinstance(answer, str):
            return answer
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head[9:12]), body.decode("utf-8", "replace")

    async def start_pulse(self, arguments: Sequence[str]) -> SimulatedPulseRun:
        return SimulatedPulseRun(arguments)


class SimulatedPulseRun:
    """`experiment.platforms.protocol.PulseRun`: ``python -m testbed.load.pulse`` with these arguments, on this loop."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Raises: UsageError."""
        options = arguments(argv)
        plan = replace(plan_of(options), max_in_flight=options.max_in_flight)  # no descriptor is needed
        loop = asyncio.get_running_loop()
        t0_ns = int((loop.time() + 0.05) * 1e9)
        self._stream: IO[bytes] = Path(options.out).open("xb", buffering=0)  # noqa: SIM115  (closed by stop)
        self._sink = VirtualSink(self._stream, {
            "url": options.url, "rate": plan.rate, "keep_rate": plan.keep_rate, "t0_ns": t0_ns,
            "stages": say_stages(plan.stages), "patience_s": plan.patience_s, "max_in_flight": plan.max_in_flight})
        self._pulse = Pulse(plan, SimulatedSender(ask_of(options)), self._sink.record)
        self._flushing = loop.create_task(self._sink.keep_flushing(self._pulse))
        self._running = loop.create_task(self._pulse.run(t0_ns, drain_s=options.drain_s))

    @property
    def ended(self) -> bool:
        return self._running.done()

    async def begin_stages(self) -> None:
        self._sink.note({"kind": "stages", "at_ns": self._pulse.begin_stages(0)})

    async def stop(self) -> str:
        self._pulse.stop()
        await self._running
        if not self._stream.closed:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            self._sink.note({"kind": "end", **self._sink.usage(self._pulse)})
            with self._stream:
                try:
                    self._sink.flush()
                except OSError as error:
                    return f"its file takes no more: {error.strerror}"
        return ""


class VirtualSink(FileSink):
    """A simulated pulse costs no time, and its clock is the loop's."""

    def usage(self, pulse: Flying) -> dict[str, Any]:
        return {"at_ns": int(asyncio.get_running_loop().time() * 1e9), "cpu_s": 0.0, "in_flight": pulse.in_flight}
