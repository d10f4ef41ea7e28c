"""One repetition."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from testbed.experiment.result.clients import ClientView, Latency, Outage, Requests
from testbed.experiment.result.detector import Detector
from testbed.experiment.result.load import GeneratorUse, LocustResult, TargetResult
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.result.shipping import Shipping
from testbed.experiment.result.state import StateView
from testbed.experiment.result.timeline import Disruption, TimelineEvent
from testbed.experiment.result.value import Value
from testbed.experiment.result.verdict import Verdict

# A run that went through, whatever came of it. One that was broken off (its API or pulse was lost, the fault took no
# effect, someone interrupted it) has not seen its end: to count it as "never recovered" would be a lie.
WENT_THROUGH = frozenset({Verdict.PASSED, Verdict.OBJECTIVE_MISSED, Verdict.NOT_REGAINED, Verdict.ABORTED})


class Phase(Value):
    name: Literal["setup", "steady", "inject", "verify", "observe", "undo", "converge", "judge"]
    start_s: float
    end_s: float


class SteadyStateResult(Value):
    """One steady-state condition, asked once before and once after; ``during``: a Chaos Toolkit hypothesis was not met
    while its method ran."""

    when: Literal["before", "during", "after"]
    what: str
    met: bool
    at_s: float
    waited_s: float = 0.0
    message: str = ""


class Series(Value):
    """Arrays of equal length, one bin of ``bin_s`` each; the i-th bin starts at ``start_s + i * bin_s``.

    ``due`` and ``failed`` are counts in the bin by due time; latencies are seconds; ``ready`` and ``desired`` are pods
    at the end of the bin; ``restarts`` counts container restarts in the bin.
    """

    bin_s: float = 0.1
    start_s: float = 0.0
    due: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    p50: tuple[float | None, ...] = ()
    p95: tuple[float | None, ...] = ()
    p99: tuple[float | None, ...] = ()
    ready: tuple[int | None, ...] = ()
    desired: tuple[int | None, ...] = ()
    restarts: tuple[int, ...] = ()


class KeptLog(Value):
    """The end of one container's log, in the run's folder.

    Attributes:
        pod: namespace/name. of: the container's attempt when it was read, or the one before that.
        read_at_s: before the end of the run where the pod was gone by then.
    """

    pod: str
    container: str
    of: Literal["current", "previous"] = "current"
    read_at_s: float
    file: str


class RunResult(Value):
    """One repetition. ``void_reason``: why its measurement cannot be trusted (then it enters no statistics)."""

    number: int
    verdict: Verdict
    reason: str = ""
    void_reason: str = ""
    started_at: datetime
    duration_s: float
    rate: float = 0.0  # requests per second that the pulse was asked for
    phases: tuple[Phase, ...] = ()
    steady_states: tuple[SteadyStateResult, ...] = ()
    disruptions: tuple[Disruption, ...] = ()
    outages: tuple[Outage, ...] = ()
    requests: Requests = Field(default_factory=Requests)
    latency: Latency = Field(default_factory=Latency)
    clients: ClientView | None = None
    detector: Detector | None = None
    send_lateness_p99_s: float | None = None
    restarts: int = 0
    series: Series = Field(default_factory=Series)
    events: tuple[TimelineEvent, ...] = ()
    locust: LocustResult | None = None
    targets: tuple[TargetResult, ...] = ()  # every pulse target, the first one too
    machine: MachineLoad | None = None  # what the measuring machine went through
    generator: tuple[GeneratorUse, ...] = ()  # every process that sent requests
    shipping: Shipping | None = None  # where something was shipped
    state: StateView | None = None  # of a system that keeps what is written to it
    logs: tuple[KeptLog, ...] = ()  # of what was disrupted
    logs_missing: tuple[str, ...] = ()  # of whom they could not be kept, and why
    notes: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether it enters statistics: it is not void, and it went through."""
        return not self.void_reason and self.verdict in WENT_THROUGH

    def disruption(self, name: str) -> Disruption | None:
        return next((item for item in self.disruptions if item.name == name), None)
