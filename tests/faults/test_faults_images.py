"""ImageChaos in the simulation: pulls from the cluster's own registry fail, are late, or do not find their tag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from faults.kinds import IMAGE_CHAOS
from faults.registry import Registry
from testbed.api.resources import PODS
from testbed.node.images import names_registry
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import World, is_true, open_world

Json = dict[str, Any]


def in_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, 1, nodes=1) as world:
            await body(world)

    run_virtual(main)


def pod(name: str, image: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]}}


async def fault(world: World, name: str, **spec: Any) -> None:
    await world.create(IMAGE_CHAOS, {"apiVersion": IMAGE_CHAOS.api_version, "kind": "ImageChaos",
                                     "metadata": {"name": name}, "spec": {"duration": "60s", **spec}})

    async def told() -> bool:
        return held(await world.client.get(IMAGE_CHAOS, name, "default"), "AllInjected") == "True"

    await world.until(told, what="it is in effect")


def held(obj: Json, kind: str) -> str:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((str(item["status"]) for item in found if item["type"] == kind), "")


def waiting(world: World, name: str) -> str:
    found = next(item for item in world.objects(PODS) if item["metadata"]["name"] == name)
    statuses = (found.get("status") or {}).get("containerStatuses") or [{}]
    return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))


def ready(world: World, name: str) -> bool:
    return any(is_true(item, "Ready") for item in world.objects(PODS) if item["metadata"]["name"] == name)


@pytest.mark.parametrize("spec", [{"action": "registry-down"}, {"action": "tag-gone", "image": "sample:v1"}])
def test_a_pod_waits_for_its_image_and_comes_when_it_is_over(spec: Json) -> None:
    async def body(world: World) -> None:
        address = await world.start_registry()
        await fault(world, "f", **spec)
        await world.create(PODS, pod("p", f"{address}/sample:v1"))
        await world.until(lambda: waiting(world, "p") == "ImagePullBackOff", within_s=30)
        await world.create(PODS, pod("other", f"{address}/sample:v2"))
        await world.until(lambda: ready(world, "other") or spec["action"] == "registry-down", within_s=30)
        await world.delete(IMAGE_CHAOS, "f")
        await world.until(lambda: ready(world, "p"), within_s=60)

    in_world(body)


def test_a_slow_registry_makes_the_start_late() -> None:
    async def body(world: World) -> None:
        address = await world.start_registry()
        await fault(world, "f", action="registry-slow", latency="2s")
        await world.create(PODS, pod("p", f"{address}/sample:v1"))
        assert await world.until(lambda: ready(world, "p"), within_s=60) > 4

    in_world(body)


@pytest.mark.parametrize(("spec", "words"), [
    ({"action": "registry-down"}, "testbed registry start"),
    ({"action": "tag-gone", "image": "no:such"}, "has no no:such"),
])
def test_without_a_registry_or_the_image_it_says_so(spec: Json, words: str) -> None:
    async def body(world: World) -> None:
        if spec["action"] == "tag-gone":
            await world.start_registry()
        await world.create(IMAGE_CHAOS, {"apiVersion": IMAGE_CHAOS.api_version, "kind": "ImageChaos",
                                         "metadata": {"name": "f"}, "spec": {"duration": "60s", **spec}})

        async def told() -> bool:
            return words in str((await world.client.get(IMAGE_CHAOS, "f", "default")).get("status"))

        await world.until(told, within_s=20)

    in_world(body)


@pytest.mark.parametrize(("spec", "field"), [
    ({"action": "tag-gone"}, "spec.image"), ({"action": "tag-gone", "image": "sample"}, "spec.image"),
    ({"action": "tag-gone", "image": "../../etc:v1"}, "spec.image"),
    ({"action": "registry-slow"}, "spec.latency"), ({"action": "registry-slow", "latency": "0s"}, "spec.latency"),
    ({"action": "registry-slow", "latency": "5m"}, "spec.latency"),
])
def test_what_is_wrong_is_told_by_field(spec: Json, field: str) -> None:
    assert [one.field for one in Registry().mistakes({"kind": "ImageChaos", "spec": spec})] == [field]


@pytest.mark.parametrize(("reference", "named"), [
    ("sample:v1", False), ("library/nginx", False), ("127.0.0.1:5000/sample:v1", True), ("localhost/x", True),
    ("images.example/a/b:c", True),
])
def test_which_names_begin_with_a_registry(reference: str, named: bool) -> None:
    assert names_registry(reference) is named
