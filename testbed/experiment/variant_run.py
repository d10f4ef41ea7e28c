"""One variant on one platform: its repetitions, each from a clean start, and at last its result.

How one repetition goes is `phases.py`'s; whose turn it is, `turns.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from testbed.api.resources import DEPLOYMENTS
from testbed.errors import ApiUnavailable, EnvironmentProblem, TestbedError
from testbed.experiment.applying import Created, apply, deployments_in, remove
from testbed.experiment.clean_start import NOT_LISTED, ready_nodes, wait_for_nodes
from testbed.experiment.fingerprint import spec_hash
from testbed.experiment.gate import Gate
from testbed.experiment.interrupts import Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.machine_watch import MachineWatch
from testbed.experiment.objectives import judge
from testbed.experiment.phases import RepetitionRunner
from testbed.experiment.platforms.protocol import Platform, RunsAlone, folder_in
from testbed.experiment.published_status import Heading
from testbed.experiment.publishing import PublishedRun
from testbed.experiment.repetition import Repetition, run_result
from testbed.experiment.result import EXIT_CODES, Environment, ObjectiveResult, Result, RunResult, Verdict
from testbed.experiment.saving import keep_inputs, make_run_folder, write_result
from testbed.experiment.statistics import over_runs
from testbed.experiment.turns import FINAL, Repetitions, not_narrow, wants_more
from testbed.experiment.variants import Variant
from testbed.experiment.victims import LogKeeper
from testbed.experiment.void import told

Command = Literal["experiment", "load", "inject"]


class VariantRun:
    """``folder``: where its files go. ``keep``: leave the workload in the cluster after the last repetition. ``gate``:
    the baseline that its result is held against. ``called``: what tells it from the others of its command, where there
    are any."""

    def __init__(
        self, variant: Variant, *, run_id: str, folder: Path, started_at: datetime, interrupts: Interrupts,
        tell: Callable[[str], None], repetitions: Repetitions, keep: bool, command: Command,
        gate: Gate | None = None, called: str = "",
    ) -> None:
        self._called = called
        self.variant, self.loaded, self.spec = variant, variant.loaded, variant.loaded.experiment.spec
        self.run_id, self.folder, self.started_at = run_id, folder, started_at
        self.runs: list[RunResult] = []
        self.timing: tuple[tuple[str, str], ...] = ()
        self._interrupts, self._tell, self.repetitions = interrupts, tell, repetitions
        self._keep, self._command, self._gate = keep, command, gate
        self._given_up = (Verdict.PASSED, "")
        self._environment, self._profile = Environment(), ""
        self._created: list[Created] = []
        self._notes: list[str] = []
        self._nodes: frozenset[str] = frozenset()  # that were Ready when the command began
        make_run_folder(folder)
        keep_inputs(self.loaded, folder)
        self.journal = Journal(folder, run_id, self.loaded.experiment.metadata.name, self.spec.seed)
        self._platform: Platform | None = None
        self._published: PublishedRun | None = None

    async def begin(self, platform: Platform) -> None:
        """Gets to know its platform. Raises: TestbedError; nothing is applied then."""
        self._platform = platform
        self._environment = await platform.environment()
        self._profile, self.timing = platform.profile.name, platform.timing()
        self._notes.extend(await platform.prepare(self.loaded))
        if not isinstance(platform, RunsAlone):
            nodes = await self._interrupts.guard(ready_nodes(platform.client))
            self._nodes = nodes or frozenset()
            self._notes.extend([NOT_LISTED] if nodes is None else [])
        if platform.ours and not isinstance(platform, RunsAlone):
            heading = Heading(self.loaded.experiment.metadata.name, self._called or platform.name,
                              folder_in(platform, self.folder), self.started_at)
            self._published = PublishedRun(
                platform.client, self.loaded.experiment, self.run_id, heading, wanted=self.repetitions.runs,
                objectives=self.loaded.objectives, now=datetime.now(UTC), note=self.journal.note)
            self._published.begin()

    # --- repetitions

    @property
    def ended_badly(self) -> RunResult | None:
        """The run after which no other one makes sense."""
        return next((run for run in self.runs if run.verdict in FINAL), None)

    def give_up(self, error: Exception) -> None:
        """No further repetition: the next one could not begin, or something of ours is broken."""
        number = len(self.runs) + 1
        if not isinstance(error, TestbedError | OSError):
            self.journal.note("a bug of ours", error=repr(error))
            self._given_up = (Verdict.BUG, f"no run {number}: a bug of ours: {error!r}")
        elif isinstance(error, ApiUnavailable):
            self._given_up = (Verdict.INCONCLUSIVE, f"run {number} could not begin, the API was lost: {error}")
        else:
            self._given_up = (Verdict.ENVIRONMENT, f"run {number} could not begin: {error}")

    async def abandon(self, error: Exception) -> None:
        """Says that nothing was measured, and why: in the journal, and in the cluster where it is shown."""
        if isinstance(error, TestbedError):
            verdict, reason, exit_code = Verdict.ENVIRONMENT, error.message, error.exit_code
        else:
            verdict, exit_code = Verdict.BUG, EXIT_CODES[Verdict.BUG]
            reason = f"{verdict.value}: {error!r}"
        self.journal.finish(reason, exit_code)
        if self._published is not None:
            await self._published.end(verdict.value, reason, exit_code)

    @property
    def wants_more(self) -> bool:
        if self.ended_badly is not None or self._given_up[1]:
            return False
        return wants_more(self.runs, self.repetitions, self.spec.seed)

    async def once(self) -> None:
        """One repetition, from a clean start. Raises: Interrupted, TestbedError before it began."""
        platform, number = self._platform, len(self.runs) + 1
        assert platform is not None, "begin comes first"
        if isinstance(platform, RunsAlone):
            self.runs.append(await self._interrupts.guard(
                platform.repetition(self.loaded, run_id=self.run_id, number=number, folder=self.folder)))
            return
        if missing := await self._interrupts.guard(wait_for_nodes(platform.client, self._nodes)):
            self._notes.append(f"run {number} began without node {', '.join(missing)}, which is not Ready")
        try:
            await self._interrupts.guard(apply(platform.client, self.loaded.manifests, self.spec.namespace, self._note))
            logs = LogKeeper(platform)
            runner = RepetitionRunner(
                self.loaded, platform, run_id=self.run_id, number=number, folder=self.folder, journal=self.journal,
                interrupts=self._interrupts, tell=self._tell, logs=logs,
                deployments=tuple(deployments_in(self.loaded.manifests, self.spec.namespace))
                or await self._named(platform))
            if self._published is not None:
                self._published.follow(runner)
            try:
                async with MachineWatch() as watch:
                    repetition = await runner.run()
            finally:
                self._created.extend(runner.doer.created)
            repetition.machine = watch.load
            run = self._result_of(repetition)
            self.runs.append(run)
            kept = await logs.keep(run, self.folder)
            self.runs[-1] = run.model_copy(update={"logs": kept.logs, "logs_missing": kept.missing})
            if self._published is not None:
                self._published.measured(run, self.runs)
        finally:
            if not (self._keep and self.runs and not self.wants_more):
                await self._clean(platform)

    def _result_of(self, repetition: Repetition) -> RunResult:
        """What was seen as a result. A bug of ours in making it must not cost the repetitions before it."""
        try:
            return run_result(repetition)
        except Exception as error:
            self.journal.note("a bug of ours", error=repr(error))
            return RunResult(number=repetition.number, verdict=Verdict.BUG, reason=f"a bug of ours: {error!r}",
                             started_at=repetition.started_at, duration_s=round(repetition.duration_s, 3))

    def _note(self, made: Created) -> None:
        self._created.append(made)
        self.journal.created(made[0].kind, made[1] or "", made[2])

    async def _named(self, platform: Platform) -> tuple[str, ...]:
        """Without a workload of its own, an experiment watches the Deployments of its namespace."""
        found = await platform.client.list(DEPLOYMENTS, self.spec.namespace)
        return tuple(f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found.items)

    async def _clean(self, platform: Platform) -> None:
        """Takes away what this repetition brought: the next one begins from nothing."""
        created, self._created = self._created, []
        if not created:
            return
        try:
            left = await remove(platform.client, created)
        except TestbedError as error:
            left = [error.message]
        if left:
            self._notes.append("left in the cluster: " + "; ".join(left))

    # --- the result

    async def end(self, verdict: Verdict, reason: str) -> Result:
        """Its result, written to its folder. What goes wrong here is a part of the result: it ends no other variant's.

        Args: verdict: PASSED when nothing stopped the command as a whole; else why every variant ends here.
        """
        bad = self.ended_badly or next((run for run in self.runs if run.verdict is not Verdict.PASSED), None)
        if verdict is Verdict.PASSED and self._given_up[0] is Verdict.BUG:
            verdict, reason = self._given_up
        if verdict is Verdict.PASSED and bad is not None:
            verdict = bad.verdict
            reason = bad.reason if self.repetitions.runs == 1 else f"run {bad.number}: {bad.reason}"
        if verdict is Verdict.PASSED:
            verdict, reason = self._given_up
        try:
            result = self._result(verdict, reason)
        except Exception as error:  # what was measured is worth more than what is computed from it
            self.journal.note("a bug of ours", error=repr(error))
            result = self._measured().model_copy(update={
                "verdict": Verdict.BUG, "exit_code": EXIT_CODES[Verdict.BUG], "reason": f"a bug of ours: {error!r}"})
        if self._called and (wide := not_narrow(self.runs, self.repetitions, self.spec.seed)):
            self._tell(f"{self._called}: {wide}")  # the page of several variants has no room for their notes
        try:
            write_result(result, self.folder)
        except EnvironmentProblem as error:
            self._tell(error.message)
            if result.verdict is Verdict.PASSED:  # nobody can look at what it passed with
                result = result.model_copy(update={
                    "verdict": Verdict.ENVIRONMENT, "exit_code": error.exit_code, "reason": error.message})
        self.journal.finish(result.verdict.value, result.exit_code)
        if self._published is not None:
            await self._published.end(result.verdict.value, result.reason, result.exit_code, result.objectives)
        return result

    def _result(self, verdict: Verdict, reason: str) -> Result:
        unjudged = self._unjudged()
        comparison = self._gate.compared(unjudged) if self._gate is not None else None
        objectives = tuple(judge(objective, unjudged.trusted_runs, comparison) for objective in self.loaded.objectives)
        if verdict is not Verdict.PASSED:  # what did not come in a run that was broken off was not missed, but not seen
            objectives = tuple(item if item.measured is not None else item.model_copy(update={"met": None})
                               for item in objectives)
        if verdict is Verdict.PASSED:
            verdict, reason = judged(objectives, self.runs)
        if self._gate is not None and comparison is not None and verdict is Verdict.PASSED:
            reason = self._gate.missed(comparison)
            verdict = Verdict.OBJECTIVE_MISSED if reason else verdict
        return unjudged.model_copy(update={
            "verdict": verdict, "exit_code": EXIT_CODES[verdict], "reason": reason, "objectives": objectives,
            "comparison": comparison})

    def _unjudged(self) -> Result:
        """With everything that is computed from it, before anyone says what it means."""
        return self._measured().model_copy(update={
            "statistics": over_runs(self.runs, self.spec.seed), "notes": tuple(self._all_notes())})

    def _measured(self) -> Result:
        """What was measured, as it is."""
        return Result(
            command=self._command, run_id=self.run_id, name=self.loaded.experiment.metadata.name,
            file=self.loaded.file.name, seed=self.spec.seed, jitter=self.spec.jitter != 0, profile=self._profile,
            started_at=self.started_at, ended_at=datetime.now(UTC), environment=self._environment,
            verdict=Verdict.PASSED, exit_code=0, spec_hash=spec_hash(self.loaded.experiment),
            runs=tuple(self.runs), artefacts=self._artefacts(), notes=tuple(dict.fromkeys(self._notes)),
        )

    def _all_notes(self) -> list[str]:
        notes = [*dict.fromkeys(self._notes), *told([run.machine for run in self.runs]),
                 *(f"run {run.number} is void: {run.void_reason}" for run in self.runs if run.void_reason)]
        if wide := not_narrow(self.runs, self.repetitions, self.spec.seed):
            notes.append(wide)
        if self.spec.jitter == 0 and self._command == "experiment":
            notes.append("jitter is off: every run meets the same phase of each period")
        return notes

    def _artefacts(self) -> dict[str, str]:
        found = {"journal": "journal.json", "result": "result.json", "report": "report.html", "manifests": "manifests"}
        for path in sorted(self.folder.glob("locust*.html")) + sorted(self.folder.glob("pulse-*.csv")):
            found[path.stem] = path.name
        if (self.folder / "logs").is_dir():
            found["logs"] = "logs"
        return found


def judged(objectives: Sequence[ObjectiveResult], runs: Sequence[RunResult]) -> tuple[Verdict, str]:
    """The verdict of runs that all went through."""
    missed = [item for item in objectives if item.met is False]
    if missed:
        return Verdict.OBJECTIVE_MISSED, "; ".join(item.text for item in missed)
    if not any(run.trusted for run in runs):
        return Verdict.INCONCLUSIVE, "no run can be trusted: " + (runs[0].void_reason if runs else "there is none")
    unknown = [item for item in objectives if item.met is None]
    if unknown:
        return Verdict.INCONCLUSIVE, "not measured: " + "; ".join(item.text for item in unknown)
    return Verdict.PASSED, ""
