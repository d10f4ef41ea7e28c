"""Owners and dependents, finalizers, namespaces with content: what goes, in which order, and what stays.

Source: kubernetes test/e2e/apimachinery/garbage_collector.go, namespace.go.
"""

from __future__ import annotations

import asyncio
from typing import Any

from controlplane_world import World, condition_of, name_of, virtual, world

from testbed.api.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, NODES, PODS, REPLICA_SETS, ResourceType
from testbed.errors import NotFound

Json = dict[str, Any]


async def there(w: World, resource: ResourceType, name: str, namespace: str | None = "default") -> bool:
    try:
        await w.client.get(resource, name, namespace)
    except NotFound:
        return False
    return True


async def gone(w: World, resource: ResourceType, name: str, namespace: str | None = "default") -> bool:
    return not await there(w, resource, name, namespace)


async def owned(w: World, name: str, *owners: Json, finalizers: tuple[str, ...] = ()) -> Json:
    references = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner),
                   "uid": owner["metadata"]["uid"]} for owner in owners]
    metadata = {"name": name, "ownerReferences": references, "finalizers": list(finalizers)}
    return await w.client.create(CONFIG_MAPS, {"metadata": metadata}, "default")


@virtual
async def test_in_the_foreground_owners_go_after_what_they_own() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        order: list[str] = []

        def note(old: Json | None, new: Json | None) -> None:
            if new is None and old is not None:
                order.append(old["kind"])

        for kind in (DEPLOYMENTS, REPLICA_SETS, PODS):
            await w.observe(kind, note)
        await w.client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
        await w.until(lambda: gone(w, DEPLOYMENTS, "web"))
        await asyncio.sleep(1)
        assert order == ["Pod", "Pod", "Pod", "ReplicaSet", "Deployment"]


@virtual
async def test_in_the_background_owners_go_first_and_orphans_stay() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=2)
        await w.until(w.complete)
        (replica_set,) = await w.replica_sets()
        await w.client.delete(DEPLOYMENTS, "web", "default", propagation="Orphan")
        await w.until(lambda: gone(w, DEPLOYMENTS, "web"))
        left = await w.client.get(REPLICA_SETS, name_of(replica_set), "default")
        assert not left["metadata"].get("ownerReferences") and len(await w.ready_pods()) == 2
        await w.client.delete(REPLICA_SETS, name_of(replica_set), "default", propagation="Background")
        assert await gone(w, REPLICA_SETS, name_of(replica_set))
        await w.until(lambda: w.settled(0))


@virtual
async def test_one_living_owner_is_enough_and_a_circle_does_not_hang() -> None:
    async with world() as w:
        first, second = await owned(w, "first"), await owned(w, "second")
        await owned(w, "both", first, second)
        await w.client.delete(CONFIG_MAPS, "first", "default")
        await asyncio.sleep(5)
        both = await w.client.get(CONFIG_MAPS, "both", "default")
        assert [item["name"] for item in both["metadata"]["ownerReferences"]] == ["second"]
        await w.client.delete(CONFIG_MAPS, "second", "default")
        await w.until(lambda: gone(w, CONFIG_MAPS, "both"))
        one = await owned(w, "one")
        two = await owned(w, "two", one)
        await w.client.patch(CONFIG_MAPS, "one", {"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "two", "uid": two["metadata"]["uid"]}]}}, "default")
        await w.client.delete(CONFIG_MAPS, "one", "default", propagation="Foreground")
        await w.until(lambda: gone(w, CONFIG_MAPS, "two"))
        await w.until(lambda: gone(w, CONFIG_MAPS, "one"))


@virtual
async def test_a_finalizer_holds_what_is_deleted_until_it_is_taken_off() -> None:
    async with world() as w:
        owner = await owned(w, "owner")
        await owned(w, "held", owner, finalizers=("example.com/hold",))
        await w.client.delete(CONFIG_MAPS, "owner", "default")

        async def marked() -> bool:
            held = await w.client.get(CONFIG_MAPS, "held", "default")
            return bool(held["metadata"].get("deletionTimestamp"))

        await w.until(marked)
        await asyncio.sleep(10)
        assert await there(w, CONFIG_MAPS, "held")
        await w.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "default")
        assert await gone(w, CONFIG_MAPS, "held")


@virtual
async def test_what_has_no_namespace_is_not_taken_for_an_owner_in_one() -> None:
    async with world(["n1"]) as w:
        owner = await owned(w, "owner")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        await w.client.create(NODES, {"metadata": {"name": "free", "ownerReferences": [reference]}})
        await w.client.delete(CONFIG_MAPS, "owner", "default")
        await asyncio.sleep(20)
        assert await there(w, NODES, "free", None)


@virtual
async def test_a_namespace_says_what_it_waits_for_and_goes_with_all_it_has() -> None:
    async with world() as w:
        await w.client.create(NAMESPACES, {"metadata": {"name": "old"}})
        made = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
        await w.client.create(CONFIG_MAPS, made, "old")
        await w.client.delete(NAMESPACES, "old")

        async def waits() -> bool:
            home = await w.client.get(NAMESPACES, "old")
            return bool(condition_of(home, "NamespaceFinalizersRemaining").get("status") == "True")

        await w.until(waits)
        home = await w.client.get(NAMESPACES, "old")
        assert home["status"]["phase"] == "Terminating"
        assert condition_of(home, "NamespaceFinalizersRemaining")["message"].endswith(
            "example.com/hold in 1 resource instances")
        assert condition_of(home, "NamespaceContentRemaining")["reason"] == "SomeResourcesRemain"
        await w.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "old")
        await w.until(lambda: gone(w, NAMESPACES, "old", None))
