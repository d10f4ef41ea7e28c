"""Runs on ``/metrics``: where each experiment is, what its load came to, how recoveries went, what was judged.

All of it is read from the Experiment objects, whose status the runner writes. Counts are sums over all objects of an
experiment. They never fall while this process lives, though objects are removed: what an object had counted stays. A
process that is started again begins with what the objects that are kept have counted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from testbed.api.clock import WallClock
from testbed.api.experiment_status import PHASES, RECOVERY_BOUNDS_S, goes_on, recovery_seconds
from testbed.api.exposition import COUNTER, HISTOGRAM, Family, metric
from testbed.api.resources import EXPERIMENTS, ResourceType
from testbed.errors import NotFound
from testbed.server.metrics_totals import Key, Totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Json = dict[str, Any]
T = TypeVar("T")
Counts = Mapping[Key, float]

RUNS_NOW = Family("testbed_experiment_running", "1 while a run of this experiment goes on, 0 afterwards.",
                  ("experiment", "platform"))
PHASE = Family("testbed_experiment_phase", "1 for the phase that a run of this experiment is in.",
               ("experiment", "phase"))
MET = Family("testbed_objective_met", "Whether an objective of the newest run holds in what was measured so far.",
             ("experiment", "objective"))
RUNS = Family("testbed_runs_total", "Finished repetitions, by what came of them.", ("experiment", "verdict"), COUNTER)
RECOVERY = Family("testbed_recovery_seconds", "From an injection to each mark of its recovery (phase), and how long "
                  "clients had no answer (outage), of repetitions that are over and can be trusted.",
                  ("fault", "phase"), HISTOGRAM)
REQUESTS = Family("testbed_requests_total", "Requests of the load, by what became of them.",
                  ("experiment", "target", "outcome"), COUNTER)
LATENCY = Family("testbed_request_duration_seconds", "From when a request was due to its right answer, late ones too.",
                 ("experiment", "target"), HISTOGRAM)
FAMILIES = (RUNS_NOW, PHASE, RUNS, RECOVERY, REQUESTS, LATENCY, MET)

OUTCOMES = ("ok", "failed", "late", "unsent")
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)  # of what others have published
MOST_GONE = 100  # removed objects that are known again if their runs go on and make them anew


class ExperimentMetrics:
    """``items``: the objects of a kind. ``failed``: told of an object that cannot be read."""

    def __init__(
        self, items: Callable[[ResourceType], list[Json]], clock: WallClock, failed: Callable[[], None],
    ) -> None:
        self._items, self._clock, self._failed = items, clock, failed
        self._counted: OrderedDict[str, tuple[str, dict[Key, float]]] = OrderedDict()  # by object: version, and what
        self._totals = Totals()

    def collect(self) -> Iterator[Metric]:
        objects = self._objects()
        for item in objects:
            self._count(item)
        self._forget({_key(item) for item in objects})
        now = self._clock.now()
        said = (self._guarded(lambda status: _now_of(status, now), item["status"]) for item in objects)
        yield from _gauges([one for one in said if one is not None])
        totals = sorted(self._totals.items())
        yield from (_counter(family, totals) for family in (RUNS, RECOVERY, REQUESTS, LATENCY))

    def _objects(self) -> list[Json]:
        """With a status that can be read."""
        try:
            items = self._items(EXPERIMENTS)
        except NotFound:  # no run has registered the kind yet
            return []
        return [item for item in items if isinstance(item.get("status"), dict) and item["status"].get("experiment")]

    def _count(self, item: Json) -> None:
        """Adds what the object has counted since it was last looked at; less than then adds nothing."""
        key, version = _key(item), str(item["metadata"].get("resourceVersion", ""))
        known_at, known = self._counted.get(key, ("", {}))
        if known_at != version:
            for one, value in (self._guarded(counts_of, item["status"]) or {}).items():
                if (more := value - known.get(one, 0.0)) >= 0:
                    self._totals.add(one, more)
                    known[one] = value
        self._counted[key] = version, known
        self._counted.move_to_end(key)

    def _guarded(self, read: Callable[[Json], T], status: Json) -> T | None:
        """None of one that cannot be read: it must not take the others away."""
        try:
            return read(status)
        except UNREADABLE:
            self._failed()
            return None

    def _forget(self, there: set[str]) -> None:
        gone = [key for key in self._counted if key not in there]
        for key in gone[:max(0, len(gone) - MOST_GONE)]:
            del self._counted[key]


def counts_of(status: Json) -> Counts:
    """All numbers that one object's status counts.

    Raises: of UNREADABLE: it has another form.
    """
    experiment = str(status["experiment"])
    found: dict[Key, float] = {(RUNS.name, "", (experiment, str(verdict))): float(count)
                               for verdict, count in (status.get("verdicts") or {}).items()}
    for load in status.get("load") or ():
        target = str(load["target"])
        for outcome in OUTCOMES:
            found[REQUESTS.name, "", (experiment, target, outcome)] = float(load[outcome])
        buckets = {_bound(bound): float(count) for bound, count in load["latency"]["buckets"].items()}
        _put(found, LATENCY, (experiment, target), buckets, float(load["latency"]["sum_s"]))
    for labels, (counts, sum_s) in _recoveries(status).items():
        cumulative, total = {}, 0
        for bound, count in zip((*(f"{one:g}" for one in RECOVERY_BOUNDS_S), "+Inf"), counts, strict=True):
            total += count
            cumulative[bound] = float(total)
        _put(found, RECOVERY, labels, cumulative, sum_s)
    return found


def _bound(text: str) -> str:
    """As this process writes bounds, which are numbers."""
    return "+Inf" if (bound := float(text)) == math.inf else f"{bound:g}"


def _put(
    found: dict[Key, float], family: Family, labels: tuple[str, ...], cumulative: Mapping[str, float], sum_s: float,
) -> None:
    for bound, count in cumulative.items():
        found[family.name, "_bucket", (*labels, bound)] = count
    found[family.name, "_sum", labels] = sum_s
    found[family.name, "_count", labels] = cumulative["+Inf"]


def _recoveries(status: Json) -> dict[tuple[str, str], tuple[list[int], float]]:
    """Counts in each bucket and their sum, by fault and phase: those told one by one and the earlier ones."""
    found: dict[tuple[str, str], tuple[list[int], float]] = {}
    for fault, phases in ((status.get("earlier") or {}).get("seconds") or {}).items():
        for phase, value in phases.items():
            found[str(fault), str(phase)] = [int(count) for count in value["counts"]], float(value["sum_s"])
    for item in status.get("disruptions") or ():
        for phase, seconds in recovery_seconds(item) if item.get("counted", item.get("restored")) else ():
            counts, sum_s = found.get((item["fault"], phase), ([0] * (len(RECOVERY_BOUNDS_S) + 1), 0.0))
            counts[sum(bound < seconds for bound in RECOVERY_BOUNDS_S)] += 1
            found[item["fault"], phase] = counts, sum_s + float(seconds)
    return found


def _counter(family: Family, totals: Sequence[tuple[Key, float]]) -> Metric:
    from prometheus_client.core import Metric

    if family.type == COUNTER:
        return metric(family, [(labels, value) for (name, _, labels), value in totals if name == family.name])
    made = Metric(family.name, family.text, family.type)
    for (name, ending, labels), value in sorted(totals, key=_by_bound):
        if name == family.name:
            names = (*family.labels, "le") if ending == "_bucket" else family.labels
            made.add_sample(name + ending, dict(zip(names, labels, strict=True)), value)
    return made


def _by_bound(entry: tuple[Key, float]) -> tuple[Any, ...]:
    (name, ending, labels), _ = entry
    if ending != "_bucket":
        return name, labels, ending, 0.0
    return name, labels[:-1], ending, float(labels[-1])


@dataclass(frozen=True)
class _Now:
    """What one run's status says of now. ``phase``: "" when it does not go on."""

    experiment: str
    platform: str
    goes_on: bool
    phase: str
    started_at: str
    met: Mapping[str, float]  # by the objective's words


def _now_of(status: Json, now: datetime) -> _Now:
    """Raises: of UNREADABLE: it has another form."""
    runs = goes_on(status, now)
    return _Now(str(status["experiment"]), str(status.get("platform", "")), runs,
                str((status.get("run") or {}).get("phase")) if runs else "", str(status.get("startedAt")),
                {str(item["text"]): float(item["met"]) for item in status.get("objectives") or ()
                 if item.get("met") is not None})


def _gauges(runs: Iterable[_Now]) -> Iterator[Metric]:
    going: dict[tuple[str, ...], float] = {}
    phases: dict[tuple[str, ...], float] = {}
    newest: dict[str, _Now] = {}
    for run in runs:
        key = (run.experiment, run.platform)
        going[key] = max(going.get(key, 0.0), float(run.goes_on))
        for phase in PHASES:
            phases[run.experiment, phase] = max(phases.get((run.experiment, phase), 0.0), float(run.phase == phase))
        if run.experiment not in newest or run.started_at >= newest[run.experiment].started_at:
            newest[run.experiment] = run
    met = {(name, text): value for name, run in newest.items() for text, value in run.met.items()}
    for family, samples in ((RUNS_NOW, going), (PHASE, phases), (MET, met)):
        yield metric(family, sorted(samples.items()))


def _key(item: Json) -> str:
    """A run's id is used once, so that an object that is made again is the same run's."""
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
