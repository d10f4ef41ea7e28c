"""Does one activity, with its pauses and controls, and looks at the hypothesis, which is probes with tolerances."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.experiment.toolkit import journal, tolerance
from testbed.experiment.toolkit.controls import Controls
from testbed.experiment.toolkit.failures import ActivityFailed
from testbed.experiment.toolkit.providers import no_success, provide
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.tolerance import Judged
from testbed.experiment.toolkit.values import Activity, Hypothesis, Json

Clock = Callable[[], float]


@dataclass
class Done:
    """One activity that was begun. ``record``: as in the journal. ``problem``: why it did not do what it is for; of a
    probe only that it gave no answer. Moments are seconds of the run."""

    activity: Activity
    record: Json
    began_s: float
    ended_s: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Look:
    """One look at the hypothesis. ``raised``: a probe gave no answer. ``missed``: the probe that was not met."""

    state: Json
    at_s: float
    took_s: float = 0.0
    raised: bool = False
    missed: str = ""
    why: str = ""
    looked_at: tuple[str, ...] = field(default=())

    @property
    def met(self) -> bool:
        return not self.missed


class Actor:
    """What all activities of a run have in common. ``save`` brings the journal to disk."""

    def __init__(
        self, scope: Scope, controls: Controls, save: Callable[[], None], clock: Clock, tell: Callable[[str], None], *,
        dry: str = "", limit_s: float = 3600.0,
    ) -> None:
        self._scope, self._controls, self._save = scope, controls, save
        self._clock, self._tell = clock, tell
        self._dry, self._limit_s = dry, limit_s

    async def act(self, activity: Activity, records: list[Json], done: list[Done] | None = None, *,
                  quiet: bool = False) -> Done:
        """Does it; the record is appended to ``records`` (and ``done``) and saved before it begins.

        Args: quiet: it is neither told nor saved (a look while the method runs).

        Raises: ControlInterrupted.
        """
        skipped, paused = self._is_dry(activity)
        await self._controls.apply("activity", "before", activity.raw, activity.controls)
        if paused:
            await self._pause(activity.pause_before)
        record: Json = {"activity": dict(activity.raw), "output": None, "start": journal.now()}
        found = Done(activity, record, self._clock())
        records.append(record)
        if done is not None:
            done.append(found)
        if not quiet:
            self._tell(f"{activity.kind}: {activity.name}" + (" (background)" if activity.background else "")
                       + (" (dry: not done)" if skipped else ""))
            self._save()
        try:
            if not skipped:
                record["output"] = await provide(activity.provider, self._scope, self._limit_s)
            record["status"] = "succeeded"
        except ActivityFailed as error:
            found.problem = str(error)
            record |= {"status": "failed", "exception": [f"ActivityFailed: {error}"]}
        except asyncio.CancelledError:
            found.problem = "interrupted"
            record |= {"status": "failed", "exception": ["interrupted"]}
            raise
        finally:
            found.ended_s = self._clock()
            record["end"] = journal.now()
            record["duration"] = (datetime.fromisoformat(record["end"])
                                  - datetime.fromisoformat(record["start"])).total_seconds()
        if activity.kind == "action" and not skipped and not found.problem:
            found.problem = await self._without_effect(activity, record)
        if not quiet:
            if found.problem:
                self._tell(f"  {activity.name}: {found.problem}")
            self._save()
        if paused:
            await self._pause(activity.pause_after)
        await self._controls.apply("activity", "after", activity.raw, activity.controls, state=record)
        return found

    async def look(self, hypothesis: Hypothesis, *, quiet: bool = False) -> Look:
        """All probes in order, until one is not met. Raises: ControlInterrupted."""
        began = self._clock()
        state: Json = {"steady_state_met": None, "probes": []}
        missed = why = ""
        raised = False
        names: list[str] = []
        await self._controls.apply("hypothesis", "before", hypothesis.raw, hypothesis.controls)
        try:
            for probe in hypothesis.probes:
                names.append(probe.name)
                done = await self.act(probe, state["probes"], quiet=quiet)
                judged = Judged(False, done.problem) if done.problem else (
                    Judged(True) if self._dry in ("probes", "activities") else await self._judge(probe, done.record))
                done.record["tolerance_met"] = judged.met
                if not judged.met:
                    missed, why, raised = probe.name, judged.why, bool(done.problem)
                    break
            state["steady_state_met"] = not missed
        finally:
            await self._controls.apply("hypothesis", "after", hypothesis.raw, hypothesis.controls, state=state)
        return Look(state, began, self._clock() - began, raised, missed, why, tuple(names))

    async def _judge(self, activity: Activity, record: Json) -> Judged:
        wanted = activity.tolerance
        if isinstance(wanted, dict) and wanted.get("type") == "probe":
            return await self._judge_by_probe(wanted, record["output"])
        return tolerance.judge(wanted, record["output"], self._scope)

    async def _judge_by_probe(self, probe: Json, value: Any) -> Judged:
        """A python function says it by what it returns; a process or a request by its status."""
        kind = str(probe["provider"]["type"])
        try:
            answer = await provide(probe["provider"], self._scope, self._limit_s, value=value)
        except ActivityFailed as error:
            return Judged(False, f"{probe.get('name', 'its tolerance')}: {error}")
        problem = no_success(kind, answer) if kind != "python" else "" if answer else f"says {answer!r}"
        return Judged(not problem, f"{probe.get('name', 'its tolerance')} {problem}" if problem else "")

    async def _without_effect(self, activity: Activity, record: Json) -> str:
        """Why an action that gave an answer did nothing; its own ``tolerance``, where it has one, decides."""
        if not activity.has_tolerance:
            return no_success(activity.provider_type, record["output"])
        judged = await self._judge(activity, record)
        record["tolerance_met"] = judged.met
        return judged.why

    def _is_dry(self, activity: Activity) -> tuple[bool, bool]:
        """(it is not done, its pauses are kept)."""
        dry = activity.dry if activity.dry is not None and activity.dry is not False else self._dry
        skipped = dry is True or dry == "activities" or dry == f"{activity.kind}s"
        return skipped, not skipped and dry != "pause"

    async def _pause(self, seconds: Any) -> None:
        """Nothing when there is none, or what ``${name}`` stands for is no number."""
        try:
            pause_s = float(self._scope.fill(seconds) or 0)
        except (TypeError, ValueError):
            self._tell(f"pause of {seconds!r}: not a number, left out")
            return
        if pause_s > 0 and math.isfinite(pause_s):
            self._tell(f"pause of {pause_s:g} s")
            await asyncio.sleep(pause_s)
