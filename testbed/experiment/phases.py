"""One repetition: steady, inject, verify, observe, undo, converge. Whatever happens, what was injected is undone.

What each phase found is collected in a `Repetition`; `repetition.py` makes the result of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.errors import ApiUnavailable, TestbedError
from testbed.experiment.bookkeeping import Bookkeeper
from testbed.experiment.embedded import fault_resource
from testbed.experiment.engine_witness import witness_of
from testbed.experiment.evidence import Observer
from testbed.experiment.interrupts import Interrupted, Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.kind_steady import Condition
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.loads import RunLoad
from testbed.experiment.method import Method
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import Repetition
from testbed.experiment.result import StateView, Verdict
from testbed.experiment.steady_state import SteadyState
from testbed.experiment.steps import Doer
from testbed.experiment.stopping import RunStopped
from testbed.experiment.undoing import undo_all
from testbed.experiment.victims import LogKeeper
from testbed.load.records import Record

Tell = Callable[[str], None]
BASELINE_S = 2.0  # of load before the method begins: the normal band needs it
UNDO_TIMEOUT_S = 60.0


class RepetitionRunner:
    """Carries out one repetition of ``loaded`` on ``platform``; artefacts go to ``folder``. ``logs``: keeps those of
    its victims."""

    def __init__(
        self, loaded: LoadedExperiment, platform: Platform, *, run_id: str, number: int, folder: Path,
        journal: Journal, interrupts: Interrupts, tell: Tell, deployments: tuple[str, ...],
        logs: LogKeeper | None = None,
    ) -> None:
        self.loaded, self.spec, self.platform = loaded, loaded.experiment.spec, platform
        self.folder, self.journal, self.interrupts, self.tell = folder, journal, interrupts, tell
        self.number = number
        faults = {fault_resource(step.fault) for step in self.spec.method if step.fault is not None}
        self.observer = Observer(platform.client, self.spec.namespace, sorted(faults, key=lambda kind: kind.kind),
                                 witness_of(platform))
        self.doer = Doer(platform.client, self.spec.namespace, run_id, number, journal, dict(loaded.applied),
                         self.spec.blast_radius.annotations, self.spec.seed)
        self.repetition = Repetition(
            number, datetime.now(UTC), self.observer.start_ns, self.observer.evidence, platform.profile, deployments,
            deadline_s=self.spec.load.pulse.deadline if self.spec.load.pulse else 1.0,
            noise=frozenset(step.name for step in self.spec.method if step.noise), slo=self.spec.slo,
        )
        self.repetition.step_targets = {step.name: step.pulse for step in self.spec.method if step.pulse}
        self.load = RunLoad(loaded, platform, folder, number)
        state = self.spec.state
        self.books = Bookkeeper(platform, self.spec.namespace, state, self.observer.now) if state else None
        self.method = Method(self.spec, platform, self.observer, self.doer, self.load, self.repetition, tell, logs)

    async def run(self) -> Repetition:
        """All phases. Raises nothing but cancellation: everything else is the repetition's verdict."""
        found = self.repetition
        steady = SteadyState(self.platform, self.spec.namespace)
        try:
            await self._guarded(self._until_observed(steady))
        except RunStopped as stop:
            found.verdict, found.reason = stop.verdict, stop.reason
        finally:
            await self._afterwards(steady)
        found.duration_s = self.observer.now()
        return found

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self.interrupts.guard(work)
        except Interrupted:
            raise RunStopped(Verdict.INTERRUPTED, "interrupted by the user") from None
        except RunStopped:
            raise
        except TestbedError as error:
            if isinstance(error, ApiUnavailable):
                raise RunStopped(Verdict.INCONCLUSIVE, f"the API was lost: {error.message}") from error
            verdict = Verdict.INCONCLUSIVE if error.exit_code == 9 else Verdict.ENVIRONMENT
            raise RunStopped(verdict, str(error)) from error
        except Exception as error:
            self.journal.note("a bug of ours", error=repr(error))
            raise RunStopped(Verdict.BUG, f"a bug of ours: {error!r}") from error

    async def _until_observed(self, steady: SteadyState) -> None:
        await self.observer.start()
        async with self._phase("steady"):
            await self._hold(steady, "before", Verdict.STEADY_STATE_NOT_MET)
            if await self.load.start():
                self.tell("load runs")
                if self.books is not None:
                    self.books.start()
                await asyncio.sleep(max(BASELINE_S, min(self.load.ramp_s + 1.0, 30.0)))
        await self.method.run()

    async def _afterwards(self, steady: SteadyState) -> None:
        """Undo always; converge when there is something to converge to; then the load and the watches end."""
        found = self.repetition
        try:
            async with self._phase("undo"):
                await self._undo()
            if found.verdict in (Verdict.PASSED, Verdict.ABORTED):
                async with self._phase("converge"):
                    await self._guarded(self._hold(steady, "after", Verdict.NOT_REGAINED))
                    await self._guarded(self._worked_off())
        except RunStopped as stop:
            self._worse(stop.verdict, stop.reason)  # what is left is told whatever ended the run
        finally:
            if self.observer.blind and self.observer.blind not in found.reason:
                self._worse(Verdict.INCONCLUSIVE, self.observer.blind)
            found.watched_until = self.observer.now()
            self.method.refresh()
            try:
                await self._end_load()
            finally:
                await self.observer.stop()

    def _worse(self, verdict: Verdict, reason: str) -> None:
        """A verdict that ended the run before stands, with this beside it."""
        found = self.repetition
        if found.verdict in (Verdict.PASSED, Verdict.OBJECTIVE_MISSED):
            found.verdict, found.reason = verdict, reason
        else:
            found.reason = f"{found.reason}; {reason}"

    async def _end_load(self) -> None:
        """Records that cannot be read (a full disk) are told; all else that was seen is kept."""
        found = self.repetition
        try:
            found.pulse, found.locust = await self.load.stop(self.observer.start_ns, found.healthy_until_s)
            found.targets, found.generator = self.load.targets(), self.load.generator()
        except TestbedError as error:
            self._worse(Verdict.INCONCLUSIVE, error.message)
        if self.books is not None:
            self.tell("asking for what was written")
            found.state = await self._account(self.books)

    async def _account(self, books: Bookkeeper) -> StateView:
        """Whoever interrupts waits for no backlog."""
        found, records = self.repetition, self._written()
        try:
            return await self.interrupts.guard(books.account(records))
        except Interrupted:
            if found.verdict in (Verdict.PASSED, Verdict.OBJECTIVE_MISSED):
                found.verdict, found.reason = Verdict.INTERRUPTED, "interrupted by the user"
            return await books.account(records, patient=False)

    async def _worked_off(self) -> None:
        """The backlog is as short as before, while load goes on: what it took is a part of the recovery."""
        if self.books is not None and not await self.books.back_to_usual(self.repetition.method_began):
            self.repetition.notes.append("the backlog did not get as short as before under load")

    def _written(self) -> Sequence[Record]:
        """What the pulse that writes has recorded."""
        wanted = self.spec.state.pulse if self.spec.state else ""
        target = next((item for item in self.repetition.targets if item.name == wanted), None)
        data = target.data if target is not None else self.repetition.pulse
        return data.records if data is not None else ()

    @contextlib.asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        start = self.observer.now()
        self.journal.note(f"phase {name}")
        self.repetition.enter(name)
        try:
            yield
        finally:
            self.repetition.note_phase(name, start, self.observer.now())

    # --- steady state

    async def _hold(self, steady: SteadyState, when: str, otherwise: Verdict) -> None:
        """Waits until every condition holds. Raises: RunStopped."""
        conditions = self._conditions(when)
        if not conditions:
            return
        self.tell("steady state" if when == "before" else "steady state again")
        results = await asyncio.gather(*(steady.hold(item, when, self.observer.now) for item in conditions))
        self.repetition.steady_states.extend(results)
        missed = [result for result in results if not result.met]
        if missed:
            raise RunStopped(otherwise, "; ".join(f"{result.what}: {result.message}" for result in missed))

    def _conditions(self, when: str) -> list[Condition]:
        """Before, the workload's own Deployments must be ready too, said or not: nothing is measured on a start."""
        conditions = list(self.spec.steady_state)
        said = {item.ready.deployment for item in conditions if item.ready is not None}
        if when == "before" and self.loaded.manifests:
            names = [key.rpartition("/")[2] for key in self.repetition.deployments
                     if key.startswith(f"{self.spec.namespace}/")]
            conditions += [Condition.model_validate({"ready": {"deployment": name}}) for name in names
                           if name not in said]
        return conditions

    # --- undo

    async def _undo(self) -> None:
        """Deletes every fault object and waits until each undo is verified. Raises: RunStopped."""
        if not self.doer.faults:
            return
        self.tell("undoing")
        undone = await undo_all(self.doer, self.observer, UNDO_TIMEOUT_S)
        for name in undone.gone:
            self.journal.undone(name)
        if undone.problems:
            raise RunStopped(Verdict.UNDO_FAILED, "; ".join(undone.problems))
