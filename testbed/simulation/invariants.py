"""What must always be true of a cluster, whatever happens to it: one small checker for each invariant.

A checker looks at the world after each step (``step``) and when containers die (``died``), and says in words what is
wrong. It knows nothing of how the healer decides. Numbers I1 to I16 are those of the project's catalog of invariants;
I12 and I15 compare whole runs and are tests, I14 is ``World.until_settled``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

from testbed.api import labels
from testbed.errors import TestbedError
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.world import World

Json = dict[str, Any]

STEP_S = 0.05
SIGKILL, SIGTERM = 9, 15


class Violation(TestbedError):
    """An invariant does not hold. The seed and the end of the trace are part of the message."""


class Checker(Protocol):
    """``name``: the invariant's number."""

    name: str

    def step(self, world: World) -> Iterator[str]: ...

    def died(self, world: World, container: SimulatedContainer, code: int) -> Iterator[str]: ...


class Watch:
    """A checker that has nothing to say of one of the two occasions."""

    name = ""

    def step(self, world: World) -> Iterator[str]:
        return iter(())

    def died(self, world: World, container: SimulatedContainer, code: int) -> Iterator[str]:
        return iter(())


class Invariants:
    """Runs checkers beside a scenario and keeps what they find."""

    def __init__(self, world: World, checkers: list[Checker]) -> None:
        self._world, self._checkers = world, checkers
        self.found: list[str] = []
        self._task: asyncio.Task[None] | None = None
        world.machine.exits.append(self._died)

    def add(self, checker: Checker) -> None:
        """One more, before it begins."""
        self._checkers.append(checker)

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(STEP_S)

    def look(self) -> None:
        for checker in self._checkers:
            self._note(checker, checker.step(self._world))

    def _died(self, container: SimulatedContainer, code: int) -> None:
        for checker in self._checkers:
            self._note(checker, checker.died(self._world, container, code))

    def _note(self, checker: Checker, problems: Iterator[str]) -> None:
        for problem in problems:
            text = f"{checker.name}: {problem}"
            if text not in self.found:
                self.found.append(text)
                self._world.trace.add(f"VIOLATION {text}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error

    def judge(self) -> None:
        """Raises: Violation."""
        if self.found:
            raise Violation(
                f"seed {self._world.seed}:\n" + "\n".join(self.found) + "\n--- trace\n" + self._world.trace.tail(80)
            )


# --- what the checkers ask


def key_of(container: SimulatedContainer) -> tuple[str, str]:
    """(pod uid, container name); empty for what is of no pod."""
    own = container.spec.labels
    name = "" if own.get(labels.ROLE) == labels.ROLE_SANDBOX else own.get(labels.CONTAINER_NAME, "")
    return own.get(labels.POD_UID, ""), name


def pod_of(world: World, uid: str) -> Json | None:
    return next((pod for pod in world.pods() if pod["metadata"]["uid"] == uid), None)


def disturbed(world: World, node: str) -> bool:
    """Whether a node cannot do its work just now, or could not a moment ago."""
    found = world.room.nodes.get(node)
    calm = (
        found is not None and found.powered and not found.cable.cut and found.process is not None
        and found.process.alive and not world.machine.is_frozen(found.facts.cgroup)
    )
    hiccups = world.machine.hiccups
    return not calm or not world.api.up or hiccups.down or hiccups.silent


class Patience:
    """How long something has been so, counted only while nothing disturbs."""

    def __init__(self, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._since: dict[str, float] = {}

    def exceeded(self, now_s: float, key: str, *, excused: bool) -> bool:
        began = self._since.setdefault(key, now_s)
        if excused:
            self._since[key] = now_s
            return False
        return now_s - began > self._allowed_s

    def keep_only(self, keys: set[str]) -> None:
        self._since = {key: since for key, since in self._since.items() if key in keys}
