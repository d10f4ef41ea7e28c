"""What each pulse target met, and what sending cost: from their records to the run's values. Pure.

What an outage is, is `clients.py`'s and `testbed.load.outage`'s, for every target alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.experiment.clients import Clients
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.result import GeneratorUse, TargetResult
from testbed.load.outage import quality
from testbed.load.records import PulseData

_SECOND_NS = 900_000_000  # notes come about once a second


@dataclass(frozen=True)
class Target:
    """A pulse target and what its pulse has recorded so far."""

    spec: PulseSpec
    data: PulseData

    @property
    def name(self) -> str:
        return self.spec.called

    @property
    def aim(self) -> str:
        """In words: ``GET service/web /``."""
        what = f"ingress/{self.spec.ingress}" if self.spec.ingress else f"service/{self.spec.service}"
        return f"tcp {what}" if self.spec.protocol == "tcp" else f"{self.spec.method} {what} {self.spec.path}"

    def clients(self, start_ns: int, healthy_until_s: float) -> Clients | None:
        """What its clients met; None while nothing is known of them."""
        if not self.data.records:
            return None
        return Clients(self.data.stream(), start_ns=start_ns, rate=self.spec.profile.rate,
                       deadline_s=self.spec.deadline, healthy_until_s=healthy_until_s)


def target_results(targets: Sequence[Target], start_ns: int, healthy_until_s: float) -> tuple[TargetResult, ...]:
    """One for each target, in their order."""
    found = []
    for target in targets:
        clients = target.clients(start_ns, healthy_until_s)
        sent = quality(target.data.records)
        met = {"requests": clients.requests(), "latency": clients.latency(), "outages": clients.outages()} \
            if clients is not None else {}
        found.append(TargetResult.model_validate({
            "name": target.name, "protocol": target.spec.protocol, "aim": target.aim,
            "profile": target.spec.profile.told(), **met,
            "send_lateness_p99_s": sent.lateness_p99_s if sent.sent else None,
        }))
    return tuple(found)


def generator_uses(
    targets: Sequence[Target], locust: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[GeneratorUse, ...]:
    """What each process of the load used. ``locust``: notes of ``at_ns`` and ``cpu_s`` by the process's name."""
    ticks: dict[str, Sequence[Mapping[str, Any]]] = {f"pulse {target.name}": target.data.ticks for target in targets}
    return tuple(_use(name, noted) for name, noted in (*ticks.items(), *locust.items()))


def _use(name: str, ticks: Sequence[Mapping[str, Any]]) -> GeneratorUse:
    noted = [(int(tick["at_ns"]), float(tick["cpu_s"])) for tick in ticks if "cpu_s" in tick]
    if len(noted) < 2 or noted[-1][0] <= noted[0][0]:
        return GeneratorUse(name=name)
    shares, begin = [], noted[0]
    for now in noted[1:]:
        if now[0] - begin[0] >= _SECOND_NS:
            shares.append(_share(begin, now))
            begin = now
    return GeneratorUse(name=name, cpu_share=round(_share(noted[0], noted[-1]), 4),
                        cpu_peak=round(max(shares), 4) if shares else None)


def _share(begin: tuple[int, float], end: tuple[int, float]) -> float:
    return (end[1] - begin[1]) / ((end[0] - begin[0]) / 1e9)
