"""What a pod says of itself at its end, by real containers: termination messages and out of memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from engine_world import engine_world
from node_world import World, pod, until

pytestmark = pytest.mark.engine
FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}
HUNGRY = {"command": ["tail", "/dev/zero"], "resources": {"limits": {"memory": "15Mi"}}}
FAMILY = HUNGRY | {"command": ["sh", "-c", "tail /dev/zero & wait $!; exit $?"]}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with engine_world(tmp_path, "7e570d0de005", "words") as made:
        yield made


def sh(script: str, **fields: Any) -> dict[str, Any]:
    return {"command": ["sh", "-c", script], **fields}


CASES: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "rt-02": (sh("printf DONE > /dev/termination-log"), 0, "Completed", "DONE"),
    "rt-02-custom": (sh("printf DONE > /dev/custom", terminationMessagePath="/dev/custom",
                        securityContext={"runAsUser": 1000}), 0, "Completed", "DONE"),
    "rt-03": (sh("printf DONE; exit 1", **FALLBACK), 1, "Error", "DONE"),
    "rt-04": (sh("printf DONE", **FALLBACK), 0, "Completed", None),
    "rt-04-file": (sh("printf OK > /dev/termination-log; printf DONE; exit 1", **FALLBACK), 1, "Error", "OK"),
    "rt-11": (HUNGRY, 137, "OOMKilled", None),
    "rt-11-family": (FAMILY, 137, "OOMKilled", None),
}


async def test_rt_02_03_04_11_ends_are_told(w: World) -> None:
    await w.start_agent()
    for name, (container, *_) in CASES.items():
        await w.create(pod(name, spec={"restartPolicy": "Never"}, container=container))

    async def over() -> bool:
        return all([(await w.status(name)).get("phase") in ("Succeeded", "Failed") for name in CASES])

    await until(over, 60)
    for name, (_, *wanted) in CASES.items():
        state = (await w.container(name))["state"]["terminated"]
        assert [state["exitCode"], state["reason"], state.get("message")] == wanted, name


async def test_rt_11_an_init_container_out_of_memory_fails_the_pod(w: World) -> None:
    await w.start_agent()
    await w.create(pod("p", spec={"restartPolicy": "Never", "initContainers": [
        {"name": "hungry", "image": "sample:v1", **HUNGRY}]}))

    async def failed() -> bool:
        return (await w.status("p")).get("phase") == "Failed"

    await until(failed, 60)
    state = (await w.container("p", "hungry"))["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")
