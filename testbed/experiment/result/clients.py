"""What the clients met: outages, requests by what became of them, latency, Locust's counts."""

from __future__ import annotations

from pydantic import Field

from testbed.experiment.result.value import Value


class Outage(Value):
    """From the due time of the first request that failed to the first normal answer received after it.

    The true edges lie within ``uncertainty_s`` (one request interval) of these.
    """

    start_s: float
    end_s: float
    failed: int = 0
    slow: int = 0  # answered, but slower than the normal band
    uncertainty_s: float = 0.0
    ended: bool = True  # False: still out when the run ended; ``end_s`` is then the end of the run

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Requests(Value):
    """Arrivals of the pulse: ``due`` = ``ok`` + ``late`` + ``failed``, and ``failed`` holds ``unsent``.

    ``late``: a right answer, but after the deadline.
    """

    due: int = 0
    ok: int = 0
    failed: int = 0
    late: int = 0
    unsent: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)  # e.g. {"200": 990, "refused": 6, "timeout": 4}

    @property
    def failed_ratio(self) -> float | None:
        return self.failed / self.due if self.due else None


class Latency(Value):
    """Seconds from due time to answer, of answered requests."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class LocustEntry(Value):
    name: str
    requests: int
    failures: int
    p50: float | None = None
    p95: float | None = None


class LocustResult(Value):
    """Counts of the realistic load. Its users wait for answers, so an outage hides in its percentiles."""

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
