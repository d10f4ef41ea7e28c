"""SV-05: a Service whose only endpoint is ending and still serves (test/e2e/network/service.go)."""

from __future__ import annotations

import asyncio

from testbed.api.resources import PODS, SERVICES

from .kube import Json, Kube
from .manifests import service
from .registry import case
from .services import address, asked, backend, client, listed


def slow_to_end(node: str) -> Json:
    """Ready until its end, which takes long."""
    made = backend("server", node=node)
    made["spec"]["terminationGracePeriodSeconds"] = 100
    container = made["spec"]["containers"][0]
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": 100}}}
    return made


async def terminating(kube: Kube, name: str, **spec: object) -> tuple[str, str]:
    """A Service whose only pod is ending and still serves; clients ``near`` (on its node) and ``far``."""
    here, there = (await kube.nodes())[:2]
    await client(kube, "near", here)
    await client(kube, "far", there)
    await kube.create(SERVICES, service(name, selector={"app": "web"}, **spec))
    await kube.create(PODS, slow_to_end(here))
    await kube.ready("server")
    await listed(kube, name, {"server": [8080]})
    await kube.delete(PODS, "server")
    await listed(kube, name, {})
    return here, there


async def five_connects(kube: Kube, target: str, near: str, far: str, port: int = 80) -> None:
    for _ in range(5):
        assert await asked(kube, target, "near", port) == near
        assert await asked(kube, target, "far", port) == far
        await asyncio.sleep(1 if kube.real else 5)


@case("SV-05", "internal-cluster", real_s=30, nodes=2)
async def terminating_internal_cluster(kube: Kube) -> None:
    await terminating(kube, "web", internalTrafficPolicy="Cluster")
    await five_connects(kube, await address(kube, "web"), "server", "server")


@case("SV-05", "internal-local", real_s=45, nodes=2)
async def terminating_internal_local(kube: Kube) -> None:
    """From the other node nothing: dropped, since there is an endpoint elsewhere."""
    await terminating(kube, "web", internalTrafficPolicy="Local")
    await five_connects(kube, await address(kube, "web"), "server", "")


async def outside(kube: Kube, name: str) -> tuple[str, int]:
    """Where a load balancer's Service is reached from outside."""
    made = await kube.get(SERVICES, name)
    return made["status"]["loadBalancer"]["ingress"][0]["ip"], int(made["spec"]["ports"][0]["port"])


@case("SV-05", "external-cluster", real_s=30, nodes=2)
async def terminating_external_cluster(kube: Kube) -> None:
    await terminating(kube, "web", type="LoadBalancer", externalTrafficPolicy="Cluster")
    await five_connects(kube, *(await outside(kube, "web"))[:1], "server", "server")


@case("SV-05", "external-local", real_s=30, nodes=2)
async def terminating_external_local(kube: Kube) -> None:
    """A load balancer sends to nodes that have endpoints, and pods' own requests are short-circuited to all of them
    (kubernetes: pkg/proxy/nftables/proxier.go, "short-circuit pod traffic")."""
    await terminating(kube, "web", type="LoadBalancer", externalTrafficPolicy="Local")
    await five_connects(kube, *(await outside(kube, "web"))[:1], "server", "server")
