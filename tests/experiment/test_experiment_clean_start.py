"""A repetition begins with the nodes that the command began with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from testbed.api.resources import ResourceType
from testbed.errors import ApiError, ApiUnavailable, Forbidden
from testbed.experiment import clean_start
from testbed.experiment.clean_start import ready_nodes, wait_for_nodes


def node(name: str, ready: bool) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


class Nodes:
    """A client that lists them; ``script``: one answer after the other, the last for ever."""

    def __init__(self, *script: dict[str, bool] | ApiError) -> None:
        self.script = list(script)

    async def list(self, resource: ResourceType) -> Any:
        now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(now, ApiError):
            raise now
        return type("Listed", (), {"items": [node(name, ready) for name, ready in now.items()]})()


def client(*script: dict[str, bool] | ApiError) -> Any:
    return Nodes(*script)


async def test_those_that_are_not_ready_are_not_waited_for() -> None:
    assert await ready_nodes(client({"a": True, "b": False})) == {"a"}


async def test_where_they_may_not_be_listed_is_not_where_there_are_none() -> None:
    assert await ready_nodes(client(Forbidden("no"))) is None
    assert await ready_nodes(client({})) == frozenset()


async def test_an_api_that_is_away_for_a_moment_has_nodes_all_the_same() -> None:
    assert await ready_nodes(client(ApiUnavailable("away"), {"a": True})) == {"a"}


async def test_an_api_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_start, "AWAY_S", 0.0)
    with pytest.raises(ApiUnavailable):
        await ready_nodes(client(ApiUnavailable("away")))


async def test_nodes_are_waited_for_while_the_api_is_away() -> None:
    async with asyncio.timeout(10):
        assert await wait_for_nodes(client(ApiUnavailable("away"), {"a": True}), {"a"}) == ()


async def test_one_that_comes_back_is_waited_for() -> None:
    async with asyncio.timeout(10):
        assert await wait_for_nodes(client({"a": True, "b": False}, {"a": True, "b": True}), {"a", "b"}) == ()


async def test_one_that_stays_away_is_named() -> None:
    assert await wait_for_nodes(client({"a": True}), {"a", "b"}, within_s=0) == ("b",)
