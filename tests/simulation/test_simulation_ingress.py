"""The simulated front: the real feeder's plans, obeyed in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from testbed.api.resources import DEPLOYMENTS, INGRESSES, SERVICES
from testbed.simulation.api import GATEWAY_ADDRESS
from testbed.simulation.workloads import deployment, service
from testbed.simulation.world import World

Run = Callable[..., Any]
Json = dict[str, Any]


def ingress(name: str, to: str, **annotations: str) -> Json:
    return {"metadata": {"name": name, "annotations": {
        f"ingress.testbed.io/{key.replace('_', '-')}": value for key, value in annotations.items()}},
        "spec": {"rules": [{"host": "shop.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": to, "port": {"number": 80}}}}]}}]}}


async def get(host: str) -> tuple[int, str]:
    """(status, pod) of one request."""
    reader, writer = await asyncio.open_connection(GATEWAY_ADDRESS, 80)
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.transport.abort()
    return int(head.split(b" ")[1]), body.decode()


def of_canary(body: str) -> bool:
    return '"pod": "next' in body


def test_hosts_weights_and_endpoints_as_the_plan_has_them(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(SERVICES, service("next"))
        await world.create(DEPLOYMENTS, deployment("next", 1))
        await world.until_settled()
        await world.create(INGRESSES, ingress("web", "web"))
        await world.create(INGRESSES, ingress("next", "next", canary="true", canary_weight="10"))

        def programmed() -> bool:
            return all((item.get("status") or {}).get("loadBalancer") for item in world.objects(INGRESSES)) and \
                bool(world.gateway.front.plan) and len(world.gateway.front.plan["pools"]) == 2

        await world.until(programmed, what="both Ingresses have an address")
        answers = [await get("shop.example.com") for _ in range(400)]
        assert {status for status, _ in answers} == {200}
        assert 15 <= Counter(of_canary(text) for _, text in answers)[True] <= 75
        assert (await get("other.example.com"))[0] == 404

        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        await world.patch(INGRESSES, "next", {"metadata": {"annotations": {"ingress.testbed.io/canary-weight": "0"}}})
        await world.until_settled()
        await asyncio.sleep(1)
        assert (await get("shop.example.com"))[0] == 503

        for name in ("web", "next"):
            await world.delete(INGRESSES, name)
        await world.until(lambda: world.gateway.front.plan is None, what="nothing listens without an Ingress")

    in_world(body)
