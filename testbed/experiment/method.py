"""The method of one repetition: every step at its moment, verified, until it is settled; and the budget meanwhile.

What comes before and after, and that all of it is undone, is `phases.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from testbed.errors import InvalidInput
from testbed.experiment.budget import BudgetWatch
from testbed.experiment.clients import Clients
from testbed.experiment.evidence import Observer
from testbed.experiment.jitter import injection_jitter, longest_period
from testbed.experiment.kind import ExperimentSpec, Step
from testbed.experiment.loads import RunLoad
from testbed.experiment.objectives import holds_now, parse_objective, say_value
from testbed.experiment.paging import with_alerts
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.repetition import Repetition, disruptions, ended_acts
from testbed.experiment.result import Disruption, Verdict
from testbed.experiment.scene import Group, last, state_at
from testbed.experiment.steps import Doer
from testbed.experiment.stopping import RunStopped
from testbed.experiment.timeline import Act, disruption_of, settled
from testbed.experiment.undoing import silences_the_api
from testbed.experiment.victims import LogKeeper, pods_of, takes_pods_away
from testbed.experiment.views import as_noise

VERIFY_TIMEOUT_S = 20.0
MARK_S = 600.0  # a mark that has not come by then, after its step's own timeout, does not come: the step may wait too
API_LOST_S = 30.0  # an API that is away for so long is lost to the run


@dataclass
class Method:
    """The steps of ``spec``. What comes of them is noted in ``repetition``."""

    spec: ExperimentSpec
    platform: Platform
    observer: Observer
    doer: Doer
    load: RunLoad
    repetition: Repetition
    tell: Callable[[str], None]
    logs: LogKeeper | None = None

    def __post_init__(self) -> None:
        self._done_waits: set[str] = set()
        self._not_restored: set[str] = set()  # steps whose timeout is over
        self._over: dict[str, Disruption] = {}  # by step: those that are settled

    async def run(self) -> None:
        """All steps, each at its time, until everything is settled and was watched a little longer."""
        found = self.repetition
        found.method_began = self.observer.now()
        found.enter("inject")
        began = found.method_began
        await self.load.begin_stages()
        tasks = [asyncio.create_task(self._step(index, step), name=step.name)
                 for index, step in enumerate(self.spec.method)]
        budget = asyncio.create_task(self._watch())
        try:
            waiting = set(tasks)
            while waiting:
                done, _ = await asyncio.wait({*waiting, budget}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                waiting -= done
            found.enter("observe")
            await asyncio.sleep(self.spec.observe)
        finally:
            for task in (*tasks, budget):
                task.cancel()
            await asyncio.gather(*tasks, budget, return_exceptions=True)
            self.refresh()
            last_act = max((act.started for act in found.acts), default=began)
            verified = max((item.verified or act.started for act in found.acts for item in act.injections),
                           default=last_act)
            self.repetition.note_phase("inject", began, last_act)
            self.repetition.note_phase("verify", last_act, verified)
            self.repetition.note_phase("observe", max(verified, last_act), self.observer.now())

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
        self.keep_logs_before(step)
        await asyncio.sleep(jitter_s)
        self.tell(step.name)
        self.repetition.enter("inject", step.name)
        try:
            act = await self.doer.do(step, self.observer.now(), jitter_s)
        except InvalidInput as error:
            if step.fault is None:
                raise
            raise RunStopped(Verdict.NO_EFFECT, f"{step.name}: {error.message}") from error
        self.repetition.acts = ended_acts(self.repetition.acts, act)
        if step.fault is not None:
            await self.verify(step)
        self.repetition.enter("observe", step.name)
        if not await self.observer.wait(lambda: self.is_settled(step.name), step.timeout):
            self.note_timeout(step)
        self.keep_logs_of(step)

    def note_timeout(self, step: Step) -> None:
        """It did not settle within its timeout; nobody waits for it any more."""
        self._not_restored.add(step.name)
        self.repetition.notes.append(f"{step.name}: not restored within {step.timeout:g} s")

    def keep_logs_before(self, step: Step) -> None:
        """Whom it will hit is not known yet, and afterwards there may be nobody left to ask."""
        if self.logs is not None and step.fault is not None and takes_pods_away(step.fault):
            pods = Group(self.observer.evidence, self.repetition.deployments).pods()
            now = state_at(pods, self.observer.now()).values()
            self.logs.take(pods_of(pod.key for pod in now), self.observer.now())

    def keep_logs_of(self, step: Step) -> None:
        """The next step may take them away."""
        if self.logs is not None and step.fault is not None:
            hit = self.observer.injections(self.doer.fault_name(step.name))
            self.logs.take(pods_of(item.target for item in hit), self.observer.now())

    def _holds(self, name: str, condition: str) -> bool:
        """Whether a step is taken: its condition, measured now. One that cannot be measured does not hold."""
        clients = self.clients()
        self.refresh()
        found = disruptions(self.repetition, clients, until=self.observer.now()).disruptions
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
            if not await self.observer.wait(lambda: self._reached(name, mark), awaited.timeout + MARK_S):
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
            return settled(found.marks) or name in self._not_restored
        field = "in_rotation" if mark == "inRotation" else mark
        if found.marks.get(field) is not None:
            return True
        if name in self._not_restored or (field == "restored" and found.marks.stalled is not None):
            raise RunStopped(Verdict.INCONCLUSIVE, f"{name}.{mark} did not come")
        return False

    def _jitter(self, step: Step) -> float:
        """Only what something periodic must notice has a random part."""
        if step.fault is None or self.spec.jitter == 0:
            return 0.0
        templates = [deployment["spec"]["template"]["spec"]
                     for deployment in self.observer.evidence.deployment_json.values()]
        longest = longest_period(str(step.fault.get("kind")), templates, self.platform.profile)
        return injection_jitter(self.spec.seed, self.repetition.number, step.name, self.spec.jitter or longest)

    async def verify(self, step: Step) -> None:
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

    def clients(self) -> Clients | None:
        """What the clients met so far; None without a pulse."""
        if self.load.pulse is None:
            return None
        self.repetition.targets = self.load.targets()
        self.repetition.pulse = self.load.pulse.data
        return self.repetition.clients()

    def refresh(self) -> None:
        """Gives every fault's act its latest records."""
        self.repetition.acts = [
            replace(act, injections=self.observer.injections(self.doer.fault_name(act.name), act.started))
            if act.kind == "fault" else act for act in self.repetition.acts]

    def _disruption(self, name: str) -> Disruption | None:
        self.refresh()
        act: Act | None = next((item for item in self.repetition.acts if item.name == name), None)
        if act is None:
            return None
        return self._marked(act, self.observer.now())

    def _marked(self, act: Act, until: float) -> Disruption:
        found = disruption_of(act, self.observer.evidence, self.platform.profile, until=until, attributed=False)
        return as_noise(found) if act.name in self.repetition.noise else found

    def so_far(self) -> list[Disruption]:
        """Every step that was begun as it is known now: its marks alone, and its alerts."""
        self.refresh()
        until = self.observer.now()
        found = [self._known(act, until) for act in self.repetition.acts]
        self._over.update({item.name: item for item in found if settled(item.marks)})
        return with_alerts(found, self.observer.evidence, until=until, started_at=self.repetition.started_at)

    def _known(self, act: Act, until: float) -> Disruption:
        """What is settled is not looked for again; only that its fault is taken back may still come."""
        known, undone = self._over.get(act.name), last(item.recovered for item in act.injections)
        if known is None:
            return self._marked(act, until)
        if undone == known.marks.undone:
            return known
        return known.model_copy(update={"marks": known.marks.model_copy(update={"undone": undone})})

    def is_settled(self, name: str) -> bool:
        """Whether nothing more is to be waited for after this step."""
        found = self._disruption(name)
        if found is None:
            return False
        superseded = any(act.name == name and act.ended is not None for act in self.repetition.acts)
        return settled(found.marks) or superseded

    def _fault_kinds(self) -> set[str]:
        return {str(step.fault.get("kind")) for step in self.spec.method if step.fault is not None}

    async def _watch(self) -> None:
        """Raises: RunStopped when users were hurt more than the budget allows, or nothing can be seen any more. Never
        returns."""
        began_ns = self.repetition.start_ns + int(self.repetition.method_began * 1e9)
        watch = BudgetWatch(self.spec.budget, began_ns) if self.spec.budget is not None else None
        while True:
            await asyncio.sleep(0.25)
            if self.observer.away_s > API_LOST_S and not silences_the_api(self._fault_kinds()):
                raise RunStopped(Verdict.INCONCLUSIVE,
                                 f"the API was lost: no answer for {self.observer.away_s:.0f} s")
            if self.observer.blind:
                raise RunStopped(Verdict.INCONCLUSIVE, self.observer.blind)
            if self.load.died:
                raise RunStopped(Verdict.INCONCLUSIVE, f"{self.load.died} ended before its time")
            pulse = self.load.pulse
            if watch is not None and pulse is not None and (over := watch.over(pulse.poll())):
                raise RunStopped(Verdict.ABORTED, over)


def first_failure(observer: Observer, fault: str) -> str:
    return next((item.failure for item in observer.injections(fault) if item.failure), "")
