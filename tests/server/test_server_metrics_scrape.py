"""A scrape of the control plane as a whole: what it costs, what breaks of it, and what it tells of the API itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from http_world import World, http_world
from prometheus_client.parser import text_string_to_metric_families
from server_world import deployment, make_registry, pod

from testbed.api import resources as r
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import FAST
from testbed.server.metrics import Exposition
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts

Json = dict[str, Any]
Found = dict[str, dict[tuple[str, ...], float]]
PODS = "/api/v1/namespaces/default/pods"


def exposition(registry: Registry, requests: RequestCounts | None = None) -> Exposition:
    plane = ControlPlane(InProcessClient(registry), profile=FAST, clock=registry.clock, random=random.Random(1))
    return Exposition(registry, plane, requests or RequestCounts())


def read(exposed: Exposition) -> Found:
    """Values by name and the values of the labels, which are sorted by their names."""
    found: Found = {}
    for family in text_string_to_metric_families(exposed()[0].decode()):
        for sample in family.samples:
            values = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name, {})[values] = sample.value
    return found


# --- what it costs


async def test_a_scrape_looks_only_at_what_has_changed_since_the_one_before() -> None:
    registry = make_registry()
    for number in range(200):
        registry.create(r.PODS, pod(f"p{number}"), "default")
    exposed = exposition(registry)
    exposed()
    seen = exposed.state.looked_at
    assert seen >= 200
    exposed()
    assert exposed.state.looked_at == seen
    registry.patch(r.PODS, "p7", {"status": {"phase": "Running"}}, "default", subresource="status")
    found = read(exposed)
    assert exposed.state.looked_at == seen + 1
    assert sum(value for labels, value in found["kube_pod_status_phase"].items() if "Running" in labels) == 1


async def test_what_is_gone_is_shown_and_kept_no_more() -> None:
    registry = make_registry()
    registry.create(r.DEPLOYMENTS, deployment("web"), "default")
    exposed = exposition(registry)
    assert ("web", "default") in read(exposed)["kube_deployment_created"]
    registry.delete(r.DEPLOYMENTS, "web", "default")
    assert "kube_deployment_created" not in read(exposed)
    assert not exposed.state._kept[r.DEPLOYMENTS]


# --- what breaks of it


async def test_a_part_that_breaks_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    exposed = exposition(make_registry())

    def broken() -> list[Any]:
        raise ZeroDivisionError

    exposed.page.parts["store"] = broken
    for times in (1, 2):
        found = read(exposed)
        assert "testbed_store_objects" not in found
        assert found["testbed_build_info"] and found["kube_namespace_created"]
        assert found["testbed_scrape_failures_total"] == {("store",): times}
    assert "no metrics of the part store" in caplog.text


async def test_an_object_that_cannot_be_read_is_left_out_and_counted_at_each_scrape() -> None:
    registry = make_registry()
    registry.create(r.PODS, pod("good"), "default")
    registry.create(r.PODS, pod("bad"), "default")
    stored = registry.store.list(r.PODS.group_resource)[0]
    assert stored.name == "bad"
    registry.store.update(r.PODS.group_resource, "default", "bad", {**stored.fresh(), "spec": 7})
    exposed = exposition(registry)
    for times in (1, 2):
        found = read(exposed)
        assert {name for _, name, _ in found["kube_pod_created"]} == {"good"}
        assert found["testbed_scrape_failures_total"] == {("pods",): times}


# --- what it tells of the API


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with http_world(tmp_path) as made:
        yield made


async def test_requests_are_counted_by_verb_resource_and_code(world: World) -> None:
    await world.ask("POST", PODS, json=pod("a"))
    await world.ask("GET", f"{PODS}/a")
    await world.ask("GET", f"{PODS}/none")
    await world.ask("GET", "/api/v1/pods")
    await world.ask("PATCH", f"{PODS}/a/status", json={"status": {"phase": "Running"}},
                    headers={"Content-Type": "application/merge-patch+json"})
    await world.ask("GET", f"{PODS}/a/log")
    await world.ask("DELETE", f"{PODS}/a")
    await world.ask("DELETE", PODS)
    await world.ask("GET", "/apis/apps/v1/namespaces/default/deployments", token="wrong")
    await world.ask("GET", "/version")
    found = read(exposition(world.registry, world.requests))
    assert found["testbed_api_requests_total"] == {
        ("201", "pods", "POST"): 1, ("200", "pods", "GET"): 1, ("404", "pods", "GET"): 1, ("200", "pods", "LIST"): 1,
        ("200", "pods/status", "PATCH"): 1, ("400", "pods/log", "GET"): 1, ("200", "pods", "DELETE"): 1,
        ("200", "pods", "DELETECOLLECTION"): 1, ("401", "deployments.apps", "LIST"): 1, ("200", "", "GET"): 1}
    assert found["testbed_api_request_duration_seconds_count"][("LIST",)] == 2


async def test_paths_that_nobody_serves_make_no_series_of_their_own(world: World) -> None:
    for number in range(30):
        await world.ask("GET", f"/apis/g{number}.example/v1/namespaces/n{number}/things{number}/x/y{number}")
        await world.ask("GET", f"/api/v1/namespaces/n{number}/pods/p{number}/word{number}")
        await world.ask("OPTIONS", f"/coffee/{number}")
    assert set(world.requests.total) == {("GET", "", "404"), ("GET", "pods", "404"), ("OTHER", "", "405")}


async def test_a_watch_is_seen_while_it_is_open_and_counted_when_its_client_goes(world: World) -> None:
    exposed = exposition(world.registry, world.requests)
    async with world.session.get(f"{world.url}{PODS}?watch=true",
                                 headers={"Authorization": f"Bearer {world.token}"}) as answer:
        assert answer.status == 200
        assert read(exposed)["testbed_watches"] == {(): 1}
    async with asyncio.timeout(10):
        while world.requests.open["watch"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = read(exposed)
    assert found["testbed_watches"] == {(): 0}
    assert found["testbed_api_requests_total"] == {("200", "pods", "WATCH"): 1}
    assert "testbed_api_request_duration_seconds_count" not in found


async def test_the_store_and_the_process_tell_of_themselves() -> None:
    registry = make_registry()
    registry.create(r.PODS, pod("a"), "default")
    exposed = exposition(registry)
    found = read(exposed)
    assert found["testbed_store_objects"][("pods",)] == 1
    assert found["testbed_store_bytes"][()] > 4096
    assert found["testbed_store_write_duration_seconds_count"][()] == registry.store.revision - 1
    assert found["testbed_loop_lag_seconds"] == {("api",): 0}
    assert found["process_resident_memory_bytes"][()] > 1e6
    assert found["kubernetes_build_info"][("v1.32.0+testbed", "1", "32", "linux/amd64")] == 1
    await exposed.close()
