"""The part of a Docker engine that is not about containers: the connection itself, images and networks.

Decides how long calls may take, how they are kept apart, and which version of the API is spoken. ``docker`` builds the
engine on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from testbed.errors import EngineError, NoSuchImage
from testbed.runtime import docker_translate as translate
from testbed.runtime.assets import ImageState, NetworkState
from testbed.runtime.bulkhead import Bulkhead
from testbed.runtime.docker_client import APIError, DockerClient, NotFound, split_reference
from testbed.runtime.docker_streams import Stream
from testbed.runtime.docker_threads import ClientThreads
from testbed.runtime.protocol import EngineVersion

Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadlines:
    """Seconds. ``inspect_s``: of one container in a list, longer is "this one hangs"; ``conflict_s``: how long a name
    may stay taken by what is being removed."""

    call_s: float = 10.0
    inspect_s: float = 3.0
    start_s: float = 30.0
    remove_s: float = 30.0
    volume_s: float = 120.0  # to remove one: the disk of a node with an engine of its own is many files
    pull_s: float = 900.0
    conflict_s: float = 10.0


class DockerAssets:
    """``url``: ``unix://...`` or ``tcp://...``; empty is DOCKER_HOST or the default socket."""

    def __init__(self, url: str = "", deadlines: Deadlines | None = None) -> None:
        self._url = url
        self._deadlines = deadlines or Deadlines()
        self._api_version = ""
        self._driver = ""
        self._threads = ClientThreads(self._client)
        self._bulkhead = Bulkhead(per_key=2)

    # --- connections

    def _client(self) -> DockerClient:
        """A new client. The first one asks which version of the API the engine speaks."""
        client = DockerClient(self._url, self._api_version, self._deadlines.call_s)
        self._api_version = client.api_version
        return client

    async def _ask(
        self, work: Callable[[DockerClient], Result], *, key: str = "", timeout_s: float | None = None,
        again: bool = False,
    ) -> Result:
        timeout_s = self._deadlines.call_s if timeout_s is None else timeout_s
        if not key:
            return await self._threads.call(work, timeout_s=timeout_s, again=again)
        async with self._bulkhead.hold(key, timeout_s):
            return await self._threads.call(work, timeout_s=timeout_s, again=again)

    async def version(self) -> EngineVersion:
        answer = await self._ask(lambda client: (client.get("/version"), client.get("/info")), again=True)
        version, info = answer
        self._driver = str(info.get("CgroupDriver", "cgroupfs"))
        return EngineVersion(
            version=version["Version"], api_version=version["ApiVersion"],
            cgroup_version=int(info.get("CgroupVersion") or 1), cgroup_driver=self._driver,
            kernel=str(info.get("KernelVersion", "")),
        )

    async def close(self) -> None:
        self._threads.close()

    # --- images

    async def image(self, reference: str) -> ImageState:
        return await self._ask(
            lambda client: translate.image_of(client.get("/images/{0}/json", reference)), again=True
        )

    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[ImageState, ...]:
        params = {"filters": json.dumps({"label": label_filter(labels or {})})}
        answer: list[dict[str, Any]] = await self._ask(
            lambda client: client.get("/images/json", params=params),
            again=True,
        )
        return tuple(translate.image_summary(item) for item in answer)

    async def pull(self, reference: str) -> None:
        """In a thread of its own: it may take minutes."""
        name, tag = split_reference(reference)

        def produce(stream: Stream) -> None:
            client = DockerClient(self._url, self._api_version, self._deadlines.pull_s)
            try:
                client.pull(name, tag)
            except APIError as error:
                raise EngineError(str(error.explanation or error)) from error
            finally:
                client.close()

        try:
            async for _ in Stream().items(produce):
                continue
            await self.image(reference)
        except EngineError as error:
            hint = f"bring it in: testbed image load FILE, or testbed image build FOLDER -t {reference}"
            raise NoSuchImage(f"{reference} cannot be pulled: {error.message}", hint=hint) from error

    async def in_registry(self, reference: str) -> bool:
        def look(client: DockerClient) -> bool:
            try:
                client.get("/distribution/{0}/json", reference)
            except NotFound:
                return False
            return True

        return await self._ask(look, timeout_s=self._deadlines.start_s)

    # --- networks

    async def create_network(
        self, name: str, *, subnet: str, gateway: str, bridge: str, labels: Mapping[str, str], ip_range: str = "",
    ) -> str:
        addresses = {"Subnet": subnet, "Gateway": gateway, **({"IPRange": ip_range} if ip_range else {})}
        body = {
            "Name": name, "Driver": "bridge", "CheckDuplicate": True, "Labels": dict(labels),
            "IPAM": {"Driver": "default", "Config": [addresses]},
            "Options": {"com.docker.network.bridge.name": bridge} if bridge else {},
        }
        def work(client: DockerClient) -> str:
            return str(client.post("/networks/create", body=body)["Id"])

        return await self._ask(work, timeout_s=self._deadlines.start_s)

    async def networks(self, labels: Mapping[str, str] | None = None) -> tuple[NetworkState, ...]:
        params = {"filters": json.dumps({"label": label_filter(labels or {})})}
        answer: list[dict[str, Any]] = await self._ask(
            lambda client: client.get("/networks", params=params), again=True
        )
        return tuple(translate.network_of(item) for item in answer)

    async def remove_network(self, name: str) -> None:
        def work(client: DockerClient) -> None:
            try:
                client.delete("/networks/{0}", name)
            except APIError as error:
                if error.status_code != 404:
                    raise
        await self._ask(work, timeout_s=self._deadlines.start_s)


def label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" if value else key for key, value in labels.items()]
