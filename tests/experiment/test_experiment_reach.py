"""How this machine reaches a Service of a cluster elsewhere: what is tried, and what is said in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testbed.api.resources import ENDPOINT_SLICES, NODES, SERVICES, ResourceType
from testbed.client.protocol import ObjectList
from testbed.errors import ApiUnavailable, EnvironmentProblem, InvalidInput, NotFound
from testbed.experiment.platforms import services
from testbed.experiment.platforms.services import Reach

Json = dict[str, Any]
NOBODY = "127.0.0.1"


class Objects:
    """A client that knows one Service, its endpoints and one node."""

    def __init__(self, spec: Json, *, ready: bool = True, node: str = NOBODY, status: Json | None = None) -> None:
        self.uid = "1"
        self.spec, self.status = spec, status or {}
        self.ready, self.node = ready, node

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        if (resource, name) != (SERVICES, "web"):
            raise NotFound(name)
        return {"metadata": {"name": "web", "uid": self.uid}, "spec": self.spec, "status": self.status}

    async def list(self, resource: ResourceType, namespace: str | None = None, **selectors: str) -> ObjectList:
        items: dict[ResourceType, tuple[Json, ...]] = {
            NODES: ({"status": {"addresses": [{"type": "Hostname", "address": "n1"},
                                              {"type": "InternalIP", "address": self.node}]}},),
            ENDPOINT_SLICES: ({"endpoints": [{"conditions": {"ready": self.ready}}]},)}
        return ObjectList(items[resource], "1")


def reach(objects: Objects, **told: str) -> Reach:
    return Reach(objects, told)  # type: ignore[arg-type]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where somebody accepts connections on 127.0.0.1."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PROBE_S", 0.2)


async def test_a_load_balancer_comes_first(port: int) -> None:
    objects = Objects({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": port, "nodePort": 1}]},
                      status={"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}})
    assert await reach(objects).address("default", "web", None) == f"127.0.0.1:{port}"


async def test_a_node_port_on_an_address_of_a_node(port: int) -> None:
    objects = Objects({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80, "nodePort": port}]})
    assert await reach(objects).address("default", "web", 80) == f"127.0.0.1:{port}"


async def test_the_cluster_ip_where_it_is_routed(port: int) -> None:
    objects = Objects({"type": "ClusterIP", "clusterIP": "127.0.0.1", "ports": [{"port": port}]})
    assert await reach(objects).address("default", "web", None) == f"127.0.0.1:{port}"


async def test_a_service_that_only_the_cluster_reaches(port: int, silent: None) -> None:
    objects = Objects({"type": "ClusterIP", "clusterIP": "127.0.0.1", "ports": [{"port": 1}]})
    with pytest.raises(EnvironmentProblem, match=r"ClusterIP 127.0.0.1:1: ") as caught:
        await reach(objects).address("default", "web", None)
    assert "NodePort" in caught.value.hint and "--address web=" in caught.value.hint


async def test_what_is_told_is_not_looked_for() -> None:
    objects = Objects({"clusterIP": "None", "ports": []})
    assert await reach(objects, web="127.0.0.1:8080").address("default", "web", None) == "127.0.0.1:8080"


async def test_nothing_is_ready_yet(silent: None) -> None:
    objects = Objects({"clusterIP": "127.0.0.1", "ports": [{"port": 1}]}, ready=False)
    with pytest.raises(ApiUnavailable, match="no ready endpoint yet"):
        await reach(objects).address("default", "web", None)


async def test_a_load_balancer_without_an_address_yet(silent: None) -> None:
    objects = Objects({"type": "LoadBalancer", "clusterIP": "127.0.0.1", "ports": [{"port": 1}]})
    with pytest.raises(ApiUnavailable, match="no address of its load balancer yet"):
        await reach(objects).address("default", "web", None)


async def test_a_service_that_was_made_again_is_looked_for_again(port: int, silent: None) -> None:
    objects = Objects({"clusterIP": "127.0.0.1", "ports": [{"port": port}]})
    found = reach(objects)
    await found.address("default", "web", None)
    objects.uid, objects.spec = "2", {"clusterIP": "127.0.0.1", "ports": [{"port": 1}]}
    with pytest.raises(EnvironmentProblem):
        await found.address("default", "web", None)


async def test_mistakes_are_told() -> None:
    objects = Objects({"clusterIP": "127.0.0.1", "ports": [{"port": 80}]})
    with pytest.raises(InvalidInput, match="no Service 'wep'"):
        await reach(objects).address("default", "wep", None)
    with pytest.raises(InvalidInput, match="has no port 81") as caught:
        await reach(objects).address("default", "web", 81)
    assert "80" in caught.value.hint
