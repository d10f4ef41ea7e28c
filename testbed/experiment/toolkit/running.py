"""Carries a Chaos Toolkit experiment out: hypothesis, method, hypothesis, rollbacks; and leaves the same behind as
every run of the testbed, with a journal in Chaos Toolkit's form beside it.

Whatever happens once the method began, rollbacks are played; an interrupt ends only what is being done.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import TestbedError
from testbed.experiment.interrupts import Interrupted, Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.result import EXIT_CODES, Result
from testbed.experiment.runner import new_run_id
from testbed.experiment.saving import make_run_folder, write_result
from testbed.experiment.toolkit import outcome
from testbed.experiment.toolkit.activities import Actor
from testbed.experiment.toolkit.configuration import is_dynamic
from testbed.experiment.toolkit.controls import Controls
from testbed.experiment.toolkit.failures import ActivityFailed, ControlInterrupted
from testbed.experiment.toolkit.journal import FILE, ToolkitJournal
from testbed.experiment.toolkit.loading import load_scope
from testbed.experiment.toolkit.outcome import Happened
from testbed.experiment.toolkit.providers import provide
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.telling import result_of, run_name
from testbed.experiment.toolkit.values import Activity, Options, ToolkitExperiment

Tell = Callable[[str], None]
BEFORE = ("default", "before-method-only", "continuously")
DURING = ("during-method-only", "continuously")
AFTER = ("default", "after-method-only", "continuously")


@dataclass
class ToolkitRun:
    """One run. ``runs_folder``: where its own folder is made. ``journal_path``: where else the journal is wanted."""

    experiment: ToolkitExperiment
    options: Options
    runs_folder: Path
    tell: Tell
    journal_path: Path | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    happened: Happened = field(default_factory=Happened)
    notes: list[str] = field(default_factory=list)
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    run_id: str = ""

    def __post_init__(self) -> None:
        self.run_id = self.run_id or new_run_id(run_name(self.experiment.title), self.started_at)

    @property
    def folder(self) -> Path:
        return self.runs_folder / self.run_id

    async def run(self) -> Result:
        """Everything; the result is written to ``folder`` too.

        Raises: TestbedError for what went wrong before anything was done.
        """
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        scope = load_scope(self.experiment, self.options)
        if self.options.dry:
            self.notes.append(f"dry ({self.options.dry}): not everything was done, and nothing of that was judged")
        make_run_folder(self.folder)
        (self.folder / "manifests").mkdir(exist_ok=True)
        shutil.copyfile(self.experiment.file, self.folder / "manifests" / self.experiment.file.name)
        own = Journal(self.folder, self.run_id, self.experiment.title, 0)
        paths = [self.folder / FILE, *([self.journal_path] if self.journal_path else [])]
        self._journal = ToolkitJournal(paths, self.experiment.raw)
        interrupts = Interrupts(self.tell)
        # What the user's code prints is a message: stdout belongs to the report.
        with interrupts.watching(), self._user_signals(interrupts), contextlib.redirect_stdout(sys.stderr):
            await self._whole(scope, interrupts)
            verdict, reason = outcome.decide(self.happened)
            self._journal.end(outcome.journal_status(self.happened, verdict), self.happened.deviated)
            await self._after_all()
        self._save()
        result = result_of(
            self.experiment, self.happened, verdict, reason, run_id=self.run_id, started_at=self.started_at,
            title=str(scope.fill(self.experiment.title)), duration_s=self._now(), phases=self.phases, notes=self.notes)
        own.finish(verdict.value, EXIT_CODES[verdict])
        write_result(result, self.folder)
        return result

    def _save(self) -> None:
        """A disk that is full must not keep anything from being rolled back."""
        try:
            self._journal.write()
        except TestbedError as error:
            if error.message not in self.notes:
                self.notes.append(error.message)
                self.tell(error.message)

    def _now(self) -> float:
        return self._loop.time() - self._start

    @contextlib.contextmanager
    def _user_signals(self, interrupts: Interrupts) -> Iterator[None]:
        """Chaos Toolkit's own signals: SIGUSR1 ends the run, SIGUSR2 ends it without its rollbacks."""
        def leave() -> None:
            self.happened.without_rollbacks = True
            interrupts.ask()

        installed = []
        for number, handler in ((signal.SIGUSR1, interrupts.ask), (signal.SIGUSR2, leave)):
            with contextlib.suppress(ValueError, RuntimeError):
                self._loop.add_signal_handler(number, handler)
                installed.append(number)
        try:
            yield
        finally:
            for number in installed:
                self._loop.remove_signal_handler(number)

    @contextlib.asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        began = self._now()
        try:
            yield
        finally:
            self.phases.append((name, began, self._now()))

    # --- the whole

    async def _whole(self, scope: Scope, interrupts: Interrupts) -> None:
        experiment = self.experiment
        controls = Controls(experiment.controls, self.options.global_controls, experiment.raw, scope, self.tell,
                            self.options.limit_s)
        self._controls = controls
        self._actor = Actor(scope, controls, self._save, self._now, self.tell, dry=self.options.dry,
                            limit_s=self.options.limit_s)
        try:
            try:
                await interrupts.guard(self._until_after(scope))
            finally:
                if interrupts.asked:
                    controls.hurry()
                await self._roll_back()
        except Interrupted:
            self.happened.interrupted = "interrupted by the user"
        except ControlInterrupted as error:
            self.happened.interrupted = f"interrupted by {error}"
        except Exception as error:
            self.happened.bug = f"a bug of ours: {error!r}"
        if interrupts.asked and not self.happened.interrupted:
            self.happened.interrupted = "interrupted by the user during the rollbacks"

    async def _after_all(self) -> None:
        """The last controls see the whole journal; they can change nothing any more."""
        experiment = self.experiment
        with contextlib.suppress(ControlInterrupted):
            await self._controls.apply("experiment", "after", experiment.raw, experiment.controls,
                                       state=self._journal.value)
        with contextlib.suppress(ControlInterrupted):
            await self._controls.clean_up((*self.options.global_controls, *experiment.all_controls))
        self.notes += self._controls.problems

    async def _until_after(self, scope: Scope) -> None:
        experiment, happened = self.experiment, self.happened
        await self._fill_configuration(scope)
        await self._controls.configure((*self.options.global_controls, *experiment.all_controls))
        await self._controls.apply("experiment", "before", experiment.raw, experiment.controls)
        hypothesis = experiment.hypothesis if experiment.hypothesis and experiment.hypothesis.probes else None
        states = self._journal.value["steady_states"]
        if hypothesis and experiment.hypothesis_strategy in BEFORE:
            async with self._phase("steady"):
                happened.before = await self._actor.look(hypothesis)
            states["before"] = happened.before.state
            if not happened.before.met:
                return
        async with self._phase("inject"):
            await self._method()
        if hypothesis and experiment.hypothesis_strategy in AFTER and not happened.failed_fast:
            async with self._phase("converge"):
                happened.after = await self._actor.look(hypothesis)
            states["after"] = happened.after.state

    async def _fill_configuration(self, scope: Scope) -> None:
        """Configuration that is a probe's answer. One that gives none is left out, and said."""
        for name, declared in list(scope.configuration.items()):
            if not is_dynamic(declared):
                continue
            del scope.configuration[name]
            provider = {**declared["provider"], "secrets": list(scope.secrets)}
            try:
                answer = await provide(provider, scope, self.options.limit_s)
                if provider["type"] == "process" and answer["status"] != 0:
                    raise ActivityFailed(f"exit status {answer['status']}")
            except ActivityFailed as error:
                self.notes.append(f"configuration {name} has no value: {error}")
                self.tell(self.notes[-1])
                continue
            part = {"process": "stdout", "http": "body"}.get(provider["type"])
            value = answer if part is None else answer[part]
            scope.configuration[name] = value.strip() if part == "stdout" else value

    # --- the method

    async def _method(self) -> None:
        """All activities, those in the background beside the others; the hypothesis is looked at meanwhile where its
        strategy says so."""
        experiment, records = self.experiment, self._journal.value["run"]
        self.happened.method_began = True
        over, stop = asyncio.Event(), asyncio.Event()
        tasks: list[asyncio.Task[object]] = []
        watcher: asyncio.Task[None] | None = None
        await self._controls.apply("method", "before", experiment.raw)  # one that interrupts leaves no watcher behind
        if experiment.hypothesis and experiment.hypothesis.probes and experiment.hypothesis_strategy in DURING:
            watcher = asyncio.create_task(self._watch(over, stop))
        try:
            for activity in experiment.method:
                if stop.is_set():
                    break
                work: asyncio.Task[object] = asyncio.create_task(
                    self._actor.act(activity, records, self.happened.method))
                tasks.append(work)
                if not activity.background:
                    await work
            await asyncio.gather(*tasks)
            over.set()
            if watcher is not None:
                await watcher
            self.happened.method_ended = True
        finally:
            for task in (*tasks, *([watcher] if watcher else [])):
                task.cancel()
            await asyncio.gather(*tasks, *([watcher] if watcher else []), return_exceptions=True)
            await self._controls.apply("method", "after", experiment.raw, state=records)

    async def _watch(self, over: asyncio.Event, stop: asyncio.Event) -> None:
        """Looks at the hypothesis every so often while the method runs; with ``fail_fast`` its first miss is the last
        thing that begins."""
        assert self.experiment.hypothesis is not None, "there is one to look at"
        try:
            while not over.is_set():
                look = await self._actor.look(self.experiment.hypothesis, quiet=True)
                self.happened.during.append(look)
                self._journal.value["steady_states"]["during"].append(look.state)
                if not look.met:
                    self.tell(f"hypothesis not met: {look.missed}: {look.why}")
                    if self.options.fail_fast:
                        self.happened.failed_fast = True
                        return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), self.options.frequency_s)
        finally:
            if not over.is_set():
                stop.set()

    async def _roll_back(self) -> None:
        """Every rollback, whatever became of the one before it. Raises: ControlInterrupted, after all were played."""
        experiment, records = self.experiment, self._journal.value["rollbacks"]
        if not experiment.rollbacks or not outcome.plays_rollbacks(experiment.rollback_strategy, self.happened):
            return
        self.tell("rollbacks")
        interrupted: ControlInterrupted | None = None
        async with self._phase("undo"):
            background: list[asyncio.Task[object]] = []
            parts: list[Activity | str] = ["before", *experiment.rollbacks, "after"]
            for part in parts:
                try:
                    if isinstance(part, str):
                        await asyncio.gather(*background)
                        await self._controls.apply("rollback", part, experiment.raw, state=records)
                        continue
                    work: asyncio.Task[object] = asyncio.create_task(
                        self._actor.act(part, records, self.happened.rollbacks))
                    if part.background:
                        background.append(work)
                    else:
                        await work
                except ControlInterrupted as error:
                    interrupted = interrupted or error
        if interrupted is not None:
            raise interrupted
