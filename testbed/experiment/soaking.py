"""A soak: random faults again and again for a while, each kind with a mean time between two of them.

Moments are drawn like those of independent failures (exponential gaps, from the seed), so that kinds overlap as they
do in life. It only creates fault objects and looks at them; what each may hit is the chaos daemon's to judge. At the
end, and whatever ends it, all that it made is deleted, which undoes it; then the workload must be whole again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.api.resources import PODS, ResourceType
from testbed.client.protocol import Client
from testbed.errors import ApiError, NotFound
from testbed.experiment.embedded import fault_resource

Json = dict[str, Any]
SOAK = "testbed.io/soak"  # label on all that one soak made
MOST = 100_000  # moments that one soak may draw
_LOOK_S = 0.25


@dataclass(frozen=True)
class Due:
    """``at_s`` from the beginning a fault of ``name`` comes, held for ``hold_s``."""

    at_s: float
    name: str
    hold_s: float


@dataclass
class Tally:
    """What became of one kind's faults. ``problems``: the words of those without effect, with how often."""

    drawn: int = 0
    injected: int = 0
    problems: dict[str, int] = field(default_factory=dict)


def draw(means_s: Mapping[str, float], span_s: float, hold_s: float, random: randomness.Random) -> tuple[Due, ...]:
    """All moments within ``span_s``, in their order.

    Args:
        means_s: mean time between two faults, by short name; more than 0. hold_s: each is held half to one and a half
            of it.
    """
    found: list[Due] = []
    for name in sorted(means_s):
        at_s = random.expovariate(1 / means_s[name])
        while at_s < span_s and len(found) < MOST:
            found.append(Due(at_s, name, hold_s * random.uniform(0.5, 1.5)))
            at_s += random.expovariate(1 / means_s[name])
    return tuple(sorted(found, key=lambda due: (due.at_s, due.name)))


class Soak:
    """``make(name, hold_s)``: a fault object of that short name. ``say``: one line for each event."""

    def __init__(
        self, client: Client, dues: Sequence[Due], make: Callable[[str, float], Json], *, soak_id: str, namespace: str,
        say: Callable[[str], None],
    ) -> None:
        self._client, self._dues, self._make = client, dues, make
        self._id, self._namespace, self._say = soak_id, namespace, say
        self.tallies: dict[str, Tally] = {}
        self._open: dict[str, tuple[str, ResourceType]] = {}  # object name: short name and kind
        self._counted: set[str] = set()
        self._made = 0

    async def run(self, span_s: float) -> None:
        """Returns when the time is over and everything is taken back; also when it is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            for due in self._dues:
                await self._watch(begin + due.at_s)
                await self._inject(due, loop.time() - begin)
            await self._watch(begin + span_s)
        finally:
            await asyncio.shield(self._take_back())

    async def _watch(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._look()
            left_s = until - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, _LOOK_S if self._open else left_s))

    async def _inject(self, due: Due, now_s: float) -> None:
        tally = self.tallies.setdefault(due.name, Tally())
        tally.drawn += 1
        self._made += 1
        obj = self._make(due.name, due.hold_s)
        metadata = obj.setdefault("metadata", {})
        metadata |= {"name": f"soak-{self._id}-{self._made}", "namespace": self._namespace,
                     "labels": {SOAK: self._id}}
        kind = fault_resource(obj)
        try:
            await self._client.create(kind, obj, self._namespace)
        except ApiError as error:
            self._problem(due.name, error.message)
            return
        self._open[metadata["name"]] = (due.name, kind)
        self._say(f"{now_s:7.1f} s  {due.name}")

    async def _look(self) -> None:
        """What has become of those that are open; what is over is deleted."""
        for name, (short, kind) in list(self._open.items()):
            try:
                status = (await self._client.get(kind, name, self._namespace)).get("status") or {}
            except NotFound:
                del self._open[name]
                continue
            except ApiError:
                continue  # unknown; it is asked again
            if self._judge(short, name, status):
                with contextlib.suppress(ApiError):
                    await self._client.delete(kind, name, self._namespace)

    def _judge(self, short: str, name: str, status: Mapping[str, Any]) -> bool:
        """Whether it is over. Counts it once, as injected or with what went wrong."""
        held = {item["type"]: item for item in status.get("conditions") or ()}
        records = (status.get("experiment") or {}).get("containerRecords") or ()
        injected = bool(records) and all(record["injectedCount"] for record in records)
        refused = held.get("Selected", {}).get("status") == "False"
        recovered = held.get("AllRecovered", {}).get("status") == "True"
        over = refused or recovered or (injected and not any(record["phase"] == "Injected" for record in records))
        if name not in self._counted and (injected or over):
            self._counted.add(name)
            if injected:
                self.tallies[short].injected += 1
            else:
                told = held.get("Selected" if refused else "AllInjected", {})
                self._problem(short, str(told.get("message") or "it had no effect"))
        return over

    def _problem(self, short: str, message: str) -> None:
        problems = self.tallies[short].problems
        problems[message] = problems.get(message, 0) + 1
        self._say(f"           {short}: {message}")

    async def _take_back(self) -> None:
        for name, (_, kind) in list(self._open.items()):
            with contextlib.suppress(ApiError):
                await self._client.delete(kind, name, self._namespace)
        while self._open:
            await self._look()
            await asyncio.sleep(_LOOK_S)


async def whole_within(client: Client, namespace: str, labels: Mapping[str, str], within_s: float) -> str:
    """Waits until all pods of the selector are ready and stay so for two looks; empty then, else what is not."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    good = 0
    while True:
        problem = await _unready(client, namespace, labels)
        good = 0 if problem else good + 1
        if good >= 2:
            return ""
        if loop.time() >= until:
            return problem or "the pods have only just become ready"
        await asyncio.sleep(_LOOK_S)


async def _unready(client: Client, namespace: str, labels: Mapping[str, str]) -> str:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    try:
        pods = (await client.list(PODS, namespace, label_selector=selector)).items
    except ApiError as error:
        return error.message
    for pod in pods:
        held = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or ()}
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and held.get("Ready") != "True":
            return f"pod {pod['metadata']['name']} is not ready"
    return "" if pods else "no pod matches"
