"""Base of the faults that a holder container keeps in force (holder_container.py)."""

from __future__ import annotations

from abc import abstractmethod

from faults import holder_container
from faults.holder_container import Hold
from faults.protocol import Fault, Json, Tools


class HeldFault(Fault):
    """``prepare`` puts a ``Hold`` into the plan, as ``"hold": Hold(...).to_json()``; the rest is done here but for
    ``measure``."""

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await holder_container.begin(tools, Hold.from_json(plan["hold"]))

    async def verify(self, tools: Tools, plan: Json) -> str:
        holder = await holder_container.holds(tools, Hold.from_json(plan["hold"]))
        how = await holder_container.words(tools, holder.id)
        return f"{await self.measure(tools, plan, holder.id)} ({how})"

    @abstractmethod
    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        """What was measured of the effect, from outside the target's processes; in words, with figures.

        Args: holder: id of the container that holds it. Raises: NotInEffect.
        """

    async def undo(self, tools: Tools, plan: Json) -> None:
        await holder_container.end(tools, Hold.from_json(plan["hold"]))

    async def undone(self, tools: Tools, plan: Json) -> bool:
        return await holder_container.find(tools, Hold.from_json(plan["hold"])) is None
