"""The platform that is our own cluster: Services by their ClusterIP, which this machine's routes lead to.

Everything goes through the API's client, as it would on a real Kubernetes; only the profile's name is read from the
instance's own file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from testbed.api.instance import ENGINE, Instance
from testbed.client.protocol import Client
from testbed.core.profile import PROFILES, Profile
from testbed.errors import ApiError, EnvironmentProblem
from testbed.experiment.engine_witness import EngineEvents, engine_events
from testbed.experiment.observations import EngineSeen
from testbed.experiment.platforms.from_here import FromHere
from testbed.experiment.platforms.profile_words import timing_of
from testbed.experiment.platforms.protocol import Timing
from testbed.experiment.platforms.services import chosen_port, find_service
from testbed.experiment.platforms.surroundings import environment_of
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

    @property
    def runs_folder(self) -> Path:
        return self.instance.directory / "runs"

    def timing(self) -> Timing:
        return timing_of(self.profile)

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        """The ClusterIP and port. Raises: InvalidInput when there is no such Service or port."""
        return await cluster_ip(self._client, namespace, service, port)

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        reader: Any = self._client
        if not hasattr(reader, "logs"):
            raise ApiError("this client cannot read logs")
        text: str = await reader.logs(pod, namespace, tail_lines=lines)
        return text

    def engine_events(self) -> EngineEvents | None:
        """Of this machine's engine. Nodes with engines of their own have their containers in there."""
        if self.instance.nodes and all(node.kind == ENGINE for node in self.instance.nodes):
            return None
        url, instance_id = self.instance.engine_url, self.instance.id

        def events(start_ns: int) -> AsyncIterator[EngineSeen]:
            from testbed.runtime.factory import open_engine

            return engine_events(open_engine(url), instance_id, start_ns)

        return events

    async def environment(self) -> Environment:
        return await environment_of(self._client, self.name, self.cluster)


async def cluster_ip(client: Client, namespace: str, service: str, port: int | None) -> str:
    """``ClusterIP:port`` of a Service. Raises: InvalidInput, EnvironmentProblem (it has none)."""
    found = await find_service(client, namespace, service)
    number = chosen_port(found, port)["port"]
    address = str(found["spec"].get("clusterIP") or "")
    if address in ("", "None"):
        raise EnvironmentProblem(f"Service {service!r} has no ClusterIP", hint="a headless Service has no address")
    return f"{address}:{number}"
