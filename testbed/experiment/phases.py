"""One repetition: steady, inject, verify, observe, undo, converge. Whatever happens, what was injected is undone.

What each phase found is collected in a `Repetition`; `repetition.py` makes the result of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.errors import ApiUnavailable, InvalidInput, TestbedError
from testbed.experiment.bookkeeping import Bookkeeper
from testbed.experiment.clients import Clients
from testbed.experiment.embedded import fault_resource
from testbed.experiment.engine_witness import witness_of
from testbed.experiment.evidence import Observer
from testbed.experiment.interrupts import Interrupted, Interrupts
from testbed.experiment.jitter import injection_jitter, longest_period
from testbed.experiment.journal import Journal
from testbed.experiment.kind import Condition, Step
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.loads import RunLoad
from testbed.experiment.objectives import holds_now, parse_objective, say_value
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import Repetition, disruptions, ended_acts
from testbed.experiment.result import Disruption, Phase, Verdict
from testbed.experiment.scene import first
from testbed.experiment.steady_state import SteadyState
from testbed.experiment.steps import Doer
from testbed.experiment.timeline import Act, disruption_of, settled
from testbed.experiment.undoing import silences_the_api, undo_all
from testbed.experiment.views import as_noise
from testbed.load.records import Record

Tell = Callable[[str], None]
BASELINE_S = 2.0  # of load before the method begins: the normal band needs it
VERIFY_TIMEOUT_S = 20.0
UNDO_TIMEOUT_S = 60.0
API_LOST_S = 30.0  # an API that is away for so long is lost to the run


class RunStopped(Exception):
    """The repetition ends here with this verdict. Never leaves this file."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason


class RepetitionRunner:
    """Carries out one repetition of ``loaded`` on ``platform``; artefacts go to ``folder``."""

    def __init__(
        self, loaded: LoadedExperiment, platform: Platform, *, run_id: str, number: int, folder: Path,
        journal: Journal, interrupts: Interrupts, tell: Tell, deployments: tuple[str, ...],
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
        self._done_waits: set[str] = set()

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
        await self._method()

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
            if found.verdict in (Verdict.PASSED, Verdict.OBJECTIVE_MISSED):
                found.verdict, found.reason = stop.verdict, stop.reason
            else:  # what is left is told whatever ended the run
                found.reason = f"{found.reason}; {stop.reason}"
        finally:
            found.watched_until = self.observer.now()
            self._refresh()
            found.pulse, found.locust = await self.load.stop(self.observer.start_ns, found.method_began)
            found.targets, found.generator = self.load.targets(), self.load.generator()
            if self.books is not None:
                self.tell("asking for what was written")
                found.state = await self.books.account(self._written())
            await self.observer.stop()

    async def _worked_off(self) -> None:
        """The backlog is as short as before, while load goes on: what it took is a part of the recovery."""
        if self.books is not None and not await self.books.drained(self.books.usual(self.repetition.method_began) + 1):
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
        try:
            yield
        finally:
            self._note_phase(name, start, self.observer.now())

    def _note_phase(self, name: str, start: float, end: float) -> None:
        self.repetition.phases.append(Phase.model_validate(
            {"name": name, "startS": round(start, 3), "endS": round(max(start, end), 3)}))

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

    # --- load

    def _clients(self) -> Clients | None:
        if self.load.pulse is None:
            return None
        self.repetition.targets = self.load.targets()
        self.repetition.pulse = self.load.pulse.data
        return self.repetition.clients()

    # --- method

    async def _method(self) -> None:
        """All steps, each at its time, until everything is settled and was watched a little longer."""
        found = self.repetition
        found.method_began = self.observer.now()
        began = found.method_began
        await self.load.begin_stages()
        tasks = [asyncio.create_task(self._step(index, step), name=step.name)
                 for index, step in enumerate(self.spec.method)]
        budget = asyncio.create_task(self._watch_budget())
        try:
            waiting = set(tasks)
            while waiting:
                done, _ = await asyncio.wait({*waiting, budget}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                waiting -= done
            await asyncio.sleep(self.spec.observe)
        finally:
            for task in (*tasks, budget):
                task.cancel()
            await asyncio.gather(*tasks, budget, return_exceptions=True)
            self._refresh()
            last_act = max((act.started for act in found.acts), default=began)
            verified = max((item.verified or act.started for act in found.acts for item in act.injections),
                           default=last_act)
            self._note_phase("inject", began, last_act)
            self._note_phase("verify", last_act, verified)
            self._note_phase("observe", max(verified, last_act), self.observer.now())

    async def _step(self, index: int, step: Step) -> None:
        """Waits for its moment, does it, verifies it, waits until it is settled. Raises: RunStopped."""
        await self._await_moment(index, step)
        if step.wait is not None:
            await asyncio.sleep(step.wait)
            self._done_waits.add(step.name)
            return
        if step.if_ is not None and not self._holds(step.name, step.if_):
            self._done_waits.add(step.name)
            return
        jitter_s = self._jitter(step)
        await asyncio.sleep(jitter_s)
        self.tell(step.name)
        try:
            act = await self.doer.do(step, self.observer.now(), jitter_s)
        except InvalidInput as error:
            if step.fault is None:
                raise
            raise RunStopped(Verdict.NO_EFFECT, f"{step.name}: {error.message}") from error
        self.repetition.acts = ended_acts(self.repetition.acts, act)
        if step.fault is not None:
            await self._verify(step)
        if not await self.observer.wait(lambda: self._settled(step.name), step.timeout):
            self.repetition.notes.append(f"{step.name}: not restored within {step.timeout:g} s")

    def _holds(self, name: str, condition: str) -> bool:
        """Whether a step is taken: its condition, measured now. One that cannot be measured does not hold."""
        clients = self._clients()
        self._refresh()
        self.repetition.watched_until = self.observer.now()
        found = disruptions(self.repetition, clients).disruptions
        objective = parse_objective(condition, [item.name for item in self.spec.method], 1)
        measured, held = holds_now(objective, found)
        told = f"{name}: {'taken' if held else 'not taken'}: {condition} ({say_value(measured, objective.unit)})"
        self.repetition.notes.append(told)
        self.tell(told)
        return held

    async def _await_moment(self, index: int, step: Step) -> None:
        name, mark = step.awaited
        if step.at is None and not name:  # after the step before it, or at once when it is the first
            if index == 0:
                return
            name, mark = self.spec.method[index - 1].name, "settled"
        if name:
            awaited = next(item for item in self.spec.method if item.name == name)
            if not await self.observer.wait(lambda: self._reached(name, mark), awaited.timeout + 600.0):
                raise RunStopped(Verdict.INCONCLUSIVE, f"{step.name} never began: {name}.{mark} did not come")
            return
        await asyncio.sleep(max(0.0, self.repetition.method_began + (step.at or 0.0) - self.observer.now()))

    def _reached(self, name: str, mark: str) -> bool:
        """Raises: RunStopped when the mark cannot come any more."""
        if name in self._done_waits:
            return True
        found = self._disruption(name)
        if found is None:
            return False
        if mark == "settled":
            return settled(found.marks) or self._timed_out(name)
        field = "in_rotation" if mark == "inRotation" else mark
        if found.marks.get(field) is not None:
            return True
        if self._timed_out(name) or (field != "stalled" and found.marks.stalled is not None and field == "restored"):
            raise RunStopped(Verdict.INCONCLUSIVE, f"{name}.{mark} did not come")
        return False

    def _timed_out(self, name: str) -> bool:
        return any(note.startswith(f"{name}: not restored") for note in self.repetition.notes)

    def _jitter(self, step: Step) -> float:
        """Only what something periodic must notice has a random part."""
        if step.fault is None or self.spec.jitter == 0:
            return 0.0
        templates = [deployment["spec"]["template"]["spec"]
                     for deployment in self.observer.evidence.deployment_json.values()]
        longest = longest_period(str(step.fault.get("kind")), templates, self.platform.profile)
        return injection_jitter(self.spec.seed, self.number, step.name, self.spec.jitter or longest)

    async def _verify(self, step: Step) -> None:
        """Raises: RunStopped when the fault did not take effect."""
        name = self.doer.fault_name(step.name)

        def ended() -> bool:
            records = self.observer.injections(name)
            return (bool(records) and all(item.verified is not None for item in records)) or bool(self._refusal(name))

        if not await self.observer.wait(ended, VERIFY_TIMEOUT_S) or self._refusal(name):
            why = self._refusal(name) or first_failure(self.observer, name) or "the chaos daemon did not report it"
            raise RunStopped(Verdict.NO_EFFECT, f"{step.name}: {why}")

    def _refusal(self, fault: str) -> str:
        """Why the daemon will not inject it (more): nothing selected, refused, or spent."""
        conditions = (self.observer.faults.get(fault, {}).get("status") or {}).get("conditions") or ()
        for condition in conditions:
            if condition.get("type") in ("Selected", "AllInjected") and condition.get("status") == "False" \
                    and condition.get("reason") not in (None, "", "Injecting", "Pending"):
                return str(condition.get("message") or condition.get("reason"))
        return ""

    # --- looking

    def _refresh(self) -> None:
        """Gives every fault's act its latest records."""
        self.repetition.acts = [
            replace(act, injections=self.observer.injections(self.doer.fault_name(act.name), act.started))
            if act.kind == "fault" else act for act in self.repetition.acts]

    def _disruption(self, name: str) -> Disruption | None:
        self._refresh()
        act: Act | None = next((item for item in self.repetition.acts if item.name == name), None)
        if act is None:
            return None
        found = disruption_of(act, self.observer.evidence, self.platform.profile, until=self.observer.now(),
                              attributed=False)
        return as_noise(found) if name in self.repetition.noise else found

    def _settled(self, name: str) -> bool:
        found = self._disruption(name)
        if found is None:
            return False
        superseded = any(act.name == name and act.ended is not None for act in self.repetition.acts)
        return settled(found.marks) or superseded

    def _fault_kinds(self) -> set[str]:
        return {str(step.fault.get("kind")) for step in self.spec.method if step.fault is not None}

    async def _watch_budget(self) -> None:
        """Raises: RunStopped when users were hurt more than the budget allows, or nothing can be seen any more. Never
        returns."""
        budget = self.spec.budget
        while True:
            await asyncio.sleep(0.25)
            if self.observer.away_s > API_LOST_S and not silences_the_api(self._fault_kinds()):
                raise RunStopped(Verdict.INCONCLUSIVE,
                                 f"the API was lost: no answer for {self.observer.away_s:.0f} s")
            if self.load.died:
                raise RunStopped(Verdict.INCONCLUSIVE, f"{self.load.died} ended before its time")
            if budget is None:
                continue
            clients = self._clients()
            if clients is None:
                continue
            failed, due = clients.failed_since(self.repetition.method_began)
            if budget.failed_requests is not None and failed > budget.failed_requests:
                raise RunStopped(Verdict.ABORTED, f"{failed} requests failed, the budget is {budget.failed_requests}")
            if budget.failed_ratio is not None and due >= 100 and failed / due > budget.failed_ratio:
                raise RunStopped(Verdict.ABORTED, f"{failed / due:.1%} of requests failed, the budget is "
                                                  f"{budget.failed_ratio:.1%}")
            longest_s = max((item.seconds for item in clients.outages(self.repetition.method_began)), default=0.0)
            if budget.outage is not None and longest_s > budget.outage:
                raise RunStopped(Verdict.ABORTED,
                                 f"an outage lasts {longest_s:.1f} s, the budget is {budget.outage:g} s")

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


def first_failure(observer: Observer, fault: str) -> str:
    failed = first(index for index, item in enumerate(observer.injections(fault)) if item.failure)
    return observer.injections(fault)[int(failed)].failure if failed is not None else ""
