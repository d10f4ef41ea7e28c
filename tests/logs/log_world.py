"""A cluster of which only pods and their logs are there: the real registry, and logs that grow, end and break off."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.api.resources import PODS
from testbed.cli.log_choice import moment_text
from testbed.client.inprocess import InProcessClient
from testbed.core.profile import FAST
from testbed.errors import ApiUnavailable, BadRequest
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.simulation.loop import VirtualClock, VirtualLoop
from testbed.store import Store

Json = dict[str, Any]


@dataclass
class Life:
    """A container from its start to its end. ``lines``: nanoseconds since 1970, text."""

    id: str
    lines: list[tuple[int, str]] = field(default_factory=list)
    ended: bool = False


class LogWorld(InProcessClient):
    """``down``: the API answers nobody, and what it was answering has broken off."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.clock, self._loop = VirtualClock(loop), loop
        registry = Registry(Store(), clock=self.clock, random=random.Random(1), profile=FAST,
                            service_range="10.9.128.0/17", node_ports=(30001, 30002))
        ensure_system_objects(registry, "10.9.128.1")
        super().__init__(registry)
        self.lives: dict[tuple[str, str], list[Life]] = {}
        self.written: list[str] = []
        self.down = False
        self._grown = asyncio.Event()
        self._numbers = itertools.count(1)

    async def run_pod(self, name: str, *containers: str, app: str = "web") -> None:
        await self.create(PODS, {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": "n1", "containers": [{"name": item, "image": "x"} for item in containers or ("web",)]},
        }, "default")
        for container in containers or ("web",):
            self.lives[name, container] = []
            await self.restart(name, container)

    async def restart(self, name: str, container: str = "web") -> None:
        lives = self.lives[name, container]
        for life in lives:
            life.ended = True
        lives.append(Life(f"id-{next(self._numbers)}"))
        self._wake()
        await self.patch(PODS, name, {"status": {"phase": "Running", "containerStatuses": [
            {"name": each, "image": "x", "imageID": "", "ready": True, "restartCount": len(own) - 1,
             "containerID": own[-1].id, "state": {"running": {}}}
            for (pod, each), own in self.lives.items() if pod == name and own]}}, "default", subresource="status")

    async def remove_pod(self, name: str) -> None:
        for (pod, _), lives in self.lives.items():
            if pod == name:
                lives[-1].ended = True
        self._wake()
        await self.delete(PODS, name, "default", grace_period_s=0)

    def write(self, name: str, container: str = "web") -> str:
        number = next(self._numbers)
        text = f"{name} {container} {number}"
        moment = int(self.clock.now().timestamp() * 1e6) * 1000 + number  # two lives have no moment in common
        self.lives[name, container][-1].lines.append((moment, text))
        self.written.append(text)
        self._wake()
        return text

    def break_off(self, *, down: bool) -> None:
        self.down = down
        self._wake(broken=True)

    def _wake(self, *, broken: bool = False) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.broken = broken  # type: ignore[attr-defined]
        grown.set()

    async def log_lines(self, name: str, namespace: str, options: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.001)
        if self.down:
            raise ApiUnavailable("the API does not answer")
        lives = self.lives[name, options["container"]]
        if options.get("previous") and len(lives) < 2:
            raise BadRequest(f'previous terminated container "{options["container"]}" in pod "{name}" not found')
        life = lives[-2] if options.get("previous") else lives[-1]
        told = [line for line in life.lines if stamp(line[0]) >= options.get("sinceTime", "")]
        position = len(life.lines)
        if "tailLines" in options:
            told = told[max(0, len(told) - int(options["tailLines"])):]
        for at_ns, text in told:
            yield f"{stamp(at_ns)} {text}\n".encode()
        while options.get("follow") and (not life.ended or position < len(life.lines)):
            if position < len(life.lines):
                at_ns, text = life.lines[position]
                position += 1
                yield f"{stamp(at_ns)} {text}\n".encode()
                continue
            grown = self._grown
            await grown.wait()
            if grown.broken:  # type: ignore[attr-defined]
                raise ApiUnavailable("the API's answer broke off")


def stamp(ns: int) -> str:
    """RFC 3339 with nanoseconds."""
    return f"{moment_text(ns)[:-1]}{ns % 1000:03d}Z"
