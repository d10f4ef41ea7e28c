"""A run in virtual time that tells of itself, and an API that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from testbed.errors import InvalidInput, NotFound
from testbed.experiment.kind import Experiment
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.load_results import Target
from testbed.experiment.objectives import parse_objective
from testbed.experiment.published_status import Heading
from testbed.experiment.publishing import PublishedRun
from testbed.experiment.repetition import Repetition
from testbed.load.records import PulseData, Record
from testbed.simulation.loop import run_virtual

Json = dict[str, Any]
STARTED = datetime(2026, 11, 29, 12, tzinfo=UTC)
SPEC: Json = {
    "apiVersion": "testbed.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "small"},
    "spec": {"method": [{"name": "wait", "wait": "1s"}], "load": {"pulse": {"service": "web"}}}}


class Api:
    """What was asked of it, with when; ``behave`` raises, waits or does nothing before each answer."""

    def __init__(self) -> None:
        self.patches: list[tuple[float, Json]] = []
        self.asked: list[str] = []
        self.objects: dict[str, Json] = {}
        self.behave: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.behave is not None:
            await self.behave()

    async def create(self, resource: Any, obj: Json, namespace: str | None = None) -> Json:
        await self._ask(f"create {resource.kind}")
        if resource.kind == "Experiment":
            self.objects[obj["metadata"]["name"]] = obj
        return obj

    async def patch(self, resource: Any, name: str, patch: Json, namespace: str, *, subresource: str) -> Json:
        await self._ask("patch")
        if name not in self.objects:
            raise NotFound("no")
        self.patches.append((asyncio.get_running_loop().time(), patch["status"]))
        found = self.objects[name]
        found["status"] = {**found.get("status", {}), **patch["status"]}
        return found

    async def list(self, resource: Any, namespace: str) -> Any:
        await self._ask("list")
        return SimpleNamespace(items=tuple(self.objects.values()))

    async def delete(self, resource: Any, name: str, namespace: str, *, uid: str) -> None:
        await self._ask("delete")
        del self.objects[name]

    @property
    def status(self) -> Json:
        found: Json = self.objects["small-1"]["status"]
        return found


class Pulse:
    """A pulse whose records come by hand."""

    def __init__(self) -> None:
        self.spec = PulseSpec.model_validate({"service": "web"})
        self.data = PulseData(start={"t0_ns": 0})
        self.coming: list[Record] = []
        self.broken = False

    def read_some(self, most_bytes: int) -> bool:
        if self.broken:
            raise InvalidInput("not a pulse's")
        some, self.coming = self.coming[:100], self.coming[100:]
        self.data.records.extend(some)
        return bool(some)


class Runner:
    """As much of a repetition as is asked."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.spec = Experiment.model_validate(SPEC).spec
        self.repetition = Repetition(1, STARTED, int(loop.time() * 1e9), None, None, ())  # type: ignore[arg-type]
        self.pulse = Pulse()
        self.load = SimpleNamespace(pulses=(self.pulse,), known=lambda: (Target(self.pulse.spec, self.pulse.data),))
        self.method = SimpleNamespace(so_far=list)


class Scene:
    def __init__(self, **more: Any) -> None:
        self.api, self.notes = Api(), list[str]()
        self.loop = asyncio.get_running_loop()
        self.began_s = self.loop.time()
        self.run = PublishedRun(
            self.api, Experiment.model_validate(SPEC), "small-1",  # type: ignore[arg-type]
            Heading("small", "testbed", "", STARTED), wanted=2, now=STARTED,
            objectives=[parse_objective("requests.failed == 0", [], 2)],
            note=lambda what, **details: self.notes.append(f"{what} {details}"))


def virtual(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def main(loop: Any) -> None:
        await story(Scene())

    run_virtual(main)
