"""Runs an experiment: the cluster, the workload, every repetition, and at last the one result value.

It reaches the cluster through `testbed.client` alone, as it would a real Kubernetes. How one repetition goes is
`phases.py`'s; how a result looks is `testbed.report`'s.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from testbed.api.resources import DEPLOYMENTS
from testbed.errors import InvalidInput, TestbedError
from testbed.experiment.applying import Created, apply, deployments_in, remove
from testbed.experiment.interrupts import Interrupted, Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.objectives import judge
from testbed.experiment.phases import RepetitionRunner
from testbed.experiment.platforms.protocol import ClusterSource, Platform
from testbed.experiment.publishing import PublishedRun
from testbed.experiment.repetition import run_result
from testbed.experiment.result import (
    EXIT_CODES,
    Environment,
    ObjectiveResult,
    Result,
    RunResult,
    Verdict,
)
from testbed.experiment.statistics import over_runs

Tell = Callable[[str], None]


def new_run_id(name: str, now: datetime, generator: random.Random | None = None) -> str:
    """``lose-a-node-0207-x3f``: sortable within a day, unique enough within one machine."""
    draw = generator or random.SystemRandom()
    tail = "".join(draw.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(4))
    return f"{name[:30].rstrip('-')}-{now:%m%d%H%M}-{tail}"


@dataclass
class ExperimentRun:
    """One command's run. ``runs_folder``: where its own folder is made. ``keep``: leave the workload in the cluster.

    ``platform_profile`` and ``environment`` are known once the cluster is.
    """

    loaded: LoadedExperiment
    open_cluster: ClusterSource
    runs_folder: Path
    tell: Tell
    keep: bool = False
    command: Literal["experiment", "load", "inject"] = "experiment"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    runs: list[RunResult] = field(default_factory=list)
    environment: Environment = field(default_factory=Environment)
    profile: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = self.run_id or new_run_id(self.loaded.experiment.metadata.name, self.started_at)

    @property
    def folder(self) -> Path:
        return self.runs_folder / self.run_id

    async def run(self) -> Result:
        """Everything. The result is written to ``folder`` too, also when it was interrupted.

        Raises: TestbedError only for what went wrong before the first repetition began (nothing is applied then, or
        it was removed again).
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = self.loaded.experiment.spec
        journal = Journal(self.folder, self.run_id, self.loaded.experiment.metadata.name, spec.seed)
        self._keep_inputs()
        interrupts = Interrupts(self.tell)
        verdict, reason = Verdict.BUG, "the run did not end"
        try:
            with interrupts.watching():
                verdict, reason = await self._on_cluster(journal, interrupts)
        except Interrupted:
            verdict, reason = Verdict.INTERRUPTED, "interrupted by the user"
        except TestbedError as error:
            journal.finish(error.message, error.exit_code)
            raise
        except Exception as error:
            journal.finish(f"{Verdict.BUG.value}: {error!r}", EXIT_CODES[Verdict.BUG])
            raise
        result = self._result(verdict, reason)
        journal.finish(result.verdict.value, result.exit_code)
        self._write(result)
        return result

    def _keep_inputs(self) -> None:
        """The files as they were: a result without them cannot be repeated."""
        folder = self.folder / "manifests"
        folder.mkdir(exist_ok=True)
        for file in self.loaded.files:
            shutil.copyfile(file, folder / file.name)

    # --- the cluster and the workload

    async def _on_cluster(self, journal: Journal, interrupts: Interrupts) -> tuple[Verdict, str]:
        async with AsyncExitStack() as stack:
            cluster = self.open_cluster(self.loaded.experiment.spec.cluster)
            platform = await interrupts.guard(stack.enter_async_context(cluster))
            self.environment = await platform.environment()
            self.profile = platform.profile.name
            created: list[Created] = []
            published = PublishedRun(platform.client, self.loaded.experiment, self.run_id)
            await published.begin(self.started_at)
            verdict, reason = Verdict.BUG, "the run did not end"
            try:
                verdict, reason = await self._repeat(platform, journal, interrupts, created)
                return verdict, reason
            finally:
                await self._remove_workload(platform, created)
                await published.end(verdict.value, reason)

    async def _repeat(
        self, platform: Platform, journal: Journal, interrupts: Interrupts, created: list[Created]
    ) -> tuple[Verdict, str]:
        """Repetitions until all are done or one ends badly."""
        def note(made: Created) -> None:
            created.append(made)
            journal.created(made[0].kind, made[1] or "", made[2])

        spec = self.loaded.experiment.spec
        deployments = tuple(deployments_in(self.loaded.manifests, spec.namespace))
        for number in range(1, spec.runs + 1):
            self.tell(f"run {number} of {spec.runs}" if spec.runs > 1 else "workload")
            await interrupts.guard(apply(platform.client, self.loaded.manifests, spec.namespace, note))
            runner = RepetitionRunner(
                self.loaded, platform, run_id=self.run_id, number=number, folder=self.folder, journal=journal,
                interrupts=interrupts, tell=self.tell, deployments=deployments or await _named(self.loaded, platform))
            repetition = await runner.run()
            created.extend(runner.doer.created)
            result = run_result(repetition)
            self.runs.append(result)
            if result.verdict is not Verdict.PASSED:
                return result.verdict, f"run {number}: {result.reason}" if spec.runs > 1 else result.reason
        return Verdict.PASSED, ""

    async def _remove_workload(self, platform: Platform, created: Sequence[Created]) -> None:
        if self.keep or not created:
            return
        try:
            left = await remove(platform.client, created)
        except TestbedError as error:
            left = [error.message]
        if left:
            self.notes.append("left in the cluster: " + "; ".join(left))

    # --- the verdict

    def _result(self, verdict: Verdict, reason: str) -> Result:
        spec = self.loaded.experiment.spec
        trusted = [run for run in self.runs if not run.void_reason]
        objectives = tuple(judge(objective, trusted) for objective in self.loaded.objectives)
        if verdict is not Verdict.PASSED:  # what did not come in a run that was broken off was not missed, but not seen
            objectives = tuple(item if item.measured is not None else item.model_copy(update={"met": None})
                               for item in objectives)
        if verdict is Verdict.PASSED:
            verdict, reason = judged(objectives, self.runs)
        void = [run for run in self.runs if run.void_reason]
        notes = [*self.notes, *(f"run {run.number} is void: {run.void_reason}" for run in void)]
        if spec.jitter == 0 and self.command == "experiment":
            notes.append("jitter is off: every run meets the same phase of each period")
        return Result(
            command=self.command, run_id=self.run_id, name=self.loaded.experiment.metadata.name,
            file=self.loaded.file.name, seed=spec.seed, jitter=spec.jitter != 0, profile=self.profile,
            started_at=self.started_at, ended_at=datetime.now(UTC), environment=self.environment,
            verdict=verdict, exit_code=EXIT_CODES[verdict], reason=reason,
            objectives=objectives, runs=tuple(self.runs), statistics=over_runs(self.runs, spec.seed),
            artefacts=self._artefacts(), notes=tuple(notes),
        )

    def _artefacts(self) -> dict[str, str]:
        found = {"journal": "journal.json", "result": "result.json", "report": "report.html", "manifests": "manifests"}
        for path in sorted(self.folder.glob("locust*.html")) + sorted(self.folder.glob("pulse-*.csv")):
            found[path.stem] = path.name
        return found

    def _write(self, result: Result) -> None:
        write_result(result, self.folder)


def write_result(result: Result, folder: Path) -> Path:
    """``result.json`` in the run's folder."""
    path = folder / "result.json"
    path.write_text(json.dumps(result.to_json(), ensure_ascii=False))
    return path


def read_result(folder: Path) -> Result:
    """Raises: InvalidInput when there is no result of this version in ``folder``."""
    path = folder / "result.json"
    try:
        return Result.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InvalidInput(f"{folder.name} has no result", hint="see its journal.json for how far it came") from None
    except ValueError as error:
        raise InvalidInput(f"{path} is not a result of this version: {str(error).splitlines()[0]}") from None


def judged(objectives: Sequence[ObjectiveResult], runs: Sequence[RunResult]) -> tuple[Verdict, str]:
    """The verdict of runs that all went through."""
    missed = [item for item in objectives if item.met is False]
    if missed:
        return Verdict.OBJECTIVE_MISSED, "; ".join(item.text for item in missed)
    void = [run for run in runs if run.void_reason]
    if len(void) == len(runs):
        return Verdict.INCONCLUSIVE, "no run can be trusted: " + void[0].void_reason
    unknown = [item for item in objectives if item.met is None]
    if unknown:
        return Verdict.INCONCLUSIVE, "not measured: " + "; ".join(item.text for item in unknown)
    return Verdict.PASSED, ""


async def _named(loaded: LoadedExperiment, platform: Platform) -> tuple[str, ...]:
    """Without a workload of its own, an experiment watches the Deployments of its namespace."""
    found = await platform.client.list(DEPLOYMENTS, loaded.experiment.spec.namespace)
    return tuple(f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found.items)

