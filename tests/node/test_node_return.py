"""A node that the API had given up and that is back, in virtual time: told once, with the moment of its change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from node_world import until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import NODES, ResourceType
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import PatchType
from testbed.core.profile import FAST
from testbed.errors import ApiUnavailable

Json = dict[str, Any]
LONG_AGO = "2020-01-01T00:00:00Z"


class BadLine:
    """As the API's client. ``losing``: answers to statuses of nodes that get lost; the API has taken them. ``late_s``:
    how late the next answers about a node come."""

    def __init__(self, client: Any) -> None:
        self._client, self.losing = client, 0
        self.late_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get(self, resource: ResourceType, *args: Any, **more: Any) -> Json:
        answer: Json = await self._client.get(resource, *args, **more)
        if resource is NODES and self.late_s:
            await asyncio.sleep(self.late_s.pop(0))
        return answer

    async def patch(self, resource: ResourceType, name: str, body: Json, *args: Any, **more: Any) -> Json:
        answer: Json = await self._client.patch(resource, name, body, *args, **more)
        if resource is NODES and more.get("subresource") == "status" and self.losing:
            self.losing -= 1
            raise ApiUnavailable("no answer")
        return answer


async def conditions(w: SimulatedWorld) -> dict[str, Json]:
    """By type; empty before the node has registered."""
    return {item["type"]: item for node in (await w.client.list(NODES)).items for item in node["status"]["conditions"]}


async def give_up(w: SimulatedWorld, status: str) -> None:
    """As the node controller does to a silent node."""
    told = [{"type": kind, "status": status, "reason": "NodeStatusUnknown", "lastTransitionTime": LONG_AGO}
            for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")]
    await w.client.patch(NODES, "n1", {"status": {"conditions": told}}, patch_type=PatchType.STRATEGIC,
                         subresource="status")


async def is_ready(w: SimulatedWorld) -> bool:
    return (await conditions(w)).get("Ready", {}).get("status") == "True"


async def told(w: SimulatedWorld) -> list[tuple[str, str, int]]:
    """Of each event about the return: whose, in which words, how often."""
    await asyncio.sleep(3 * FAST.node_status_interval_s)  # whatever is told again with a later status
    return [(item["involvedObject"]["kind"] + "/" + item["involvedObject"]["name"], item["message"], item["count"])
            for item in await w.events("NodeReady")]


ONCE = [("Node/n1", "Node n1 status is now: NodeReady", 1)]


@pytest.mark.parametrize("status", ["Unknown", "False"])
def test_a_node_that_was_given_up_tells_once_that_it_is_ready(tmp_path: Path, status: str) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await until(lambda: is_ready(w))
        assert await told(w) == []  # not when it comes for the first time, nor while nothing changes
        await give_up(w, status)
        await until(lambda: is_ready(w))
        changed = await conditions(w)
        assert await told(w) == ONCE
        later = await conditions(w)
        for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            since = changed[kind]["lastTransitionTime"]
            assert since == later[kind]["lastTransitionTime"]
            assert (since > LONG_AGO) == (kind == "Ready" or status == "Unknown")  # or it is what it was
        assert later["Ready"]["lastHeartbeatTime"] > changed["Ready"]["lastHeartbeatTime"]
        (event,) = await w.events("NodeReady")
        assert (event["type"], event["source"]) == ("Normal", {"component": "kubelet", "host": "n1"})

    simulated(tmp_path, body)


def test_an_agent_that_died_meanwhile_tells_that_its_node_is_back(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await until(lambda: is_ready(w))
        since = (await conditions(w))["Ready"]["lastTransitionTime"]
        await w.kill_agent()
        await asyncio.sleep(5)
        await w.start_agent()
        assert await told(w) == []  # it was Ready all the time
        assert (await conditions(w))["Ready"]["lastTransitionTime"] == since
        await w.kill_agent()
        await give_up(w, "Unknown")
        await w.start_agent()
        await until(lambda: is_ready(w))
        assert await told(w) == ONCE

    simulated(tmp_path, body)


def test_a_return_whose_answer_was_lost_is_told_once(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        assert isinstance(w.client, InProcessClient)
        client = BadLine(w.client)
        await w.start_agent(client)  # type: ignore[arg-type]
        await until(lambda: is_ready(w))
        await asyncio.sleep(1)
        await give_up(w, "Unknown")
        client.losing = 3
        await until(lambda: client.losing == 0)
        assert await told(w) == ONCE

    simulated(tmp_path, body)


def test_statuses_that_are_sent_at_the_same_time_tell_one_return_and_wait_for_none(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        assert isinstance(w.client, InProcessClient)
        client, loop = BadLine(w.client), asyncio.get_running_loop()
        agent = await w.start_agent(client)  # type: ignore[arg-type]
        await until(lambda: is_ready(w))
        await asyncio.sleep(1)
        await give_up(w, "Unknown")
        client.late_s = [30.0, 0.2, 0.1, 0.0]
        sent = [asyncio.create_task(agent._registration.send_status()) for _ in client.late_s]
        begun_s = loop.time()
        await asyncio.gather(*sent[1:])
        assert loop.time() - begun_s < 0.3 and not sent[0].done()
        assert await is_ready(w)
        since = (await conditions(w))["Ready"]["lastTransitionTime"]
        await sent[0]
        assert await told(w) == ONCE
        assert (await conditions(w))["Ready"]["lastTransitionTime"] == since

    simulated(tmp_path, body)
