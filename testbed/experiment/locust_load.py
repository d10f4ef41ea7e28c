"""Locust as the realistic load of one repetition, and its samples as the run's own value.

The process and what it writes are `testbed.load.locust`'s; here its samples get the run's time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from testbed.experiment.result import LocustEntry, LocustResult
from testbed.load.locust import LocustProcess, Sample
from testbed.load.outage import percentile


class LocustLoad:
    """A locustfile against ``url``. Its HTML report is kept as ``locust.html`` in ``folder``."""

    def __init__(
        self, locustfile: Path, url: str, *, users: int, spawn_rate: float, folder: Path, number: int
    ) -> None:
        self._users = users
        stem = "locust" if number == 1 else f"locust-{number}"
        self._process = LocustProcess(locustfile, url, users=users, spawn_rate=spawn_rate,
                                      samples=folder / f"{stem}.tsv", html=folder / f"{stem}.html")

    async def start(self) -> None:
        """Returns when its users are being spawned. Raises: EnvironmentProblem, InvalidInput (the locustfile)."""
        await self._process.start()

    async def stop(self, start_ns: int) -> LocustResult:
        """Ends it and counts. ``start_ns``: CLOCK_MONOTONIC at the start of the run."""
        return locust_result(await self._process.stop(), self._users, start_ns)


def locust_result(samples: Sequence[Sample], users: int, start_ns: int) -> LocustResult:
    """Counts, quantiles and rates of all samples."""
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[f"{sample.method} {sample.name}".strip()].append(sample)
    rates, failures = _per_second(samples, start_ns)
    times = sorted(sample.latency_s for sample in samples)
    return LocustResult(
        users=users, requests=len(samples), failures=sum(1 for sample in samples if sample.error),
        **({"p50": percentile(times, 0.5), "p95": percentile(times, 0.95), "p99": percentile(times, 0.99)}
           if times else {}),
        entries=tuple(_entry(name, found) for name, found in sorted(by_name.items())),
        errors=dict(Counter(sample.error for sample in samples if sample.error).most_common(20)),
        rate=rates, failures_rate=failures,
    )


def _entry(name: str, samples: Sequence[Sample]) -> LocustEntry:
    times = sorted(sample.latency_s for sample in samples)
    return LocustEntry(name=name, requests=len(samples), failures=sum(1 for sample in samples if sample.error),
                       p50=percentile(times, 0.5), p95=percentile(times, 0.95))


def _per_second(samples: Sequence[Sample], start_ns: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    seconds = [max(0, int((sample.at_ns - start_ns) / 1e9)) for sample in samples]
    if not seconds:
        return (), ()
    count = max(seconds) + 1
    all_of, failed = [0.0] * count, [0.0] * count
    for second, sample in zip(seconds, samples, strict=True):
        all_of[second] += 1
        failed[second] += bool(sample.error)
    return tuple(all_of), tuple(failed)
