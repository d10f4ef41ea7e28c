"""What the clients met: outages, requests by what became of them, latency."""

from __future__ import annotations

from pydantic import Field

from testbed.experiment.result.value import Value


class Outage(Value):
    """From the due time of the first request that failed to the first normal answer received after it.

    ``uncertainty_s`` is one request interval, the resolution; what each edge is known to is in ``start_uncertainty_s``
    and ``end_uncertainty_s`` (more where requests left late, less where a waiting request was answered).
    """

    start_s: float
    end_s: float
    failed: int = 0
    slow: int = 0  # answered, but slower than the normal band
    uncertainty_s: float = 0.0
    start_uncertainty_s: float = 0.0
    end_uncertainty_s: float = 0.0
    ended: bool = True  # False: still out when the run ended; ``end_s`` is then the end of the run

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    @property
    def length_uncertainty_s(self) -> float:
        """Of ``seconds``: that of both edges. Results of before know only the resolution."""
        return self.start_uncertainty_s + self.end_uncertainty_s or self.uncertainty_s


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

    @property
    def answered_ratio(self) -> float | None:
        """Right answers in time, of all that were due."""
        return self.ok / self.due if self.due else None


class Latency(Value):
    """Seconds from due time to answer, of answered requests."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class BurnAlert(Value):
    """A burn-rate alert of two windows (Google SRE workbook, chapter 5). ``at_s``: when this alone would have fired it,
    after hours without a bad request; None: it would not have."""

    factor: float
    long_s: float
    short_s: float
    at_s: float | None = None


class Burn(Value):
    """What one stretch took of an error budget. Bad requests are those that failed or came after the deadline.

    Attributes:
        target: the share of good requests that is promised, and ``window_s`` over which.
        rate: the share of bad requests, as a multiple of what is allowed; 1 uses the budget up exactly at its end.
        spent_s: the bad requests as seconds in which nobody was served, at the pulse's rate; of ``budget_s``.
    """

    target: float
    window_s: float
    bad: int
    rate: float
    spent_s: float
    budget_s: float
    alerts: tuple[BurnAlert, ...] = ()

    @property
    def share(self) -> float:
        """Of the window's whole budget."""
        return self.spent_s / self.budget_s


class ClientView(Value):
    """What clients met in one stretch: of the whole run from the method on, or of one disruption. See docs/clients.md.

    Attributes:
        outage_sum_s: known to ``outage_uncertainty_s``, that of all edges; an outage that did not end counts so far.
        requests: counts of this stretch; every share that is told of it is of these (none in results of before).
        availability_requests: right answers within the deadline, of all these. availability_time: the share of the
            stretch that was no outage.
        failed_at_most: upper bound (95 %) of the true share of failing requests where none failed: 3 / requests.
        before: the calm before the method; during: from the start until latency was normal again; after: the rest.
        normal_limit_s: what is no slower than before; latency and resilience are held against it.
        latency_normal_s: from the start until latency was back to normal (a change point); None: it never left, or,
            with ``latency_disturbed_s`` above 0, did not come back. latency_disturbed_s: how long it was not normal.
        lost_s: resilience loss, the area under 1 - Q(t)/Q0 in lost seconds; depth: its deepest 100 ms, 1 is all.
        gray_s: seconds over which requests failed or came late again and again while every probe was green; None: it
            cannot be told.
    """

    start_s: float
    end_s: float
    outage_count: int = 0
    outage_sum_s: float = 0.0
    outage_longest_s: float = 0.0
    outage_uncertainty_s: float = 0.0
    requests: Requests = Field(default_factory=Requests)
    availability_requests: float | None = None
    availability_time: float | None = None
    failed_at_most: float | None = None
    before: Latency = Field(default_factory=Latency)
    during: Latency = Field(default_factory=Latency)
    after: Latency = Field(default_factory=Latency)
    normal_limit_s: float | None = None
    latency_normal_s: float | None = None
    latency_disturbed_s: float = 0.0
    lost_s: float | None = None
    depth: float | None = None
    gray_s: float | None = None
    burn: Burn | None = None
