"""Runs an experiment: every platform that is wanted, every variant, each repetition in its turn; then the study.

It reaches the clusters through `testbed.client` alone, as it would a real Kubernetes. How one variant goes is
`variant_run.py`'s, how one repetition goes `phases.py`'s; how a result looks is `testbed.report`'s.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import EnvironmentProblem, TestbedError
from testbed.experiment.compare import compare_runs
from testbed.experiment.gate import Gate, failed_by
from testbed.experiment.interrupts import Interrupted, Interrupts
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.platforms.protocol import ClusterSource, Platform
from testbed.experiment.result import EXIT_CODES, Result, Study, Turn, VariantResult, Verdict, judging
from testbed.experiment.result.comparison import Comparison
from testbed.experiment.saving import make_run_folder, write_study
from testbed.experiment.turns import Repetitions, order
from testbed.experiment.variant_run import Command, VariantRun
from testbed.experiment.variants import Variant

Tell = Callable[[str], None]


def new_run_id(name: str, now: datetime, generator: random.Random | None = None) -> str:
    """``lose-a-node-0207-x3f``: sortable within a day, unique enough within one machine."""
    draw = generator or random.SystemRandom()
    tail = "".join(draw.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(4))
    return f"{name[:30].rstrip('-')}-{now:%m%d%H%M}-{tail}"


@dataclass
class ExperimentRun:
    """One command's run.

    Attributes:
        sources: what opens a platform, by its name. runs_folder: where the run's own folder is made.
        repetitions: how often each variant runs; None: as the first variant's experiment says.
        keep: leave the workload in the cluster; of several variants none is left.
        gate: the baseline that every variant's result is held against.
        decides: the variant whose verdict is the command's; another than the first is held against the first.
        fail_on: judgements of that comparison that fail the command.
    """

    variants: Sequence[Variant]
    sources: Callable[[str], ClusterSource]
    runs_folder: Path
    tell: Tell
    repetitions: Repetitions | None = None
    keep: bool = False
    command: Command = "experiment"
    gate: Gate | None = None
    decides: int = 0
    fail_on: tuple[str, ...] = ()
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    turns: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = self.run_id or new_run_id(self._deciding.loaded.experiment.metadata.name, self.started_at)

    @property
    def _first(self) -> Variant:
        return self.variants[0]

    @property
    def _deciding(self) -> Variant:
        return self.variants[self.decides]

    @property
    def folder(self) -> Path:
        return self.runs_folder / self.run_id

    async def run_alone(self) -> Result:
        """The result of the only variant. Raises: as ``run``."""
        return (await self.run()).variants[0].result

    async def run(self) -> Study:
        """Everything. The results are written to ``folder`` too, also when it was interrupted.

        Raises: TestbedError only for what went wrong before the first repetition began (nothing is applied then, or
        it was removed again).
        """
        make_run_folder(self.folder)
        interrupts = Interrupts(self.tell)
        runs = self._variant_runs(interrupts)
        results: list[Result] = []
        try:
            with interrupts.watching():
                async with AsyncExitStack() as stack:
                    results = await self._measured(runs, stack, interrupts)
        except Exception as error:  # a cluster that stays, or a bug in taking it down
            if not results:
                raise
            said = str(error) if isinstance(error, TestbedError) else f"a bug of ours: {error!r}"
            self.tell(f"what was measured is kept, but the end did not go well: {said}")
        study = self._study(runs, results)
        if len(runs) > 1:
            try:
                write_study(study, self.folder)
            except EnvironmentProblem as error:
                self.tell(error.message)
        return study

    async def _measured(
        self, runs: Sequence[VariantRun], stack: AsyncExitStack, interrupts: Interrupts,
    ) -> list[Result]:
        verdict, reason = Verdict.PASSED, ""
        try:
            await self._begin(runs, stack, interrupts)
            await self._in_turns(runs)
        except Interrupted:
            verdict, reason = Verdict.INTERRUPTED, "interrupted by the user"
        except Exception as error:
            for run in runs:
                await run.abandon(error)
            raise
        return [await run.end(verdict, reason) for run in runs]

    def _variant_runs(self, interrupts: Interrupts) -> list[VariantRun]:
        wanted = self.repetitions or Repetitions(self._first.loaded.experiment.spec.runs)
        alone = len(self.variants) == 1
        return [VariantRun(
            variant, run_id=self.run_id if alone else f"{self.run_id}-{index}",
            folder=self.folder if alone else self.folder / folder_name(index, variant.name),
            started_at=self.started_at, interrupts=interrupts, tell=self.tell, repetitions=wanted,
            keep=self.keep and alone,  # what one variant leaves standing would be changed, not made, by the next
            command=self.command, gate=self.gate, called="" if alone else variant.name)
            for index, variant in enumerate(self.variants, start=1)]

    async def _begin(self, runs: Sequence[VariantRun], stack: AsyncExitStack, interrupts: Interrupts) -> None:
        """Opens every platform before anything is applied anywhere. Variants of one platform share its cluster."""
        opened: dict[tuple[str, ClusterSpec], Platform] = {}
        for run in runs:
            key = (run.variant.platform, run.spec.cluster)
            if key not in opened:
                cluster = self.sources(run.variant.platform)(run.spec.cluster)
                opened[key] = await interrupts.guard(stack.enter_async_context(cluster))
            await run.begin(opened[key])

    async def _in_turns(self, runs: Sequence[VariantRun]) -> None:
        """Repetitions until no variant wants more. Raises: Interrupted; TestbedError of the very first one."""
        by_name = {run.variant.name: run for run in runs}
        number = 0
        while waiting := [name for name, run in by_name.items() if run.wants_more]:
            number += 1
            for name in order(waiting, self._first.loaded.experiment.spec.seed, number):
                run = by_name[name]
                self.tell(self._told(run, len(runs)))
                before = len(run.runs)
                try:
                    await run.once()
                except Interrupted:
                    raise
                except Exception as error:
                    if not any(one.runs for one in runs):
                        raise
                    run.give_up(error)  # what was measured before is worth keeping
                finally:
                    if len(run.runs) > before:
                        self.turns.append(Turn(variant=name, number=len(run.runs)))
                if run.runs and run.runs[-1].verdict is Verdict.INTERRUPTED:
                    return

    def _told(self, run: VariantRun, variants: int) -> str:
        number, wanted = len(run.runs) + 1, run.repetitions.runs
        which = f"run {number} of {wanted}" if number <= wanted else f"run {number}"
        if variants > 1:
            return f"{run.variant.name}: {which}"
        return which if run.repetitions.limit > 1 else "workload"

    def _study(self, runs: Sequence[VariantRun], results: Sequence[Result]) -> Study:
        about, judged = self._deciding.loaded, judging(results, self.decides)
        verdict, exit_code, reason = judged.verdict, judged.exit_code, judged.reason
        if judged is not results[self.decides]:
            reason = next(f"{run.variant.name}: {reason}" for run, result in zip(runs, results, strict=True)
                          if result is judged)
        comparisons: list[Comparison | None]
        try:
            comparisons = [None, *(
                compare_runs(self._first.name, results[0].trusted_runs, run.variant.name, result.trusted_runs,
                             seed=about.experiment.spec.seed).model_copy(update={"fail_on": self.fail_on})
                for run, result in list(zip(runs, results, strict=True))[1:])]
        except Exception as error:  # what was measured is worth more than how it compares
            comparisons = [None] * len(runs)
            verdict, exit_code = Verdict.BUG, EXIT_CODES[Verdict.BUG]
            reason = f"a bug of ours in the comparison: {error!r}"
        gated = comparisons[self.decides]
        if verdict is Verdict.PASSED and gated is not None and (missed := failed_by(gated, gated.a)):
            verdict, exit_code, reason = Verdict.OBJECTIVE_MISSED, EXIT_CODES[Verdict.OBJECTIVE_MISSED], missed
        return Study(
            run_id=self.run_id, name=about.experiment.metadata.name, file=about.file.name, decides=self.decides,
            seed=about.experiment.spec.seed, started_at=self.started_at, ended_at=datetime.now(UTC),
            verdict=verdict, exit_code=exit_code, reason=reason, turns=tuple(self.turns),
            variants=tuple(VariantResult(
                name=run.variant.name, platform=run.variant.platform, timing=run.timing,
                settings={item.key: item.value for item in run.variant.settings},
                folder="" if len(runs) == 1 else run.folder.name, result=result, comparison=comparison)
                for run, result, comparison in zip(runs, results, comparisons, strict=True)),
        )


def folder_name(index: int, name: str) -> str:
    """``2-periodseconds-5``."""
    return f"{index}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:40]}".rstrip("-")
