"""Evictions by the node, in virtual time: disk beyond a limit, memory that runs out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node_world import condition, pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import NODES
from testbed.core.profile import KUBERNETES
from testbed.errors import EngineUnavailable
from testbed.runtime.usage import ContainerUsage

WRITE = "head -c 10M /dev/zero > {}; while true; do sleep 1; done"
MI = 1024**2


async def evicted(w: SimulatedWorld, name: str, within_s: float = 60) -> dict[str, Any]:
    async def failed() -> Any:
        status = await w.status(name)
        return status if status.get("phase") == "Failed" else None

    status: dict[str, Any] = await until(failed, within_s=within_s)
    assert status["reason"] == "Evicted"
    return status


@pytest.mark.parametrize(("path", "volume", "limits", "message"), [
    ("/data/x", {"sizeLimit": "5Mi"}, {}, 'Usage of EmptyDir volume "data" exceeds the limit "5Mi". '),
    ("/data/x", {"sizeLimit": "5Mi", "medium": "Memory"}, {},
     'Usage of EmptyDir volume "data" exceeds the limit "5Mi". '),
    ("/data/x", {}, {"ephemeral-storage": "5Mi"},
     "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
    ("/tmp/x", {}, {"ephemeral-storage": "5Mi"},
     "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
])
def test_pd_08_a_pod_over_its_disk_limit_is_evicted(
    tmp_path: Path, path: str, volume: dict[str, Any], limits: dict[str, str], message: str
) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("greedy", spec={"volumes": [{"name": "data", "emptyDir": volume}]}, container={
            "command": ["sh", "-c", WRITE.format(path)], "resources": {"limits": limits},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}))
        await w.create(pod("modest", container={"resources": {"limits": {"ephemeral-storage": "5Mi"}}}))
        status = await evicted(w, "greedy")
        assert status["message"] == message
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
        assert (await w.events("Evicted"))[0]["type"] == "Warning"
        await asyncio.sleep(60)
        assert (await w.status("greedy"))["phase"] == "Failed"
        assert not [item for item in w.containers() if item.running and "greedy" in item.spec.name]
        assert await w.ready("modest")

    simulated(tmp_path, body, profile=KUBERNETES)


def test_a_node_short_of_memory_evicts_who_is_over_its_request_first_and_asks_no_engine_for_it(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        w.facts = replace(w.facts, limited=True, memory="512Mi")
        await w.start_agent()

        async def silent(*_: object) -> ContainerUsage:
            raise EngineUnavailable("no answer")

        w.engine.usage = silent  # type: ignore[method-assign]

        def asking(memory: str) -> dict[str, Any]:
            return {"resources": {"requests": {"memory": memory}}}

        await w.create(pod("within", container=asking("200Mi")))
        await w.create(pod("over", container=asking("10Mi")))
        await w.create(pod("small"))
        for name in ("within", "over", "small"):
            await until(lambda name=name: w.ready(name))  # type: ignore[misc]
        uses = {"within": 200, "over": 150, "small": 90}
        for item in w.containers(status="running"):
            item.memory_bytes = next(size for name, size in uses.items() if f"_{name}_" in item.spec.name) * MI

        async def pressed(status: str) -> bool:
            node = await w.client.get(NODES, "n1")
            return condition(node["status"], "MemoryPressure") == status

        await until(lambda: pressed("True"), within_s=20)
        status = await evicted(w, "over")
        assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi, ")
        told = "Container app was using 153600Ki, request is 10Mi, has larger consumption of memory. "
        assert status["message"].endswith(told)
        target = next(item for item in status["conditions"] if item["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
        assert await w.ready("within")
        assert await w.ready("small")
        await w.create(pod("late"))
        assert (await evicted(w, "late"))["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
        await w.create(pod("asking", container=asking("10Mi")))
        await until(lambda: w.ready("asking"))
        assert await pressed("True")
        await until(lambda: pressed("False"), within_s=330)

    simulated(tmp_path, body, profile=KUBERNETES)


def test_a_node_without_a_limit_of_its_own_is_never_short(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p"))
        await until(lambda: w.ready("p"))
        w.running().memory_bytes = 1 << 40
        await asyncio.sleep(60)
        assert await w.ready("p")

    simulated(tmp_path, body, profile=KUBERNETES)


def test_a_node_short_of_disk_evicts_who_has_most_on_it(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        w.facts = replace(w.facts, disk_limited=True, ephemeral_storage="20Mi")
        await w.start_agent()

        def writing(size: str) -> dict[str, Any]:
            return {"command": ["sh", "-c", f"head -c {size} /dev/zero > /data/x; while true; do sleep 1; done"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}

        async def pressed(status: str) -> bool:
            node = await w.client.get(NODES, "n1")
            return condition(node["status"], "DiskPressure") == status

        await w.create(pod("idle"))
        await w.create(pod("little", spec={"volumes": [{"name": "data", "emptyDir": {}}]}, container=writing("4M")))
        await until(lambda: w.ready("little"))
        await asyncio.sleep(30)
        assert await pressed("False")
        await w.create(pod("much", spec={"volumes": [{"name": "data", "emptyDir": {}}]}, container=writing("15M")))
        await until(lambda: pressed("True"), within_s=30)
        status = await evicted(w, "much")
        told = "The node was low on resource: ephemeral-storage. Threshold quantity: 2Mi, available: "
        assert status["message"].startswith(told)
        await w.create(pod("late"))
        assert (await evicted(w, "late"))["message"] == "Pod was rejected: The node had condition: [DiskPressure]. "
        await until(lambda: pressed("False"), within_s=330)
        assert await w.ready("little")
        assert await w.ready("idle")

    simulated(tmp_path, body, profile=KUBERNETES)
