"""A repetition begins with the nodes that the command began with."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import ResourceType
from testbed.errors import ApiError
from testbed.experiment.clean_start import ready_nodes, wait_for_nodes


def node(name: str, ready: bool) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


class Nodes:
    """A client that lists them; ``script``: one answer after the other, the last for ever."""

    def __init__(self, *script: dict[str, bool] | None) -> None:
        self.script = list(script)

    async def list(self, resource: ResourceType) -> Any:
        now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if now is None:
            raise ApiError("forbidden")
        return type("Listed", (), {"items": [node(name, ready) for name, ready in now.items()]})()


def client(*script: dict[str, bool] | None) -> Any:
    return Nodes(*script)


async def test_those_that_are_not_ready_are_not_waited_for() -> None:
    assert await ready_nodes(client({"a": True, "b": False})) == {"a"}
    assert await ready_nodes(client(None)) == frozenset()


async def test_one_that_comes_back_is_waited_for() -> None:
    async with asyncio.timeout(10):
        assert await wait_for_nodes(client({"a": True, "b": False}, {"a": True, "b": True}), {"a", "b"}) == ()


async def test_one_that_stays_away_is_named() -> None:
    assert await wait_for_nodes(client({"a": True}), {"a", "b"}, within_s=0) == ("b",)
