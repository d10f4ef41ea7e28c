"""Turns what was seen and recorded during one repetition into its `RunResult`. Pure, but for reading no clock.

``phases.py`` makes it happen; here it gets its form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from testbed.core.profile import Profile
from testbed.experiment.clients import Clients
from testbed.experiment.consequences import with_consequences
from testbed.experiment.durations import say_duration
from testbed.experiment.kind import SloSpec
from testbed.experiment.load_results import Target, target_results
from testbed.experiment.observations import Evidence
from testbed.experiment.overlaps import overlapping
from testbed.experiment.paging import with_alerts
from testbed.experiment.result import (
    Disruption,
    GeneratorUse,
    LocustResult,
    Phase,
    RunResult,
    Shipping,
    StateView,
    SteadyStateResult,
    Verdict,
)
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.series import MOST_EVENTS, make_series, shown_events
from testbed.experiment.shipping import shipping
from testbed.experiment.timeline import Act, disruption_of
from testbed.experiment.uninvited import uninvited
from testbed.experiment.views import Views, with_views
from testbed.experiment.void import doubts
from testbed.load.outage import Quality, quality
from testbed.load.records import PulseData

# A pulse that left later than this (p99) did not measure the cluster but its own machine: the run is void. Up to there
# latency still counts from the due time, and only its precision suffers, which is said from the second limit on.
LATENESS_LIMIT_S = 0.1
LATENESS_TOLD_S = 0.01
LOOK_AT_BACKLOG_S = 0.25


@dataclass
class Repetition:
    """What is known of one repetition when it is over. Moments are of the run."""

    number: int
    started_at: datetime
    start_ns: int
    evidence: Evidence
    profile: Profile
    deployments: tuple[str, ...]
    deadline_s: float = 1.0
    noise: frozenset[str] = frozenset()  # steps that must not be noticed
    slo: SloSpec | None = None
    acts: list[Act] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    steady_states: list[SteadyStateResult] = field(default_factory=list)
    method_began: float = 0.0
    watched_until: float = 0.0
    duration_s: float = 0.0
    verdict: Verdict = Verdict.PASSED
    reason: str = ""
    pulse: PulseData | None = None
    locust: LocustResult | None = None
    targets: tuple[Target, ...] = ()
    step_targets: dict[str, str] = field(default_factory=dict)  # steps whose clients are not the first target's
    generator: tuple[GeneratorUse, ...] = ()
    machine: MachineLoad | None = None  # what it went through meanwhile
    state: StateView | None = None
    notes: list[str] = field(default_factory=list)
    phase: str = "steady"  # where it is now, of `testbed.api.experiment_status.PHASES`
    step: str = ""
    entered: Callable[[], None] = lambda: None  # told of each change of these

    def enter(self, phase: str, step: str = "") -> None:
        """It comes to another phase, or to another step of the method."""
        self.phase, self.step = phase, step
        self.entered()

    def note_phase(self, name: str, start: float, end: float) -> None:
        """Moments of the run."""
        self.phases.append(Phase.model_validate(
            {"name": name, "startS": round(start, 3), "endS": round(max(start, end), 3)}))

    @property
    def healthy_until_s(self) -> float:
        """Until something was done to the system: what clients met before is normal."""
        return min((act.started for act in self.acts), default=self.method_began)

    def clients(self) -> Clients | None:
        if self.pulse is None or not self.pulse.records or not self.pulse.rate:
            return None
        return Clients(self.pulse.stream(), start_ns=self.start_ns, rate=self.pulse.rate, deadline_s=self.deadline_s,
                       healthy_until_s=self.healthy_until_s)

    def clients_of(self, step: str, clients: Clients | None) -> Clients | None:
        """Whose requests this step's marks and outages are computed from; ``clients``: the first target's."""
        wanted = self.step_targets.get(step)
        target = next((target for target in self.targets if target.name == wanted), None)
        return clients if target is None else target.clients(self.start_ns, self.healthy_until_s)


def void_reason(repetition: Repetition) -> str:
    """Why this repetition's measurement cannot be trusted; "" when it can. Whatever sent on schedule is asked: steps
    may take their marks from any target."""
    sent = {target.name: target.data for target in repetition.targets}
    pulses = {"the pulse" if len(sent) == 1 else f"the pulse of {name}": data for name, data in sent.items()}
    if not pulses and repetition.pulse is not None:
        pulses = {"the pulse": repetition.pulse}
    probers = {who: quality(data.records, ended=data.end is not None) for who, data in pulses.items()}
    for entry in repetition.locust.entries if repetition.locust is not None else ():
        if entry.open_loop:
            probers[f"Locust's {entry.name}"] = Quality(entry.requests - entry.unsent, 0,
                                                        entry.send_lateness_p99_s or 0.0)
    found = [doubt for who, prober in probers.items()
             for doubt in prober.doubts(lateness_p99_limit_s=LATENESS_LIMIT_S, who=who)]
    return "; ".join((*found, *doubts(repetition.machine, repetition.generator)))


def disruptions(repetition: Repetition, clients: Clients | None, *, until: float) -> Views:
    """One for each act, and what nobody here injected, in the order in which they began; with the views of clients.
    ``until``: the moment of the run up to which is looked."""
    acts = sorted(repetition.acts, key=lambda act: act.started)
    found: list[Disruption] = []
    for index, act in enumerate(acts):
        following = next((other.started for other in acts[index + 1:]), None)
        found.append(disruption_of(act, repetition.evidence, repetition.profile, until=until,
                                   clients=repetition.clients_of(act.name, clients), next_started=following))
    found += uninvited(repetition.evidence, found, repetition.profile, until=until, clients=clients)
    found.sort(key=lambda item: math.inf if item.marks.injected is None else item.marks.injected)
    found = overlapping(found, repetition.evidence, clients, until=until)
    found = with_alerts(found, repetition.evidence, until=until, started_at=repetition.started_at)
    return with_views(found, repetition.evidence, repetition.deployments, clients, since=repetition.method_began,
                      until=until, noise=repetition.noise, slo=repetition.slo)


def run_result(repetition: Repetition) -> RunResult:
    clients = repetition.clients()
    views = disruptions(repetition, clients, until=repetition.watched_until)
    series = make_series(repetition.evidence, repetition.deployments, clients, repetition.duration_s)
    sent = quality(repetition.pulse.records) if repetition.pulse else None
    lateness = sent.lateness_p99_s if sent is not None and sent.sent else None
    notes = list(repetition.notes)
    if lateness is not None and lateness > LATENESS_TOLD_S:
        notes.append(f"this machine was busy: the pulse left up to {say_duration(lateness)} late (p99), and what "
                     "clients saw is no more exact than that")
    if repetition.acts and not repetition.evidence.engine_asked:
        notes.append("the container engine is no witness here: this platform gives no way to ask it")
    events = shown_events(repetition.evidence, repetition.deployments)
    if len(events) > MOST_EVENTS:
        notes.append(f"the last {len(events) - MOST_EVENTS} of {len(events)} events are left out")
    return RunResult(
        number=repetition.number, verdict=repetition.verdict, reason=repetition.reason,
        void_reason=void_reason(repetition), started_at=repetition.started_at,
        duration_s=round(repetition.duration_s, 3), rate=repetition.pulse.rate if repetition.pulse else 0.0,
        phases=tuple(repetition.phases), steady_states=tuple(repetition.steady_states),
        disruptions=with_consequences(
            views.disruptions, repetition.evidence, repetition.state.samples if repetition.state else (),
            since=repetition.method_began, until=repetition.watched_until, every_s=LOOK_AT_BACKLOG_S),
        clients=views.clients, detector=views.detector,
        outages=clients.outages() if clients else (),
        **({"requests": clients.requests(), "latency": clients.latency()} if clients else {}),
        send_lateness_p99_s=lateness, restarts=sum(series.restarts), series=series,
        events=events[:MOST_EVENTS], locust=repetition.locust,
        targets=target_results(repetition.targets, repetition.start_ns, repetition.healthy_until_s),
        generator=repetition.generator, machine=repetition.machine,
        shipping=shipped(repetition), state=repetition.state, notes=tuple(notes),
    )


def shipped(repetition: Repetition) -> Shipping | None:
    """Only where a step changed what runs: a fault ships nothing."""
    if all(act.kind == "fault" for act in repetition.acts):
        return None
    return shipping(repetition.evidence, repetition.pulse.stream() if repetition.pulse else (),
                    start_ns=repetition.start_ns, began=repetition.method_began, until=repetition.watched_until)


def ended_acts(acts: Sequence[Act], act: Act) -> list[Act]:
    """``acts`` with ``act`` added, and earlier changes of the same Deployment ended by it."""
    kept = [replace(other, ended=act.started)
            if act.deployment and other.deployment == act.deployment and other.ended is None else other
            for other in acts]
    return [*kept, act]
