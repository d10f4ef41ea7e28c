"""A repetition whose method is somebody else's code: what a test does in a ``with`` block.

The phases, the load, the undo and the timeline are those of every repetition; only what is done when is decided
outside: a fault is injected and verified when it is asked for, and taken back when the code is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.api.resources import DEPLOYMENTS
from testbed.client.informer import key_of
from testbed.errors import InvalidInput
from testbed.experiment import phases
from testbed.experiment.documents import Document
from testbed.experiment.embedded import check_fault, fault_kinds, fault_resource
from testbed.experiment.engine_witness import witness_of
from testbed.experiment.evidence import Observer
from testbed.experiment.field_mistakes import pydantic_mistakes
from testbed.experiment.interrupts import Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.kind import API_VERSION, KIND, Experiment, Step
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.method import Method
from testbed.experiment.phases import RepetitionRunner
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import disruptions, ended_acts, run_result
from testbed.experiment.result import EXIT_CODES, Disruption, Result, Verdict
from testbed.experiment.saving import write_result
from testbed.experiment.stopping import RunStopped
from testbed.experiment.victims import LogKeeper

Json = dict[str, Any]


class HeldMethod(Method):
    """Goes on until ``release``, or until nothing can be seen any more. ``begun``: the load runs and the calm before
    was seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.begun = asyncio.Event()
        self._released = asyncio.Event()
        self._stopped: RunStopped | None = None  # what ended it before its time

    def release(self) -> None:
        """The code is done: what is still in force is taken back, and the repetition ends."""
        self._released.set()

    async def run(self) -> None:
        self.repetition.method_began = began = self.observer.now()
        await self.load.begin_stages()
        self.begun.set()
        watching = asyncio.create_task(self._watch())
        released = asyncio.create_task(self._released.wait())
        try:
            await asyncio.wait({watching, released}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        except RunStopped as stop:
            self._stopped = stop
            raise
        finally:
            for task in (watching, released):
                task.cancel()
            await asyncio.gather(watching, released, return_exceptions=True)
            self.refresh()
            self.repetition.note_phase("inject", began, self.observer.now())

    def _go_on(self) -> None:
        """Raises: RunStopped when it has ended: what is in force is being taken back without whoever asks."""
        if self._stopped is not None:
            raise RunStopped(self._stopped.verdict, self._stopped.reason)

    async def _wait(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """False when the time is over. Raises: RunStopped."""
        held = await self.observer.wait(lambda: self._stopped is not None or holds(), timeout_s)
        self._go_on()
        return held

    def _fault_kinds(self) -> set[str]:
        return {str(fault.get("kind")) for fault in self.doer.faults.values()}

    async def inject(self, step: Step) -> None:
        """Returns when the fault is verified. Raises: RunStopped when it has no effect; ApiError."""
        self._go_on()
        self.keep_logs_before(step)
        act = await self.doer.do(step, self.observer.now(), 0.0)
        self.repetition.acts = ended_acts(self.repetition.acts, act)
        try:
            await self.verify(step)
        except RunStopped as stop:
            self._go_on()
            self.repetition.verdict, self.repetition.reason = stop.verdict, stop.reason
            raise

    async def take_back(self, step: Step, *, recover: bool) -> None:
        """Undoes one fault and, with ``recover``, waits until all is well again or the step's timeout is over.

        Raises: RunStopped when it cannot be undone; ApiError.
        """
        self._go_on()
        name = self.doer.fault_name(step.name)
        await self.doer.undo(step.name)
        if not await self._wait(lambda: bool(self.observer.faults.get(name, {}).get("gone")), phases.UNDO_TIMEOUT_S) \
                and not await self.doer.is_gone(step.name):
            raise RunStopped(Verdict.UNDO_FAILED, f"{step.name} is still in force")
        self.doer.journal.undone(name)
        if recover and not await self._wait(lambda: self.is_settled(step.name), step.timeout):
            self.note_timeout(step)
        self.keep_logs_of(step)
        if recover and self.load.pulse is not None:
            await asyncio.sleep(self.spec.observe)  # for the last answers, and for latency to be seen normal

    def measured(self, name: str) -> Disruption | None:
        """The timeline of one fault as it is known now."""
        clients = self.clients()
        self.refresh()
        found = disruptions(self.repetition, clients, until=self.observer.now()).disruptions
        return next((item for item in found if item.name == name), None)


class HeldRepetition(RepetitionRunner):
    """A repetition whose method is held from outside."""

    def __init__(self, loaded: LoadedExperiment, platform: Platform, **more: Any) -> None:
        super().__init__(loaded, platform, **more)
        # Which faults will come is not known yet: all kinds are watched.
        resources = [fault_resource({"apiVersion": version, "kind": kind}) for version, kind in sorted(fault_kinds())]
        self.observer = Observer(platform.client, self.spec.namespace, resources, witness_of(platform))
        self.repetition.evidence, self.repetition.start_ns = self.observer.evidence, self.observer.start_ns
        self.method: HeldMethod = HeldMethod(
            self.spec, platform, self.observer, self.doer, self.load, self.repetition, self.tell, self.method.logs)


class HeldRun:
    """One such repetition from its beginning to its result. ``folder``: where its files go, made here."""

    def __init__(
        self, platform: Platform, folder: Path, tell: Callable[[str], None], *, name: str, namespace: str = "default",
        pulse: Json | None = None,
    ) -> None:
        """Raises: InvalidInput for a pulse with mistakes."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self.platform, self.name = folder, platform, name
        self.measures_clients = pulse is not None
        self._loaded = _held_experiment(name, namespace, pulse)
        self._namespace, self._tell = namespace, tell
        self._started_at = datetime.now(UTC)
        self._journal = Journal(folder, folder.name, name, 0)
        self._work: asyncio.Task[Any] | None = None
        self._runner: HeldRepetition | None = None
        self._logs = LogKeeper(platform)

    @property
    def runner(self) -> HeldRepetition:
        assert self._runner is not None, "begin comes first"
        return self._runner

    async def begin(self) -> None:
        """Returns when load runs and faults may come. Raises: RunStopped with what ended it before."""
        found = await self.platform.client.list(DEPLOYMENTS, self._namespace)
        self._runner = HeldRepetition(
            self._loaded, self.platform, run_id=self.folder.name, number=1, folder=self.folder, journal=self._journal,
            interrupts=Interrupts(self._tell), tell=self._tell, logs=self._logs,
            deployments=tuple(map(key_of, found.items)))
        self._work = asyncio.create_task(self._runner.run())
        begun = asyncio.create_task(self._runner.method.begun.wait())
        try:
            await asyncio.wait({self._work, begun}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        if not self._runner.method.begun.is_set():
            repetition = self._work.result()
            self._journal.finish(repetition.verdict.value, EXIT_CODES[repetition.verdict])
            raise RunStopped(repetition.verdict, repetition.reason)

    async def end(self) -> Result:
        """Takes back what is in force and measures. ``result.json`` is written too."""
        assert self._work is not None, "begin comes first"
        self.runner.method.release()
        run = run_result(await self._work)
        kept = await self._logs.keep(run, self.folder)
        run = run.model_copy(update={"logs": kept.logs, "logs_missing": kept.missing})
        result = Result(
            command="inject", run_id=self.folder.name, name=self.name, jitter=False,
            profile=self.platform.profile.name, started_at=self._started_at, ended_at=datetime.now(UTC),
            environment=await self.platform.environment(), verdict=run.verdict, exit_code=EXIT_CODES[run.verdict],
            reason=run.reason, runs=(run,), artefacts={"journal": "journal.json", "result": "result.json"})
        self._journal.finish(result.verdict.value, result.exit_code)
        write_result(result, self.folder)
        return result


def fault_step(name: str, fault: Json, timeout_s: float) -> Step:
    """Raises: InvalidInput when the fault has mistakes."""
    mistakes = list(check_fault(Document(fault, "fault"), ()))
    if mistakes:
        raise InvalidInput(mistakes)
    return Step.model_validate({"name": name, "fault": fault, "timeout": timeout_s})


def _held_experiment(name: str, namespace: str, pulse: Json | None) -> LoadedExperiment:
    value: Json = {
        "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name},
        "spec": {"namespace": namespace, "jitter": 0, "observe": "1s", "method": [{"name": "held", "wait": 0}],
                 **({"load": {"pulse": pulse}} if pulse else {})}}
    try:
        experiment = Experiment.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(pydantic_mistakes(error, Experiment, Document(value, "load"))) from None
    return LoadedExperiment(experiment, Path(name), (), {}, (), ())
