"""The platform that is our own cluster: Services by their ClusterIP, which this machine's routes lead to.

Everything goes through the API's client, as it would on a real Kubernetes; only the profile's name is read from the
instance's own file.
"""

from __future__ import annotations

import os
import platform
from typing import Any, Protocol

from testbed import __version__
from testbed.api.instance import Instance
from testbed.api.resources import NODES, SERVICES
from testbed.client.protocol import Client
from testbed.core.profile import PROFILES, Profile
from testbed.errors import ApiError, EnvironmentProblem, InvalidInput, NotFound
from testbed.experiment.platforms.from_here import FromHere
from testbed.experiment.platforms.profile_words import timing_of
from testbed.experiment.platforms.protocol import Timing
from testbed.experiment.result import Environment


class LogReader(Protocol):
    """The part of a client that reads logs."""

    async def logs(self, name: str, namespace: str, *, tail_lines: int | None = None) -> str: ...


class TestbedPlatform(FromHere):
    """A cluster of ours that is up."""

    __test__ = False
    name = "testbed"

    def __init__(self, instance: Instance, client: Client) -> None:
        self.instance, self.cluster = instance, instance.name
        self._client = client

    @property
    def client(self) -> Client:
        return self._client

    @property
    def profile(self) -> Profile:
        return PROFILES[self.instance.profile]

    def timing(self) -> Timing:
        return timing_of(self.profile)

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        """The ClusterIP and port. Raises: InvalidInput when there is no such Service or port."""
        try:
            found = await self._client.get(SERVICES, service, namespace)
        except NotFound:
            raise InvalidInput(f"there is no Service {service!r} in namespace {namespace!r}",
                               hint="put it into the workload, or see: testbed get services") from None
        ports = [int(item["port"]) for item in found["spec"].get("ports") or ()]
        chosen = port if port is not None else (ports[0] if ports else 0)
        if chosen not in ports:
            raise InvalidInput(f"Service {service!r} has no port {chosen or ''}".rstrip(),
                               hint="its ports: " + (", ".join(map(str, ports)) or "none"))
        address = str(found["spec"].get("clusterIP") or "")
        if address in ("", "None"):
            raise EnvironmentProblem(f"Service {service!r} has no ClusterIP", hint="a headless Service has no address")
        return f"{address}:{chosen}"

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        reader: Any = self._client
        if not hasattr(reader, "logs"):
            raise ApiError("this client cannot read logs")
        text: str = await reader.logs(pod, namespace, tail_lines=lines)
        return text

    async def environment(self) -> Environment:
        nodes = await self._client.list(NODES)
        info = (nodes.items[0].get("status") or {}).get("nodeInfo") or {} if nodes.items else {}
        return Environment(
            testbed_version=__version__, platform=self.name, cluster=self.cluster, nodes=len(nodes.items),
            api_version=str(info.get("kubeletVersion", "")), engine=str(info.get("containerRuntimeVersion", "")),
            kernel=platform.release(), python=platform.python_version(), cpus=os.cpu_count() or 0,
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            load_average=round(os.getloadavg()[0], 2),
        )
