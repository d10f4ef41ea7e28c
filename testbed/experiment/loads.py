"""The load of one repetition: the pulse and Locust as processes of their own, from their start to their data."""

from __future__ import annotations

import asyncio
from pathlib import Path

from testbed.errors import EnvironmentProblem
from testbed.experiment.kind_load import LocustSpec
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.locust_load import LocustLoad
from testbed.experiment.platforms.protocol import Platform, PulseRun
from testbed.experiment.result import LocustResult
from testbed.experiment.targets import find_target
from testbed.load.records import Follower, PulseData

START_TIMEOUT_S = 15.0


class PulseProcess:
    """Open-loop requests to ``url``, recorded in ``file``, by a pulse that the platform starts."""

    def __init__(
        self, platform: Platform, url: str, file: Path, *, rate: float, keep_rate: float = 0.0,
        patience_s: float = 10.0, host: str = "",
    ) -> None:
        self.url, self.file, self.rate = url, file, rate
        self._platform = platform
        self._arguments = [
            "--url", url, "--out", str(file), "--rate", f"{rate:g}", "--keep-rate", f"{keep_rate:g}",
            "--patience", f"{patience_s:g}", "--until-eof", *(("--host", host) if host else ()),
        ]
        self._follower = Follower(file)
        self._run: PulseRun | None = None

    @property
    def data(self) -> PulseData:
        """All that it has written up to the last ``poll``."""
        return self._follower.data

    def poll(self) -> PulseData:
        self._follower.poll()
        return self._follower.data

    async def start(self) -> None:
        """Returns when it has begun. Raises: EnvironmentProblem with its own words when it does not."""
        self._run = await self._platform.start_pulse(self._arguments)
        loop = asyncio.get_running_loop()
        until = loop.time() + START_TIMEOUT_S
        while not self.poll().start:
            if self._run.ended or loop.time() > until:
                words = await self._run.stop()
                raise EnvironmentProblem(f"the pulse did not start: {words or 'no word from it'}")
            await asyncio.sleep(0.02)

    @property
    def died(self) -> bool:
        return self._run is not None and self._run.ended

    async def stop(self) -> PulseData:
        """Lets it finish what is in flight; returns everything it recorded. Stopping twice is harmless."""
        if self._run is not None:
            await self._run.stop()
        return self.poll()


class RunLoad:
    """All load of one repetition: the pulse and Locust, as far as the experiment asks for them."""

    def __init__(self, loaded: LoadedExperiment, platform: Platform, folder: Path, number: int) -> None:
        self._loaded, self._spec = loaded, loaded.experiment.spec
        self._platform, self._folder, self._number = platform, folder, number
        self.pulse: PulseProcess | None = None
        self.locust: LocustLoad | None = None

    @property
    def ramp_s(self) -> float:
        """How long Locust takes to have all its users."""
        locust = self._spec.load.locust
        return locust.users / locust.spawn_rate if locust else 0.0

    async def start(self) -> bool:
        """Whether there is any. Raises: EnvironmentProblem, InvalidInput (the locustfile, the Service), LoadFailed."""
        pulse, locust = self._spec.load.pulse, self._spec.load.locust
        if pulse is not None:
            target = await find_target(self._platform, self._spec.namespace, pulse)
            self.pulse = PulseProcess(
                self._platform, f"http://{target.address}{pulse.path}",
                self._folder / f"pulse-{self._number}.csv", rate=pulse.rate,
                keep_rate=pulse.rate / 10 if pulse.keep_alive else 0.0, patience_s=max(10.0, 2 * pulse.deadline),
                host=target.host)
            await self.pulse.start()
        if locust is not None and self._loaded.locustfile is not None:
            self.locust = LocustLoad(
                self._loaded.locustfile, await self._locust_url(locust), users=locust.users,
                spawn_rate=locust.spawn_rate, folder=self._folder, number=self._number)
            await self.locust.start()
        return self.pulse is not None or self.locust is not None

    async def _locust_url(self, locust: LocustSpec) -> str:
        pulse = self._spec.load.pulse
        service = locust.service or (pulse.service if pulse else "")
        if not service:
            raise EnvironmentProblem("locust has no target", hint="give load.locust.service")
        port = locust.port or (pulse.port if pulse else None)
        return f"http://{await self._platform.address(self._spec.namespace, service, port)}"

    async def stop(self, start_ns: int) -> tuple[PulseData | None, LocustResult | None]:
        """Ends both; what they measured. ``start_ns``: CLOCK_MONOTONIC at the start of the run."""
        pulse = await self.pulse.stop() if self.pulse is not None else None
        locust = await self.locust.stop(start_ns) if self.locust is not None else None
        return pulse, locust
