"""A simulated cluster as Prometheus sees it: what it would have scraped each virtual second, as blocks of its database.

Real are the cluster's decisions, the text of every ``/metrics`` and the Prometheus that is asked afterwards; a minute
of it takes seconds. Nothing of an experiment runs here: its object is written by hand, second by second, as the runner
publishes it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.board_answers import Span
from support.prometheus import program

from testbed.node.agent import Agent
from testbed.node.metrics import AgentExposition
from testbed.node.usage import collect_usage
from testbed.server.metrics import Exposition
from testbed.server.request_counts import RequestCounts
from testbed.server.targets import targets
from testbed.simulation.world import World

INSTANCE = "simulation"
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")


class Recorder:
    def __init__(self, world: World) -> None:
        assert world.api.registry is not None and world.api.control_plane is not None
        self._world = world
        self._requests = RequestCounts()
        self._expose = Exposition(world.api.registry, world.api.control_plane, self._requests)
        self._agents: dict[Agent, AgentExposition] = {}  # one that is started again is another one
        self._shift_s = time.time() - 3600 - world.clock.now().timestamp()  # virtual time was not long ago
        self._began = self._now
        self._lines: list[str] = []

    @property
    def _now(self) -> float:
        return self._world.clock.now().timestamp() + self._shift_s

    async def run(self) -> None:
        """A look each second, until it is cancelled."""
        while True:
            self._requests.note("LIST", "pods", 200, 0.002)  # nobody asks the simulated API over HTTP
            await self._look()
            await asyncio.sleep(1)

    async def _look(self) -> None:
        for target in targets("api", INSTANCE, self._world.room.nodes, gateway=False, ingress=False):
            labels = {name: value for name, value in target["labels"].items() if not name.startswith("__")}
            text = await self._scraped(labels)
            samples = list(_samples(text or "", labels))
            own = {"up": int(text is not None), "scrape_duration_seconds": 0.01, "scrape_samples_scraped": len(samples)}
            samples += [_line(name, labels, value) for name, value in own.items()]
            self._lines += [f"{line} {self._now:.3f}" for line in samples]

    async def _scraped(self, labels: dict[str, str]) -> str | None:
        """None: there is no answer."""
        if labels["part"] == "api":
            return self._expose()[0].decode()
        node = self._world.room.nodes[labels["node"]]
        if not node.powered or node.cable.cut or node.agent is None:
            return None
        page = self._agents.setdefault(node.agent, AgentExposition(node.agent))
        return page.text(await collect_usage(node.agent))[0].decode()

    async def close(self) -> None:
        for page in (self._expose, *self._agents.values()):
            await page.close()

    def write(self, directory: Path) -> Span:
        """As a database that Prometheus opens. Returns the time it covers."""
        text = directory / "recorded.txt"
        text.write_text("\n".join([*self._lines, "# EOF", ""]))
        done = subprocess.run([program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text),
                               str(directory / "data")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return Span(self._began, self._now)


def _samples(text: str, labels: dict[str, str]) -> Iterator[str]:
    """With the target's labels; one of the same name that was exposed gives way to it, as Prometheus has it."""
    added = _words(labels)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            found = _SAMPLE.fullmatch(line)
            assert found, line
            name, exposed, value = found.groups()
            words = re.sub(rf"(^|,)({'|'.join(labels)})=", r"\1exported_\2=", exposed or "")
            yield f"{name}{{{','.join(filter(None, (words.rstrip(','), added)))}}} {value}"


def _words(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _line(name: str, labels: dict[str, str], value: float) -> str:
    return f"{name}{{{_words(labels)}}} {value}"
