"""Known bugs of systems like this one, by their rows in the catalog of reliability rules."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from controlplane_world import image_of, is_ready, virtual, world

from testbed.api.core_v1 import Pod
from testbed.api.resources import PODS, REPLICA_SETS, ResourceType
from testbed.client.protocol import Json
from testbed.controlplane.cache import Cache
from testbed.controlplane.manager import ControlPlane
from testbed.errors import ApiUnavailable


@pytest.mark.parametrize("step", range(8))
def test_row_43_a_replica_that_dies_in_the_middle_of_its_update_is_replaced_once(step: int) -> None:
    @virtual
    async def run() -> None:
        async with world() as w:
            await w.apply_deployment(replicas=4)
            await w.until(w.complete)
            highest = 0

            def watch(old: object, new: object) -> None:
                nonlocal highest
                highest = max(highest, sum(
                    not item.value["metadata"].get("deletionTimestamp") for item in w.registry.list(PODS).items
                ))

            await w.observe(PODS, watch)
            await w.ship("sample:v2")
            await asyncio.sleep(0.15 * step)
            victims = await w.pods(active=True)
            victim = victims[step % len(victims)]["metadata"]
            await w.client.delete(PODS, victim["name"], victim["namespace"], grace_period_s=0)
            await w.until(w.complete)
            await w.until(lambda: w.settled(4))
            assert highest <= 5
            assert {image_of(pod) for pod in await w.pods()} == {"sample:v2"}

    run()


@virtual
async def test_row_44_a_rollback_touches_the_new_revision_only() -> None:
    async with world(healthy=lambda pod: image_of(pod) != "sample:broken") as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        await w.ship("sample:broken")
        await asyncio.sleep(3)
        healthy = {pod["metadata"]["uid"] for pod in await w.ready_pods()}
        deleted: set[str] = set()

        def watch(old: Json | None, new: Json | None) -> None:
            if new is not None and new["metadata"].get("deletionTimestamp"):
                deleted.add(image_of(new))

        await w.observe(PODS, watch)
        await w.ship("sample:v1")
        await w.until(w.complete)
        assert deleted == {"sample:broken"}
        assert healthy <= {pod["metadata"]["uid"] for pod in await w.pods()}


@virtual
async def test_row_45_a_control_plane_that_restarts_all_the_time_makes_no_duplicates() -> None:
    async with world() as w:
        await w.create_service()
        await w.apply_deployment(replicas=5)
        made: set[str] = set()
        await w.observe(PODS, lambda old, new: made.add(new["metadata"]["uid"]) if new is not None else None)
        rng = random.Random(3)
        for _ in range(25):
            await asyncio.sleep(rng.random() * 0.05)
            await w.kill_control_plane()
            await w.start_control_plane()
        await w.until(w.complete)
        await w.until(lambda: w.settled(5))
        assert len(made) == 5


@virtual
async def test_row_45_restarts_in_the_middle_of_a_rollout_keep_its_bounds() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        low, high = 4, 4

        def watch(old: object, new: object) -> None:
            nonlocal low, high
            alive = [item.value for item in w.registry.list(PODS).items
                     if not item.value["metadata"].get("deletionTimestamp")]
            low, high = min(low, sum(map(is_ready, alive))), max(high, len(alive))

        await w.observe(PODS, watch)
        await w.ship("sample:v2")
        rng = random.Random(5)
        while not await w.complete():
            await asyncio.sleep(rng.random() * 0.1)
            await w.kill_control_plane()
            await w.start_control_plane()
        assert (low, high) == (3, 5)


@virtual
async def test_row_46_scaling_in_the_middle_of_a_rollout_does_not_feed_back() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        await w.ship("sample:v2")
        highest = 0

        def watch(old: object, new: object) -> None:
            nonlocal highest
            highest = max(highest, sum(
                not item.value["metadata"].get("deletionTimestamp") for item in w.registry.list(PODS).items
            ))

        await w.observe(PODS, watch)
        for replicas in (8, 3, 10, 6):
            await asyncio.sleep(0.3)
            await w.change_deployment({"spec": {"replicas": replicas}})
        await w.until(w.complete)
        await w.until(lambda: w.settled(6))
        assert highest <= 13  # 10 and a surge of 25 %


@pytest.mark.parametrize("step", range(6))
def test_row_48_a_partition_at_any_step_of_a_rollout_heals_to_the_exact_number(step: int) -> None:
    @virtual
    async def run() -> None:
        async with world() as w:
            await w.apply_deployment(replicas=3)
            await w.until(w.complete)
            await w.ship("sample:v2")
            await asyncio.sleep(0.2 * step)
            w.agents["n2"].connected = False
            await asyncio.sleep(6)
            assert len(await w.pods(active=True)) <= 4
            w.agents["n2"].connected = True
            await w.until(w.complete)
            await w.until(lambda: w.settled(3))

    run()


def stale(version: int, uid: str = "u1", **metadata: Any) -> Json:
    return {"kind": "Pod", "apiVersion": "v1", "spec": {}, "metadata": {
        "name": "a", "namespace": "default", "uid": uid, "resourceVersion": str(version), **metadata}}


@virtual
async def test_row_50_the_past_is_not_believed_again() -> None:
    cache = Cache(PODS, Pod)
    heard: list[tuple[bool, bool]] = []
    cache.on_change(lambda old, new: heard.append((old is not None, new is not None)))
    cache.told(stale(5))
    cache.told(stale(9, labels={"a": "b"}))
    cache.told(stale(7))
    assert cache.json("default/a") == stale(9, labels={"a": "b"})
    cache.told_deleted(stale(9))
    for replayed in (5, 7, 9):
        cache.told(stale(replayed))
    assert cache.keys() == []
    assert heard == [(False, True), (True, True), (True, False)]
    cache.told(stale(12, uid="u2"))
    cache.told_deleted(stale(9))  # late news of the first one
    assert cache.json("default/a") == stale(12, uid="u2")
    cache.close()


@virtual
async def test_row_50_a_write_of_ours_is_known_at_once_and_doubted_when_nobody_confirms_it() -> None:
    cache = Cache(PODS, Pod)
    cache.wrote(stale(5))
    assert cache.keys() == ["default/a"]
    cache.told(stale(5))
    cache.wrote(stale(8))
    await asyncio.sleep(31)
    assert cache.keys() == []
    cache.close()


class LossyClient:
    """Loses the answer of every third creation of a pod or ReplicaSet *after* it was carried out."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.lost = inner, 0
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        made: Json = await self._inner.create(resource, obj, namespace)
        if resource in (PODS, REPLICA_SETS):
            self._calls += 1
            if self._calls % 3 == 1:
                self.lost += 1
                raise ApiUnavailable("no answer within 5 s")
        return made


@virtual
async def test_rows_10_and_11_a_lost_answer_never_makes_a_second_pod() -> None:
    async with world() as w:
        await w.kill_control_plane()
        lossy = LossyClient(w.client)
        plane = ControlPlane(lossy, profile=w.profile, clock=w.clock, random=random.Random(2))
        running = asyncio.create_task(plane.run())
        made: set[str] = set()
        await w.observe(PODS, lambda old, new: made.add(new["metadata"]["uid"]) if new is not None else None)
        await w.apply_deployment(replicas=6)
        await w.until(w.complete)
        assert lossy.lost >= 2
        assert len(made) == 6
        assert len(await w.replica_sets()) == 1
        running.cancel()
        await asyncio.wait([running])


def test_the_same_seed_takes_the_same_way() -> None:
    """I15."""

    def trace() -> list[str]:
        lines: list[str] = []

        @virtual
        async def run() -> None:
            async with world(seed=7) as w:
                loop = asyncio.get_running_loop()
                await w.observe(PODS, lambda old, new: lines.append(f"{loop.time():.6f} {_line(new)}"))
                await w.apply_deployment(replicas=4)
                await w.until(w.complete)
                await w.ship("sample:v2")
                await w.until(w.complete)

        run()
        return lines

    assert trace() == trace()


def _line(pod: Json | None) -> str:
    if pod is None:
        return "gone"
    return f"{pod['metadata']['name']} {pod['spec'].get('nodeName')} {is_ready(pod)}"


@virtual
async def test_a_change_of_readiness_reaches_the_endpoints_without_any_waiting() -> None:
    """No batching period: at the same virtual instant."""
    async with world() as w:
        await w.create_service()
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        [victim, *_] = await w.pods()
        conditions = [{**item, "status": "False"} if item["type"] == "Ready" else item
                      for item in victim["status"]["conditions"]]
        name = victim["metadata"]["name"]
        w.agents[victim["spec"]["nodeName"]].healthy = lambda pod: pod["metadata"]["name"] != name
        start_s = asyncio.get_running_loop().time()
        await w.client.patch(PODS, name, {"status": {"conditions": conditions}}, "default", subresource="status")
        await asyncio.sleep(0.0001)
        assert sum(item["conditions"]["ready"] for item in await w.endpoints()) == 2
        assert asyncio.get_running_loop().time() - start_s < 0.001


class CutClient:
    """While ``cut``, no call gets an answer, and watches break."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.cut = inner, asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.cut.is_set():
                raise ApiUnavailable("no answer")
            return await call(*args, **kwargs)

        return guarded

    async def watch(self, *args: Any, **kwargs: Any) -> Any:
        if self.cut.is_set():
            raise ApiUnavailable("no answer")
        stream = self._inner.watch(*args, **kwargs)
        cut = asyncio.create_task(self.cut.wait())
        try:
            while True:
                event = asyncio.ensure_future(anext(stream))
                await asyncio.wait([event, cut], return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    event.cancel()
                    raise ApiUnavailable("the connection broke")
                yield await event
        finally:
            cut.cancel()


@virtual
async def test_row_12_controllers_that_cannot_see_the_api_do_nothing_and_carry_on_after() -> None:
    """The leases that they cannot see any more are no reason to give anybody up (rule 3)."""
    async with world() as w:
        await w.create_service()
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        await w.kill_control_plane()
        client = CutClient(w.client)
        plane = ControlPlane(client, profile=w.profile, clock=w.clock, random=random.Random(2))
        running = asyncio.create_task(plane.run())
        await asyncio.sleep(5)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        client.cut.set()
        await asyncio.sleep(30)
        client.cut.clear()
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert await w.settled(3)
        assert "NodeNotReady" not in await w.event_reasons()
        await w.change_deployment({"spec": {"replicas": 5}})
        await w.until(lambda: w.settled(5))
        running.cancel()
        await asyncio.wait([running])


@virtual
async def test_a_control_plane_that_was_frozen_does_not_take_its_own_sleep_for_silence() -> None:
    """SIGSTOP for ten seconds: when it wakes, all leases look old at once or one after another."""
    async with world() as w:
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        loop = asyncio.get_running_loop()
        loop._jumping.now_s += 10.0  # type: ignore[attr-defined]  # nobody ran meanwhile, agents neither
        w.agents["n2"].connected = False  # and one of them is slow to be heard again
        await asyncio.sleep(w.profile.node_monitor_grace_s / 2)
        w.agents["n2"].connected = True
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert "NodeNotReady" not in await w.event_reasons()
