"""Whom a fault object hits, as the daemon sees the cluster: chosen the first time, looked at in a dry run, and again
when a target is gone. The decisions are choosing.py's and following.py's; here they are asked with what is known, and
written down.

Nothing is awaited between a look at what is hurt and the writing: two objects cannot both take the last pod that may be
hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from faults import choosing, dry_run, following, lifecycle, refusals
from faults.abilities import Abilities
from faults.choosing import Scene
from faults.ledger import Entry, Ledger
from faults.protocol import SELECTED, Json, Refused, Tools
from faults.registry import Registry, fault_name
from faults.status import moved
from faults.told import whom
from testbed.api.process_logs import about
from testbed.errors import EngineError, EngineUnavailable, EnvironmentProblem, InvalidInput, NoSuchContainer

log = logging.getLogger("chaos")

Problem = tuple[str, str]  # reason and message of why nothing is hit


class World(Protocol):
    """What the informers know."""

    def fault(self, kind: str, namespace: str, name: str, uid: str) -> Json | None | bool:
        """The object; False: it is gone; None: not known (yet)."""
        ...

    def pods(self) -> Sequence[Json]: ...

    def nodes(self) -> Sequence[Json]: ...

    def pods_known(self) -> bool:
        """Whether ``pods`` is the whole list: then what is not in it is gone."""
        ...


@dataclass(frozen=True)
class Followed:
    """``lost``: ids of injections whose target is gone and which wait for another. ``moved``: some have one now."""

    lost: Collection[str] = ()
    moved: bool = False
    problem: Problem | None = None


class Aimer:
    """Of one fault object, by uid."""

    def __init__(
        self, uid: str, world: World, tools: Tools, ledger: Ledger, registry: Registry, abilities: Abilities
    ) -> None:
        self._uid, self._world, self._tools = uid, world, tools
        self._ledger, self._registry, self._abilities = ledger, registry, abilities

    async def select(self, obj: Json) -> Problem | None:
        """Chooses the targets and writes them down; or says why there are none."""
        spec, metadata = obj["spec"], obj["metadata"]
        try:
            fault = self._registry.get(fault_name(obj))
            await self._abilities.check(fault)
            targets = choosing.choose(obj, fault, self._scene())
        except Refused as error:
            return ("Refused", str(error))
        if not targets:
            return dry_run.NO_TARGET
        held_s = fault.held_s(spec)
        held_s = refusals.duration_s(spec) if held_s is None else held_s
        deadline_ns = _now_ns() + int(held_s * 1e9) if held_s else 0
        chosen = [Entry(f"{self._uid}-{index:04d}", self._uid, obj["kind"], metadata["namespace"], metadata["name"],
                        fault.name, target, deadline_ns=deadline_ns) for index, target in enumerate(targets)]
        self._ledger.write(*chosen)
        for entry in chosen:
            log.info("%s %s: is to hit %s", entry.kind, entry.name, entry.target.id, extra=about(**whom(entry)))
        return None

    async def look(self, obj: Json) -> tuple[list[Json], Problem | None]:
        """As ``dry_run.look``: whom it would hit."""
        fault = self._registry.get(fault_name(obj))
        return await dry_run.look(obj, fault, self._tools, self._abilities, self._scene())

    async def follow(self, obj: Json, entries: Sequence[Entry]) -> Followed:
        """Moves on injections whose target is gone, where the fault follows. The object is meant to be in effect."""
        if not entries or not self._world.pods_known():
            return Followed()
        fault = self._registry.get(entries[0].injector)
        if not following.follows(obj, fault):
            return Followed()
        replaced = following.replaced(fault, entries, self._scene())
        nodes = {entry.id: entry.target.node for entry in entries}
        ended = [entry_id for entry_id, container in replaced.items()
                 if await self.has_ended(container, nodes[entry_id])]
        scene = self._scene()
        gone = following.lost(entries, ended, scene)
        lost = {entry.id for entry in gone}
        try:
            moves = following.successions(obj, fault, entries, [item for item in gone if not item.active], scene)
        except Refused as error:
            return Followed(lost, problem=("Refused", f"it does not follow: {error}"))
        for entry, target in moves:
            now = moved(entry, target)
            log.info("%s %s: follows from %s to %s", entry.kind, entry.name, entry.target.id, target.id,
                     extra=about(**whom(now)))
            self._ledger.write(now)
        return Followed(lost, moved=bool(moves))

    async def has_ended(self, container: str, node: str = "") -> bool:
        """``node``: whose engine knows it; empty: the machine's does. Unknown is not ended."""
        with contextlib.suppress(EngineError, EngineUnavailable, EnvironmentProblem, InvalidInput):
            engine = self._tools.node_engines.of(node) if node else None
            try:
                return not (await (engine or self._tools.engine).inspect(container)).running
            except NoSuchContainer:
                return True
        return False

    def _scene(self) -> Scene:
        now_ns = _now_ns()
        others = [entry for entry in self._ledger.all()
                  if entry.uid != self._uid and entry.target.key == SELECTED]
        hurt = [entry.target for entry in others if lifecycle.standing(entry, now_ns)]
        killed = [entry.target for entry in others if lifecycle.killed(entry, now_ns)]
        return Scene(self._world.pods(), self._world.nodes(), hurt, killed)


def _now_ns() -> int:
    return int(asyncio.get_running_loop().time() * 1e9)
