"""The simulated chaos daemon's process and holders: the real ``faults.ChaosDaemon`` over the simulated machine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from faults.daemon import ChaosDaemon
from faults.ledger import Ledger
from faults.protocol import Act, Json, Site
from testbed.api.clock import WallClock
from testbed.api.resources import PODS
from testbed.client.protocol import Client, PatchType
from testbed.errors import NotFound, TestbedError
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.simulation.api import Line, LineClient, SimulatedApi
from testbed.simulation.loop import SimulatedProcess, VirtualLoop
from testbed.simulation.nodes import SimulatedRoom

_TRIES, _AGAIN_S = 60, 1.0
_SPARE_S = 0.5  # faults/holder.py
_UNDO_WITHIN_S = 60.0  # faults/__main__.py


class SimulatedHolders:
    """Undoes at the deadline whatever has died meanwhile, as a holder process does."""

    def __init__(
        self, host: SimulatedHost, room: SimulatedRoom, client: Client, undo: Callable[[str], Awaitable[bool]],
    ) -> None:
        """``client``: a holder's own way to the API. ``undo``: as ``python -m faults --undo ID``."""
        self._host, self._room, self._client, self._run_undo = host, room, client, undo
        self._held: dict[str, tuple[asyncio.TimerHandle, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 1

    def start(self, entry_id: str, deadline_ns: int, acts: Sequence[Act]) -> tuple[int, int]:
        if not acts:
            return (0, 0)
        self._number += 1
        left_s = max(0.0, deadline_ns / 1e9 + _SPARE_S - asyncio.get_running_loop().time())
        timer = self._host.machine.later(left_s, self._due, entry_id, tuple(acts))
        self._held[entry_id] = (timer, self._number)
        return (self._number, 1)

    def end(self, entry_id: str, holder: tuple[int, int]) -> None:
        held = self._held.pop(entry_id, None)
        if held is not None:
            held[0].cancel()

    @property
    def held(self) -> tuple[str, ...]:
        """Injections that have a holder which has nothing to do yet."""
        return tuple(self._held)

    def kill(self, entry_id: str) -> None:
        """By SIGKILL: it will never do anything."""
        held = self._held.pop(entry_id, None)
        if held is not None:
            held[0].cancel()

    def _due(self, entry_id: str, acts: tuple[Act, ...]) -> None:
        self._held.pop(entry_id, None)
        task = asyncio.get_running_loop().create_task(self._undo(entry_id, acts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _undo(self, entry_id: str, acts: tuple[Act, ...]) -> None:
        for act in acts:
            for _ in range(_TRIES):
                try:
                    await self._do(entry_id, act)
                    break
                except TestbedError:
                    await asyncio.sleep(_AGAIN_S)

    async def _do(self, entry_id: str, act: Act) -> None:
        if act["do"] == "thaw" and act["cgroup"].startswith("/testbed-"):
            await self._host.thaw(act["cgroup"])
        elif act["do"] == "ask-room" and act["path"].endswith("/power"):
            await self._room.set_power(act["path"].split("/")[2], on=True)
        elif act["do"] == "restore-images":
            await self._restore_images(act)
        elif act["do"] == "undo" and not await self._run_undo(entry_id):
            raise TestbedError("the undo did not succeed")

    async def _restore_images(self, act: Act) -> None:
        """``faults.holder.restore_images`` by the same two requests."""
        try:
            pod = await self._client.get(PODS, act["name"], act["namespace"])
        except NotFound:
            return
        if pod["metadata"]["uid"] != act["uid"]:
            return
        patch = [{"op": "test", "path": "/metadata/uid", "value": act["uid"]}]
        patch += [{"op": "replace", "path": f"/spec/containers/{index}/image", "value": act["images"][item["name"]]}
                  for index, item in enumerate(pod["spec"]["containers"]) if item["name"] in act["images"]]
        await self._client.patch(PODS, act["name"], patch, act["namespace"], patch_type=PatchType.JSON)


class SimulatedChaos:
    """Starts, kills and starts again the daemon; the ledger's file outlives it."""

    def __init__(
        self, loop: VirtualLoop, api: SimulatedApi, machine: SimulatedMachine, room: SimulatedRoom, *, instance_id: str,
        directory: Path, clock: WallClock, seed: str,
    ) -> None:
        self._api, self._machine, self._room, self._clock, self._seed = api, machine, room, clock, seed
        self._id, self._directory = instance_id, directory
        self._host = SimulatedHost(machine, instance_id, "chaos")
        holder = LineClient(api, Line(), random.Random(f"{seed} holders"))
        self.holders = SimulatedHolders(self._host, room, holder, self.undo)
        self.ledger = Ledger(directory / "ledger.sqlite")
        self.starts = 0
        self._loop = loop
        self._process: SimulatedProcess | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.starts += 1
        daemon = self._daemon(f"chaos {self.starts}")
        self._process = SimulatedProcess(self._loop)
        self._task = asyncio.create_task(daemon.run(), name="chaos", context=self._process.context())
        self._machine.log("chaos start")

    def _daemon(self, who: str) -> ChaosDaemon:
        draw = random.Random(f"{self._seed} {who}")
        client = LineClient(self._api, Line(), draw)
        site = Site(self._id, self._directory, f"/testbed-{self._id}", instance_name="simulation")
        return ChaosDaemon(
            client, SimulatedEngine(self._machine, "chaos"), self._host, self._room, self.ledger, self._clock, draw,
            site=site, holders=self.holders,
        )

    async def undo(self, only: str = "") -> bool:
        """As ``python -m faults --undo``: one injection, or all, whatever the daemon does; whether nothing is left."""
        try:
            async with asyncio.timeout(_UNDO_WITHIN_S):
                return await self._daemon(f"undo {only}").undo(only)
        except TimeoutError:
            return False

    async def undo_by_hand(self) -> bool:
        """As ``testbed faults undo --all`` does what the daemon cannot: for good; whether nothing is left."""
        daemon = self._daemon("undo by hand")
        return not any(entry.active for entry in await daemon.take_back(self.ledger.active(), by_hand=True))

    def plan_of(self, entry_id: str) -> Json | None:
        entry = self.ledger.get(entry_id)
        return entry.plan if entry is not None else None

    @property
    def alive(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        if self._process is not None:
            self._machine.log("chaos kill")
            self._process.dead = True
            self._process = None

    def close(self) -> None:
        self.kill()
        self.ledger.close()
