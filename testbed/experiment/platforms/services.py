"""How this machine reaches a Service of a cluster that is not on it.

Nothing is changed for it: a Service that only the cluster itself reaches is told how to be reached. What was found is
probed, because an address that stands in the API may well lead nowhere from here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from testbed.api.labels import SERVICE_NAME
from testbed.api.resources import ENDPOINT_SLICES, NODES, SERVICES
from testbed.client.protocol import Client
from testbed.errors import ApiUnavailable, EnvironmentProblem, InvalidInput, NotFound

Json = dict[str, Any]
PROBE_S = 2.0
MOST_NODES = 6  # that are tried for a NodePort


async def find_service(client: Client, namespace: str, service: str) -> Json:
    """Raises: InvalidInput when there is none of that name."""
    try:
        return await client.get(SERVICES, service, namespace)
    except NotFound:
        raise InvalidInput(f"there is no Service {service!r} in namespace {namespace!r}",
                           hint="put it into the workload, or see: testbed get services") from None


def chosen_port(service: Json, port: int | None) -> Json:
    """The Service's port of this number, or its first. Raises: InvalidInput when it has none such."""
    ports = service["spec"].get("ports") or ()
    found: Json | None = next((item for item in ports if port is None or int(item["port"]) == port), None)
    if found is None:
        raise InvalidInput(f"Service {service['metadata']['name']!r} has no port {port or ''}".rstrip(),
                           hint="its ports: " + (", ".join(str(item["port"]) for item in ports) or "none"))
    return found


class Reach:
    """``told``: ``host:port`` by Service, where a person knows better than the API."""

    def __init__(self, client: Client, told: Mapping[str, str]) -> None:
        self._client, self._told = client, told
        self._found: dict[tuple[str, int | None], str] = {}  # by the Service's uid: the next run has another one

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        """``host:port``. Raises: InvalidInput (no such Service or port), EnvironmentProblem (it cannot be reached from
        here), ApiUnavailable (not yet: nothing of it is ready, or it has no address)."""
        if service in self._told:
            return self._told[service]
        found = await find_service(self._client, namespace, service)
        key = (str(found["metadata"].get("uid")), port)
        if key not in self._found:
            self._found[key] = await self._look(found, namespace, service, port)
        return self._found[key]

    async def _look(self, found: Json, namespace: str, service: str, port: int | None) -> str:
        candidates = await self._candidates(found, chosen_port(found, port))
        problems = []
        for what, host, number in candidates:
            problem = await why_not_reached(host, number, PROBE_S)
            if not problem:
                return f"{host}:{number}"
            problems.append(f"{what} {host}:{number}: {problem}")
        if not await self._anyone_ready(namespace, service):
            raise ApiUnavailable(f"Service {service!r} has no ready endpoint yet")
        if found["spec"].get("type") == "LoadBalancer" and not _ingresses(found):
            raise ApiUnavailable(f"Service {service!r} has no address of its load balancer yet")
        raise EnvironmentProblem(
            f"Service {service!r} cannot be reached from this machine" + "".join(f"; {item}" for item in problems),
            hint=f"make it of type NodePort or LoadBalancer in the manifest, or forward a port and give --address "
                 f"{service}=127.0.0.1:PORT")

    async def _candidates(self, service: Json, port: Json) -> list[tuple[str, str, int]]:
        """(what it is, host, port) in the order in which they are tried."""
        number = int(port["port"])
        found = [("load balancer", host, number) for host in _ingresses(service)]
        if node_port := int(port.get("nodePort") or 0):
            found += [("node port", host, node_port) for host in await self._node_addresses()]
        cluster_ip = str(service["spec"].get("clusterIP") or "")
        if cluster_ip not in ("", "None"):
            found.append(("ClusterIP", cluster_ip, number))
        return found

    async def _node_addresses(self) -> list[str]:
        """External addresses first."""
        nodes = (await self._client.list(NODES)).items
        found = [[str(item["address"]) for item in (node.get("status") or {}).get("addresses") or ()
                  if item.get("type") == kind] for kind in ("ExternalIP", "InternalIP") for node in nodes]
        return [address for group in found for address in group][:MOST_NODES]

    async def _anyone_ready(self, namespace: str, service: str) -> bool:
        slices = await self._client.list(ENDPOINT_SLICES, namespace, label_selector=f"{SERVICE_NAME}={service}")
        return any((endpoint.get("conditions") or {}).get("ready", True)
                   for item in slices.items for endpoint in item.get("endpoints") or ())


def _ingresses(service: Json) -> list[str]:
    points = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [str(point.get("ip") or point.get("hostname")) for point in points if point.get("ip")
            or point.get("hostname")]


async def why_not_reached(host: str, port: int, within_s: float) -> str:
    """Empty when somebody accepts a connection there."""
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
