"""Host ports: at the address of a pod's node, never twice, refused where nobody has them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from node_world import pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import PODS
from testbed.network.host_ports import host_port_services
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import open_world

Json = dict[str, Any]
PORTS = {"ports": [{"containerPort": 8080, "hostPort": 8088}]}


def node(name: str, address: str) -> Json:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


def placed(name: str, on: str, ip: str, created: str, **port: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "d", "creationTimestamp": created},
            "spec": {"nodeName": on, "containers": [{"name": "a", "ports": [
                {"containerPort": 80, "hostPort": 8088, "protocol": "TCP", **port}]}]},
            "status": {"podIP": ip, "phase": "Running"}}


def test_a_port_leads_to_the_oldest_pod_of_its_node_and_other_ports_are_refused() -> None:
    nodes = [node("n1", "10.0.1.1"), node("n2", "10.0.2.1")]
    pods = [placed("new", "n1", "10.0.1.9", "2026-01-02T00:00:00Z"),
            placed("old", "n1", "10.0.1.8", "2026-01-01T00:00:00Z"),
            placed("elsewhere", "n2", "10.0.2.9", "2026-01-01T00:00:00Z", hostIP="10.9.9.9"),
            placed("local", "n2", "10.0.2.8", "2026-01-01T00:00:00Z", hostIP="127.0.0.1")]
    told = [(item["address"], item["port"], item["endpoints"]) for item in host_port_services(pods, nodes)]
    assert told == [("10.0.1.1", 0, []), ("10.0.2.1", 0, []), ("10.0.1.1", 8088, [["10.0.1.8", 80]])]


def test_a_node_port_leads_to_its_service_at_every_nodes_address() -> None:
    web = {"name": "d/web:http", "address": "10.0.128.9", "protocol": "tcp", "port": 80, "node_port": 30001,
           "affinity_s": 60, "endpoints": [["10.0.1.8", 8080]]}
    nodes = [node("n1", "10.0.1.1"), node("n2", "10.0.2.1")]
    pods = [placed("clash", "n1", "10.0.1.9", "2026-01-01T00:00:00Z", hostPort=30001)]
    told = host_port_services(pods, nodes, [web, web | {"node_port": 0}])[2:]
    assert [(item["address"], item["port"], item["node_port"], item["affinity_s"], item["endpoints"])
            for item in told] == [("10.0.1.1", 30001, 0, 60, [["10.0.1.8", 8080]]),
                                  ("10.0.2.1", 30001, 0, 60, [["10.0.1.8", 8080]])]


def test_an_address_that_nodes_share_is_nobodys() -> None:
    assert host_port_services([], [node("n1", "10.0.0.1"), node("n2", "10.0.0.1")]) == []


def test_a_host_port_is_reached_at_the_nodes_address() -> None:
    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, 1, nodes=2) as world:
            for name in ("one", "two", "three"):
                manifest = pod(name, container=PORTS)
                del manifest["spec"]["nodeName"]
                await world.client.create(PODS, manifest, "default")

            async def look(name: str) -> Json:
                return await world.client.get(PODS, name, "default")

            async def settled() -> list[Json]:
                pods = [await look(name) for name in ("one", "two", "three")]
                return pods if sum(item["status"].get("phase") == "Running" for item in pods) == 2 else []

            pods = await until(settled, within_s=60)
            await asyncio.sleep(3)
            running = [item for item in pods if item["status"]["phase"] == "Running"]
            assert len({item["status"]["hostIP"] for item in running}) == 2
            for item in running:
                reader, writer = await asyncio.open_connection(item["status"]["hostIP"], 8088)
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"200" in await reader.readuntil(b"\r\n\r\n")
                writer.close()
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(item["status"]["hostIP"], 8089)
            waiting = next(item for item in pods if item["status"]["phase"] == "Pending")
            said = next(item for item in (await look(waiting["metadata"]["name"]))["status"]["conditions"]
                        if item["type"] == "PodScheduled")
            assert said["message"].startswith(
                "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.")

    run_virtual(main)


def test_a_node_turns_away_what_the_scheduler_has_not_seen(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("first", container=PORTS))
        await until(lambda: w.ready("first"))
        await w.create(pod("second", container=PORTS))

        async def failed() -> bool:
            return (await w.status("second")).get("phase") == "Failed"

        await until(failed)
        status = await w.status("second")
        assert (status["reason"], status["message"]) == (
            "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the "
            "requested pod ports")

    simulated(tmp_path, body)
