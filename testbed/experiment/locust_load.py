"""Locust as the realistic load of one repetition, and its samples as the run's own value.

The processes and what they write are `testbed.load.locust`'s; here their samples get the run's time. Requests of a
`PulseUser` had due times: their outages are found by the pulse's own rule. Of all others it is told when they failed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.experiment.clients import Clients
from testbed.experiment.kind_load import LocustSpec
from testbed.experiment.result import LocustEntry, LocustResult
from testbed.load.locust import LocustProcess, Users, Workers
from testbed.load.locust_samples import LocustData, Sample, failing
from testbed.load.outage import percentile, quality
from testbed.load.records import Outcome

_DEADLINE_S = 1.0  # of a PulseUser's requests; it decides only how they are counted


class LocustLoad:
    """A locustfile against ``url``. Its HTML report is kept as ``locust.html`` in ``folder``."""

    def __init__(self, locustfile: Path, url: str, spec: LocustSpec, *, folder: Path, number: int) -> None:
        self._users = spec.users
        stem = "locust" if number == 1 else f"locust-{number}"
        workers = None
        if spec.workers is not None:
            host, port = spec.workers.address
            workers = Workers(spec.workers.expect, host, port, spec.workers.within)
        self._process = LocustProcess(
            locustfile, url, Users(spec.users, spec.spawn_rate, spec.processes, workers),
            samples=folder / f"{stem}.tsv", html=folder / f"{stem}.html")

    async def start(self) -> None:
        """Returns when its users are being spawned. Raises: EnvironmentProblem, InvalidInput (the locustfile)."""
        await self._process.start()

    @property
    def died(self) -> bool:
        """Whether it has ended by itself, and not well."""
        return self._process.died

    def ticks(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What each of its processes has noted of its CPU, by name."""
        return self._process.read().ticks

    async def stop(self, start_ns: int, healthy_until_s: float) -> LocustResult:
        """Ends it and counts. ``start_ns``: CLOCK_MONOTONIC at the start of the run."""
        return locust_result(await self._process.stop(), self._users, start_ns, healthy_until_s)


def locust_result(data: LocustData, users: int, start_ns: int, healthy_until_s: float) -> LocustResult:
    """Counts, quantiles and rates of all samples. ``healthy_until_s``: requests due before are the normal band."""
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in data.samples:
        by_name[sample.label].append(sample)
    rates, failures = _per_second(data.samples, start_ns)
    times = sorted(sample.latency_s for sample in data.samples)
    return LocustResult(
        users=users, requests=len(data.samples), failures=sum(1 for sample in data.samples if sample.error),
        **({"p50": percentile(times, 0.5), "p95": percentile(times, 0.95), "p99": percentile(times, 0.99)}
           if times else {}),
        entries=tuple(_entry(name, found, start_ns, healthy_until_s) for name, found in sorted(by_name.items())),
        errors=dict(Counter(sample.error for sample in data.samples if sample.error).most_common(20)),
        rate=rates, failures_rate=failures, workers=max(1, len(set(data.workers))), remote=len(set(data.remote)),
        lost=data.lost, uncounted=data.uncounted[0],
    )


def _entry(name: str, samples: Sequence[Sample], start_ns: int, healthy_until_s: float) -> LocustEntry:
    times = sorted(sample.latency_s for sample in samples)
    found = failing(samples)
    records = [sample.record() for sample in samples if sample.due_ns]
    clients = Clients(records, start_ns=start_ns, rate=0.0, deadline_s=_DEADLINE_S,
                      healthy_until_s=healthy_until_s) if records else None
    return LocustEntry(
        name=name, requests=len(samples), failures=sum(1 for sample in samples if sample.error),
        p50=percentile(times, 0.5), p95=percentile(times, 0.95),
        first_failed_s=(found.first_ns - start_ns) / 1e9 if found else None,
        last_failed_s=(found.last_ns - start_ns) / 1e9 if found else None,
        longest_failing_s=found.longest_s if found else None,
        open_loop=clients is not None, outages=clients.outages() if clients else (),
        unsent=sum(1 for record in records if record.outcome is Outcome.UNSENT),
        send_lateness_p99_s=quality(records).lateness_p99_s if any(record.sent_ns for record in records) else None,
    )


def _per_second(samples: Sequence[Sample], start_ns: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of samples whose clock is ours."""
    ours = [sample for sample in samples if sample.at_ns]
    seconds = [max(0, int((sample.at_ns - start_ns) / 1e9)) for sample in ours]
    if not seconds:
        return (), ()
    count = max(seconds) + 1
    all_of, failed = [0.0] * count, [0.0] * count
    for second, sample in zip(seconds, ours, strict=True):
        all_of[second] += 1
        failed[second] += bool(sample.error)
    return tuple(all_of), tuple(failed)
