"""Gathers what a run publishes of itself while it goes on, from those who carry it out.

Each look costs what has come since the one before, and is taken in slices, so that whoever measures has its turn in
between. What the status says is `published_status.py`'s, how load is counted `published_load.py`'s; who writes it,
`publishing.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from testbed.experiment.objectives import Objective, judge
from testbed.experiment.published_load import LoadTally, rate_now
from testbed.experiment.published_status import (
    Heading,
    Place,
    Told,
    disruption_told,
    folded,
    rows_each,
    running,
    verdicts_of,
)
from testbed.experiment.result import Disruption, RunResult

if TYPE_CHECKING:
    from testbed.experiment.phases import RepetitionRunner
    from testbed.load.records import Record

Json = dict[str, Any]
SLICE_BYTES = 64 << 10  # of a pulse's records, about a thousand
MOST_SLICES = 8  # of one pulse at one look; what is left is read at the next


class RunPicture:
    """Of one run. ``wanted``: how many repetitions."""

    def __init__(self, heading: Heading, wanted: int, objectives: Sequence[Objective]) -> None:
        self._heading, self._wanted, self._asked = heading, wanted, tuple(objectives)
        self._objectives = tuple(judge(objective, ()) for objective in objectives)
        self._runner: RepetitionRunner | None = None
        self._place, self._told, self._verdicts = Place(of=wanted), Told(), dict[str, int]()
        self._tallies: dict[str, LoadTally] = {}  # by target
        self._counted: dict[str, int] = {}  # records of this repetition, by target

    def follow(self, runner: RepetitionRunner) -> None:
        """A repetition begins."""
        self._runner, self._counted = runner, {}
        repetition = runner.repetition
        wall_ns = int(repetition.started_at.timestamp() * 1e9) - repetition.start_ns
        for pulse in runner.spec.load.pulses:
            self._tallies.setdefault(pulse.called, LoadTally(pulse.called)).begin(wall_ns)

    def measured(self, run: RunResult, runs: Sequence[RunResult]) -> None:
        """A repetition is over. ``runs``: all so far."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._place = self._where(runner)
            for target in runner.load.known():
                self._take(target.name, target.data.records, target.spec.deadline)
        told = (disruption_told(item, run.number, run.started_at, over=run) for item in run.disruptions)
        self._told = folded(self._told, [item for item in told if item is not None])
        self._verdicts = verdicts_of(runs)
        trusted = [item for item in runs if item.trusted]
        self._objectives = tuple(judge(objective, trusted) for objective in self._asked)

    async def read(self) -> None:
        """What the pulses have recorded since. Raises: InvalidInput."""
        runner = self._runner
        for pulse in runner.load.pulses if runner is not None else ():
            for _ in range(MOST_SLICES):
                if not pulse.read_some(SLICE_BYTES) or self._runner is not runner:
                    break
                self._take(pulse.spec.called, pulse.data.records, pulse.spec.deadline)
                await asyncio.sleep(0)

    def status(self, at: datetime, now_ns: int) -> Json:
        """``at``, ``now_ns``: now, on the wall and as CLOCK_MONOTONIC."""
        runner = self._runner
        known = runner.load.known() if runner is not None else ()
        if runner is not None:
            self._place = self._where(runner)
        for target in known:
            self._tallies[target.name].rate = rate_now(target, now_ns)
        rows = rows_each(len(self._tallies))
        return running(
            self._heading, self._place, at=at, told=self._told, fresh=list(self._fresh()),
            load=[tally.told(at.timestamp(), rows, running=bool(known)) for tally in self._tallies.values()],
            objectives=self._objectives, verdicts=self._verdicts)

    def _where(self, runner: RepetitionRunner) -> Place:
        repetition = runner.repetition
        return Place(repetition.number, self._wanted, repetition.phase, repetition.step)

    def _take(self, target: str, records: Sequence[Record], deadline_s: float) -> None:
        self._tallies[target].take(records[self._counted.get(target, 0):], deadline_s)
        self._counted[target] = len(records)

    def _fresh(self) -> Iterator[Json]:
        """Disruptions of the repetition that goes on."""
        if self._runner is None:
            return
        repetition, found = self._runner.repetition, self._runner.method.so_far()
        for item in found:
            told = disruption_told(item, repetition.number, repetition.started_at,
                                   failed=self._failed(item, found, self._runner))
            if told is not None:
                yield told

    def _failed(self, item: Disruption, found: Sequence[Disruption], runner: RepetitionRunner) -> int | None:
        """Requests that failed from its injection to the next one's."""
        wanted = runner.repetition.step_targets.get(item.name, next(iter(self._tallies), ""))
        begin = item.marks.injected
        if wanted not in self._tallies or begin is None:
            return None
        later = [at for other in found if (at := other.marks.injected) is not None and at > begin]
        zero_ns = runner.repetition.start_ns
        end_ns = zero_ns + int(min(later) * 1e9) if later else zero_ns + int(1e18)
        return self._tallies[wanted].failed_between(zero_ns + int(begin * 1e9), end_ns)
