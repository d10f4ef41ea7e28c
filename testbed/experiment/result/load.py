"""What the load itself did: each pulse target, Locust's requests by name, and the CPU that sending cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from testbed.experiment.result.clients import Latency, Outage, Requests
from testbed.experiment.result.value import Value


class TargetResult(Value):
    """One pulse target. The first is what marks and outages of the disruptions are computed from, unless a step names
    another.

    Attributes:
        aim: in words: ``GET service/web /``, ``tcp service/store``.
        profile: its arrivals in words: ``100/s``, ``50/s, to 500/s in 30 s``.
        send_lateness_p99_s: how late its requests left.
    """

    name: str
    protocol: Literal["http", "tcp"] = "http"
    aim: str = ""
    profile: str = ""
    requests: Requests = Field(default_factory=Requests)
    latency: Latency = Field(default_factory=Latency)
    outages: tuple[Outage, ...] = ()
    send_lateness_p99_s: float | None = None

    @property
    def outage_s(self) -> float:
        return sum(outage.seconds for outage in self.outages)


class GeneratorUse(Value):
    """What one process of the load used of one core: on average, and in its busiest second. None: not known."""

    name: str  # "pulse web", "locust", "locust worker 1"
    cpu_share: float | None = None
    cpu_peak: float | None = None


class LocustEntry(Value):
    """One request name of Locust.

    Attributes:
        first_failed_s, last_failed_s: when its first and last failed request ended.
        longest_failing_s: the longest stretch in which no request of this name succeeded though some ended: from the
            sending of its first failed request to the next success. In a closed loop that is what waiting users saw:
            they ask less while it fails, so an outage may be longer or shorter (docs/load.md).
        open_loop: its requests had due times (`PulseUser`); only then are there ``outages``, as the pulse's.
        unsent: open loop: how many could not be sent; they are among the failures. send_lateness_p99_s: how late the
            others left.
    """

    name: str
    requests: int
    failures: int
    p50: float | None = None
    p95: float | None = None
    first_failed_s: float | None = None
    last_failed_s: float | None = None
    longest_failing_s: float | None = None
    open_loop: bool = False
    outages: tuple[Outage, ...] = ()
    unsent: int = 0
    send_lateness_p99_s: float | None = None

    @property
    def outage_s(self) -> float:
        return sum(outage.seconds for outage in self.outages)


class LocustResult(Value):
    """Counts of the realistic load. Its users wait for answers, so an outage hides in its percentiles.

    Attributes:
        workers: processes that ran users. remote: how many of them on another machine, whose clock is another: of their
            requests only counts and latencies are taken.
        lost: how many left while the load ran.
        uncounted: requests that Locust counted and of which no sample came (a worker without our listener).
    """

    users: int
    requests: int = 0
    failures: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    entries: tuple[LocustEntry, ...] = ()
    errors: dict[str, int] = Field(default_factory=dict)
    rate: tuple[float, ...] = ()  # requests per second, one value per second from the start of the run
    failures_rate: tuple[float, ...] = ()
    workers: int = 1
    remote: int = 0
    lost: int = 0
    uncounted: int = 0
