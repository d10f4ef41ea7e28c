"""The load of one repetition: the pulses and Locust as processes of their own, from their start to their data."""

from __future__ import annotations

import asyncio
from pathlib import Path

from testbed.errors import EnvironmentProblem
from testbed.experiment.kind_load import LocustSpec, PulseSpec
from testbed.experiment.load_results import Target, generator_uses
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.locust_load import LocustLoad
from testbed.experiment.platforms.protocol import Platform, PulseRun
from testbed.experiment.result import GeneratorUse, LocustResult
from testbed.experiment.targets import find_target
from testbed.load.ask import Ask
from testbed.load.profile import say_stages
from testbed.load.records import Follower, PulseData

START_TIMEOUT_S = 15.0
_KEPT_SHARE = 0.1  # of the rate, on kept connections, where they are asked for


class PulseProcess:
    """One target's requests, recorded in ``file``, by a pulse that the platform starts.

    Each target has a process of its own: one whose requests hang cannot take descriptors or time from another's, and
    what each costs is seen.
    """

    def __init__(self, platform: Platform, spec: PulseSpec, ask: Ask, file: Path) -> None:
        self.spec, self.ask, self.file = spec, ask, file
        self._platform = platform
        self._follower = Follower(file)
        self._run: PulseRun | None = None

    def arguments(self) -> list[str]:
        """Of ``python -m testbed.load.pulse``."""
        profile, ask = self.spec.profile, self.ask
        found = ["--url", ask.url, "--out", str(self.file), "--rate", f"{profile.rate:g}",
                 "--patience", f"{max(10.0, 2 * self.spec.deadline):g}", "--until-eof"]
        if self.spec.keep_alive:
            found += ["--keep-rate", f"{profile.rate * _KEPT_SHARE:g}"]
        if profile.stages:
            found.append("--hold")
        pairs = [("--stage", stage) for stage in say_stages(profile.stages)]
        pairs += [("--header", f"{name}: {value}") for name, value in ask.headers]
        pairs += [("--status", str(status)) for status in self.spec.status]
        pairs += [(flag, text) for flag, text in (("--host", ask.host), ("--body", ask.body), ("--send", ask.send),
                                                  ("--expect", ask.expect)) if text]
        if ask.method != "GET":
            pairs.append(("--method", ask.method))
        # One word, so that a text that begins with a dash is not taken for an option.
        return [*found, *(f"{flag}={text}" for flag, text in pairs)]

    @property
    def data(self) -> PulseData:
        """All that it has written up to the last ``poll``."""
        return self._follower.data

    def poll(self) -> PulseData:
        self._follower.poll()
        return self._follower.data

    def read_some(self, most_bytes: int) -> bool:
        """Reads what is new, at most so much; whether anything was. Raises: InvalidInput."""
        return bool(self._follower.poll(most_bytes))

    async def start(self) -> None:
        """Returns when it has begun. Raises: EnvironmentProblem with its own words when it does not."""
        self._run = await self._platform.start_pulse(self.arguments())
        loop = asyncio.get_running_loop()
        until = loop.time() + START_TIMEOUT_S
        while not self.poll().start:
            if self._run.ended or loop.time() > until:
                words = await self._run.stop()
                raise EnvironmentProblem(f"the pulse did not start: {words or 'no word from it'}")
            await asyncio.sleep(0.02)

    async def begin_stages(self) -> None:
        if self._run is not None and self.spec.stages:
            await self._run.begin_stages()

    @property
    def died(self) -> bool:
        return self._run is not None and self._run.ended

    async def stop(self) -> PulseData:
        """Lets it finish what is in flight; returns everything it recorded. Stopping twice is harmless."""
        if self._run is not None:
            await self._run.stop()
        return self.poll()


class RunLoad:
    """All load of one repetition: the pulses and Locust, as far as the experiment asks for them."""

    def __init__(self, loaded: LoadedExperiment, platform: Platform, folder: Path, number: int) -> None:
        self._loaded, self._spec = loaded, loaded.experiment.spec
        self._platform, self._folder, self._number = platform, folder, number
        self._pulses: list[PulseProcess] = []
        self.locust: LocustLoad | None = None

    @property
    def pulse(self) -> PulseProcess | None:
        """The first target's."""
        return self._pulses[0] if self._pulses else None

    @property
    def pulses(self) -> tuple[PulseProcess, ...]:
        return tuple(self._pulses)

    @property
    def ramp_s(self) -> float:
        """How long Locust takes to have all its users."""
        locust = self._spec.load.locust
        return locust.users / locust.spawn_rate if locust else 0.0

    async def start(self) -> bool:
        """Whether there is any. Raises: EnvironmentProblem, InvalidInput (the locustfile, the Service), LoadFailed."""
        for index, spec in enumerate(self._spec.load.pulses):
            target = await find_target(self._platform, self._spec.namespace, spec)
            stem = f"pulse-{self._number}" if index == 0 else f"pulse-{self._number}-{spec.called}"
            pulse = PulseProcess(self._platform, spec, spec.ask(target.address, target.host),
                                 self._folder / f"{stem}.csv")
            self._pulses.append(pulse)
            await pulse.start()
        locust = self._spec.load.locust
        if locust is not None and self._loaded.locustfile is not None:
            self.locust = LocustLoad(self._loaded.locustfile, await self._locust_url(locust), locust,
                                     folder=self._folder, number=self._number)
            await self.locust.start()
        return bool(self._pulses) or self.locust is not None

    async def begin_stages(self) -> None:
        """The method begins: from now on rates change as their stages say."""
        for pulse in self._pulses:
            await pulse.begin_stages()

    async def _locust_url(self, locust: LocustSpec) -> str:
        pulse = self._spec.load.pulse
        service = locust.service or (pulse.service if pulse else "")
        if not service:
            raise EnvironmentProblem("locust has no target", hint="give load.locust.service")
        port = locust.port or (pulse.port if pulse else None)
        return f"http://{await self._platform.address(self._spec.namespace, service, port)}"

    def known(self) -> tuple[Target, ...]:
        """Every pulse target with what was read of its records."""
        return tuple(Target(pulse.spec, pulse.data) for pulse in self._pulses)

    def targets(self) -> tuple[Target, ...]:
        """Every pulse target with all that it has recorded by now."""
        return tuple(Target(pulse.spec, pulse.poll()) for pulse in self._pulses)

    def generator(self) -> tuple[GeneratorUse, ...]:
        """What each process used of its core."""
        return generator_uses(self.targets(), self.locust.ticks() if self.locust is not None else {})

    @property
    def died(self) -> str:
        """What ended before its time, in words; "" when nothing did."""
        names = [pulse.spec.called for pulse in self._pulses if pulse.died]
        if not names:
            return "Locust" if self.locust is not None and self.locust.died else ""
        return "the pulse" if len(self._pulses) == 1 else f"the pulse of {names[0]}"

    async def stop(self, start_ns: int, healthy_until_s: float) -> tuple[PulseData | None, LocustResult | None]:
        """Ends all; what the first pulse and Locust measured.

        Args: start_ns: CLOCK_MONOTONIC at the start of the run. healthy_until_s: when the method began.

        Raises: InvalidInput when what a pulse wrote cannot be read; all have ended then too.
        """
        locust = None
        try:
            await asyncio.gather(*(pulse.stop() for pulse in self._pulses))
        finally:
            if self.locust is not None:
                locust = await self.locust.stop(start_ns, healthy_until_s)
        return self.pulse.data if self.pulse is not None else None, locust
