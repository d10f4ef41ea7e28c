"""What injectors of acts share that cannot be taken back: nothing to undo, nothing to hold."""

from __future__ import annotations

from faults.protocol import Act, Fault, Json, Tools


class OneShot(Fault):
    """Base of the kills."""

    reversible = False
    after_restart = "never"

    async def undo(self, tools: Tools, plan: Json) -> None:
        """The healer mends it, or nobody."""

    async def undone(self, tools: Tools, plan: Json) -> bool:
        return True

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ()
