"""Limits of a pod and its node by real containers: disk, memory of a node, projected volumes, fsGroup."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_world import engine_world
from node_world import World, condition, pod, until

from testbed.api.resources import CONFIG_MAPS, NODES

pytestmark = pytest.mark.engine


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with engine_world(tmp_path, "7e570d0de006", "limits") as made:
        yield made


async def evicted(w: World, name: str) -> dict[str, Any]:
    async def failed() -> Any:
        status = await w.status(name)
        return status if status.get("phase") == "Failed" else None

    status: dict[str, Any] = await until(failed, 60)
    assert status["reason"] == "Evicted"
    return status


async def test_pd_08_what_a_pod_writes_counts(w: World) -> None:
    await w.start_agent()
    limit = {"resources": {"limits": {"ephemeral-storage": "5Mi"}}}
    write = "head -c 10M /dev/zero > {}; sync; sleep 1000"
    await w.create(pod("layer", container={"command": ["sh", "-c", write.format("/tmp/x")], **limit}))
    await w.create(pod("volume", spec={"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "5Mi"}}]}, container={
        "command": ["sh", "-c", write.format("/data/x")], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}))
    await w.create(pod("modest", container=limit))
    assert (await evicted(w, "layer"))["message"] == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ")
    assert (await evicted(w, "volume"))["message"] == 'Usage of EmptyDir volume "data" exceeds the limit "5Mi". '
    assert await w.ready("modest")


async def test_a_node_short_of_memory_evicts_the_hungry(w: World) -> None:
    w.facts = replace(w.facts, limited=True, memory="256Mi")
    await w.start_agent()
    await w.create(pod("modest", container={"resources": {"requests": {"memory": "100Mi"}}}))
    await until(lambda: w.ready("modest"), 60)
    take = "import time; held = bytearray(170 << 20); time.sleep(1000)"
    await w.create(pod("hungry", container={"command": ["python3", "-c", take]}))

    async def pressed() -> bool:
        return condition((await w.client.get(NODES, "n1"))["status"], "MemoryPressure") == "True"

    await until(pressed, 60)
    assert "The node was low on resource: memory." in (await evicted(w, "hungry"))["message"]
    assert await w.ready("modest")


async def test_projected_files_change_in_place_and_belong_to_the_group(w: World) -> None:
    agent = await w.start_agent()
    await w.client.create(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"color": "red"}}, "default")
    sources = [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "token"}}]
    await w.create(pod("p", spec={
        "securityContext": {"fsGroup": 2345, "runAsUser": 1000},
        "volumes": [{"name": "all", "projected": {"sources": sources, "defaultMode": 0o400}}]}, container={
        "volumeMounts": [{"name": "all", "mountPath": "/etc/all"},
                         {"name": "all", "mountPath": "/etc/one", "subPath": "color"}]}))
    await until(lambda: w.ready("p"), 60)
    record = next(item for item in agent.view.records.values() if item.name == "app" and item.running)

    async def read(path: str) -> str:
        result = await w.engine.exec(record.id, ("cat", path), timeout_s=5)
        return result.output.decode()

    assert (await read("/etc/all/color"), await read("/etc/one")) == ("red", "red")
    assert (await read("/etc/all/token")).count(".") == 2
    listed = await w.engine.exec(record.id, ("ls", "-lnL", "/etc/all/color"), timeout_s=5)
    assert listed.output.decode().split()[:4:3] == ["-r--r-----", "2345"]
    await w.client.patch(CONFIG_MAPS, "c", {"data": {"color": "blue"}}, "default")

    async def changed() -> bool:
        return await read("/etc/all/color") == "blue"

    await until(changed, 20)
    assert await read("/etc/one") == "red"
