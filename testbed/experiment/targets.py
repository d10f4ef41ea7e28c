"""Where requests of an experiment go: a Service by its ClusterIP, or an Ingress by the address in its status and a host
that its rules have. Through the API only, as on any cluster."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.api.resources import INGRESSES
from testbed.client.protocol import Client
from testbed.errors import EnvironmentProblem, InvalidInput, NotFound
from testbed.experiment.platforms.protocol import Platform

HTTP_PORT = 80
PROGRAMMED_S = 15.0  # for an Ingress to get its address
_LOOK_S = 0.1


@dataclass(frozen=True)
class Target:
    """``address``: ``host:port``. ``host``: the header to send, where it is not the address."""

    address: str
    host: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Host": self.host} if self.host else {}


class Aimed(Protocol):
    """What names a target: one of ``service`` and ``ingress``."""

    @property
    def service(self) -> str: ...

    @property
    def ingress(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int | None: ...


async def find_target(platform: Platform, namespace: str, aim: Aimed) -> Target:
    """Raises: InvalidInput (there is none of that name), EnvironmentProblem (it gets no address), ApiError."""
    if not aim.ingress:
        return Target(await platform.address(namespace, aim.service, aim.port), aim.host)
    address, host = await _ingress(platform.client, namespace, aim.ingress)
    return Target(f"{address}:{aim.port or HTTP_PORT}", aim.host or host)


async def _ingress(client: Client, namespace: str, name: str) -> tuple[str, str]:
    loop = asyncio.get_running_loop()
    until = loop.time() + PROGRAMMED_S
    while True:
        try:
            found = await client.get(INGRESSES, name, namespace)
        except NotFound:
            raise InvalidInput(f"there is no Ingress {name!r} in namespace {namespace!r}",
                               hint="put it into the workload, or see: testbed get ingresses") from None
        points = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        address = next((str(one.get("ip") or one.get("hostname")) for one in points), "")
        if address:
            return address, _first_host(found)
        if loop.time() > until:
            raise EnvironmentProblem(f"Ingress {name!r} got no address within {PROGRAMMED_S:g} s",
                                     hint=f"see its class and events: testbed describe ingress {name}")
        await asyncio.sleep(_LOOK_S)


def _first_host(ingress: dict[str, Any]) -> str:
    """A name that the first rule with a host has; of a wildcard, one of its names."""
    hosts = [str(rule["host"]) for rule in ingress["spec"].get("rules") or () if rule.get("host")]
    return hosts[0].replace("*", "any", 1) if hosts else ""
