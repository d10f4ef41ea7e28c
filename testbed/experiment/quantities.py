"""Every value of a result that has a name: what objectives may ask for, what statistics and comparisons are made of.

One table for a disruption, one for the whole run. A row says how the value is read, in what unit, whether less is
better, whether it can be missing because it did not come while we watched (censored, which is not the same as not
measured), and which difference is too small to mean anything. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar, get_args

from testbed.experiment.result import ClientView, Detector, Disruption, RunResult
from testbed.experiment.result.timeline import Kind, Path

Unit = Literal["s", "", "ratio", "times"]  # seconds, a count, a share, a multiple
Subject = TypeVar("Subject", bound=Disruption | RunResult)

# Of a time: what watches arrive late by on a busy machine, and both edges of an outage at 100 requests per second.
TIME_FLOOR_S: Final = 0.02
ALERT_FLOOR_S: Final = 1.0  # rules are evaluated once a second at most


@dataclass(frozen=True)
class Quantity(Generic[Subject]):
    """One value.

    Attributes:
        name: in objectives, after the step's name.
        statistic: its name in the result's statistics, where that differs.
        words: for tables.
        read: None when it was not measured, or did not come (``censored``).
        each_run: an objective without an aggregate is about every run; of a time it must say which value over the runs.
        primary: whether a comparison's verdict hangs on it. What is a part of another one (detection, causes) is not:
            it would only be counted twice.
        floor: differences below this, in its unit, mean nothing.
        needs_pulse: nobody else measures it. needs_state: only an experiment with ``state`` has it. needs_slo,
            needs_locust: the same of ``slo`` and ``load.locust``. needs_pager: only where an Alertmanager was attached
            can it come or not come.
        whom: kinds of disruption that have it; empty: all.
    """

    name: str
    words: str
    read: Callable[[Subject], float | None]
    unit: Unit = "s"
    statistic: str = ""
    lower_is_better: bool = True
    censored: bool = False
    each_run: bool = False
    primary: bool = False
    floor: float = TIME_FLOOR_S
    needs_pulse: bool = False
    needs_state: bool = False
    needs_slo: bool = False
    needs_locust: bool = False
    needs_pager: bool = False
    whom: frozenset[str] = field(default_factory=frozenset)

    @property
    def key(self) -> str:
        return self.statistic or self.name

    @property
    def counted(self) -> bool:
        """Compared as a count per run, not by its middle."""
        return self.unit == ""


def _measured(read: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
    """``read``, where a pulse ran."""
    return lambda subject: read(subject) if subject.requests.due else None


def _count(name: str) -> Callable[[Any], float | None]:
    return _measured(lambda subject: float(getattr(subject.requests, name)))


def _availability(subject: Disruption | RunResult) -> float | None:
    """What every report tells: of the run from the method on (a load alone has no method: of all of it)."""
    view = subject.clients
    return subject.requests.answered_ratio if view is None else view.availability_requests


def _failed_ratio(subject: Disruption | RunResult) -> float | None:
    """Of the same requests as ``_availability``: together with those that came late they are all."""
    view = subject.clients
    return (subject.requests if view is None or not view.requests.due else view.requests).failed_ratio


def _viewed(read: Callable[[ClientView], float | None]) -> Callable[[Any], float | None]:
    """``read`` of the clients' view, where there is one."""
    return lambda subject: None if subject.clients is None else read(subject.clients)


def _judged(read: Callable[[Detector], float | None]) -> Callable[[Any], float | None]:
    """``read`` of what was done to the healthy, where that was looked at."""
    return lambda subject: None if subject.detector is None else read(subject.detector)


def _since_injection(mark: str) -> Callable[[Disruption], float | None]:
    def read(item: Disruption) -> float | None:
        at, zero = item.marks.get(mark), item.marks.injected
        return None if at is None or zero is None else at - zero

    return read


def _counts(*, primary: bool) -> tuple[Quantity[Any], ...]:
    """What is counted the same of a disruption and of a whole run; of the run it is made of the disruptions'."""
    return (
        Quantity("requests.failed", "failed requests", _count("failed"), "", "failed", each_run=True, primary=primary,
                 floor=1.0, needs_pulse=True),
        Quantity("requests.late", "late requests", _count("late"), "", "late", each_run=True, floor=1.0,
                 needs_pulse=True),
        Quantity("requests.unsent", "unsent requests", _count("unsent"), "", "unsent", each_run=True, floor=1.0,
                 needs_pulse=True),
        Quantity("requests.failed.ratio", "failed requests", _failed_ratio, "ratio", each_run=True, floor=0.001,
                 needs_pulse=True),
        Quantity("availability", "requests answered in time", _availability, "ratio", lower_is_better=False,
                 each_run=True, floor=0.001, needs_pulse=True),
        Quantity("restarts", "restarts", lambda subject: float(subject.restarts), "", each_run=True, primary=primary,
                 floor=0.1),
    )


def _of_clients(*, each_run: bool) -> tuple[Quantity[Any], ...]:
    """What the clients' view has of a disruption and of a whole run. Args: each_run: of times; shares always must hold
    in each."""
    return (
        Quantity("gray", "requests fail or come late, probes green", _viewed(lambda view: view.gray_s),
                 each_run=each_run, needs_pulse=True),
        Quantity("lost", "resilience loss", _viewed(lambda view: view.lost_s), each_run=each_run, needs_pulse=True),
        Quantity("depth", "deepest loss", _viewed(lambda view: view.depth), "ratio", each_run=True, floor=0.05,
                 needs_pulse=True),
        Quantity("availability.time", "time without an outage", _viewed(lambda view: view.availability_time), "ratio",
                 lower_is_better=False, each_run=True, floor=0.001, needs_pulse=True),
        Quantity("latency.disturbed", "latency not normal for", _viewed(lambda view: view.latency_disturbed_s),
                 each_run=each_run, needs_pulse=True),
        Quantity("budget", "share of the error budget", _viewed(lambda view: view.burn.share if view.burn else None),
                 "ratio", each_run=True, floor=0.001, needs_pulse=True, needs_slo=True),
        Quantity("burn", "burn rate of the error budget", _viewed(lambda view: view.burn.rate if view.burn else None),
                 "times", each_run=True, floor=0.1, needs_pulse=True, needs_slo=True),
    )


def _drain(item: Disruption) -> float | None:
    return None if item.backlog is None else item.backlog.drain_s


def _peak(item: Disruption) -> float | None:
    return None if item.backlog is None else item.backlog.peak


def _written(name: str) -> Callable[[RunResult], float | None]:
    """What became of writes, where they were asked for."""
    def read(run: RunResult) -> float | None:
        found = run.state.writes if run.state else None
        return None if found is None else float(getattr(found, name))

    return read


def _of_detector() -> tuple[Quantity[Any], ...]:
    """What was done to the healthy."""
    return (
        Quantity("false.restarts", "false restarts", _judged(lambda found: float(found.false_restarts)), "",
                 each_run=True, floor=0.1),
        Quantity("false.evictions", "false evictions", _judged(lambda found: float(found.false_evictions)), "",
                 each_run=True, floor=0.1),
        Quantity("false.isolations", "healthy pods isolated", _judged(lambda found: float(found.false_isolations)), "",
                 each_run=True, floor=0.1),
        Quantity("false.isolated", "healthy pods isolated for", _judged(lambda found: found.false_isolated_s),
                 each_run=True),
        Quantity("flapping", "readiness changes per fault", _judged(lambda found: found.flapping), "times",
                 each_run=True, floor=0.1),
    )


def _cause(path: Path, kind: Kind) -> Callable[[Disruption], float | None]:
    return lambda item: item.cause_s(path, kind)


def _causes() -> tuple[Quantity[Disruption], ...]:
    """Seconds that went to each kind of thing: ``causes.probe`` of the repair, ``isolation.causes.probe``."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    return (
        *(Quantity(f"causes.{kind}", f"of the repair: {kind}", _cause("repair", kind)) for kind in kinds),
        *(Quantity(f"isolation.causes.{kind}", f"of the isolation: {kind}", _cause("isolation", kind))
          for kind in kinds),
    )


def _latency(name: str) -> Quantity[RunResult]:
    return Quantity(f"latency.{name}", f"latency {name}", lambda run: getattr(run.latency, name), each_run=True,
                    floor=0.002, needs_pulse=True)


def _longest(subject: Disruption | RunResult) -> float:
    return max((outage.seconds for outage in subject.outages), default=0.0)


OF_DISRUPTION: Final[tuple[Quantity[Disruption], ...]] = (
    Quantity("detection", "noticed after", lambda item: item.detection_s, censored=True),
    Quantity("isolation", "isolated after", lambda item: item.isolation_s, censored=True, primary=True,
             whom=frozenset({"fault", "uninvited"})),
    Quantity("repair", "restored after", lambda item: item.repair_s, censored=True, primary=True),
    Quantity("outage", "outage for users", _measured(lambda item: float(item.outage_s)), primary=True,
             needs_pulse=True),
    Quantity("outage.longest", "longest outage", _measured(_longest), needs_pulse=True),
    Quantity("outage.count", "outages", _measured(lambda item: float(len(item.outages))), "", each_run=True, floor=0.5,
             needs_pulse=True),
    Quantity("undo", "undone after", _since_injection("undone")),
    Quantity("alerted", "paged after", _since_injection("alerted"), censored=True, floor=ALERT_FLOOR_S,
             needs_pager=True),
    Quantity("latency.normal", "latency back to normal after", _since_injection("latency_normal"), needs_pulse=True),
    Quantity("backlog.drain", "backlog worked off after the repair", _drain, censored=True, needs_state=True),
    Quantity("backlog.peak", "longest backlog", _peak, "", each_run=True, floor=1.0, needs_state=True),
    Quantity("cascade", "Deployments dragged along",
             lambda item: float(len({one.deployment for one in item.cascade})), "", each_run=True, floor=0.5,
             whom=frozenset({"fault", "uninvited"})),
    *_counts(primary=True), *_of_clients(each_run=False), *_of_detector(), *_causes(),
)
# Of the whole run, primary is only what no disruption has.
OF_RUN: Final[tuple[Quantity[RunResult], ...]] = (
    Quantity("writes.lost", "acknowledged writes lost", _written("lost"), "", each_run=True, primary=True, floor=0.1,
             needs_state=True),
    Quantity("writes.acknowledged", "acknowledged writes", _written("acknowledged"), "", lower_is_better=False,
             each_run=True, floor=1.0, needs_state=True),
    *_counts(primary=False), *_of_clients(each_run=True), *_of_detector(),
    *(_latency(name) for name in ("p50", "p95", "p99", "max")),
    Quantity("outage.longest", "longest outage", _measured(_longest), each_run=True, needs_pulse=True),
    Quantity("outage.total", "outage for users", _measured(lambda run: sum(item.seconds for item in run.outages)),
             each_run=True, needs_pulse=True),
    Quantity("locust.failures", "failed requests of Locust",
             lambda run: None if run.locust is None else float(run.locust.failures), "", each_run=True, floor=1.0,
             needs_locust=True),
)


def of_disruption(name: str) -> Quantity[Disruption] | None:
    """By the name of an objective or of a statistic."""
    return next((item for item in OF_DISRUPTION if name in (item.name, item.key)), None)


def of_run(name: str) -> Quantity[RunResult] | None:
    return next((item for item in OF_RUN if name in (item.name, item.key)), None)


def named(disruption: str, key: str) -> Quantity[Any] | None:
    """What a statistic or a comparison is of; those of the whole run have no disruption."""
    return of_disruption(key) if disruption else of_run(key)
