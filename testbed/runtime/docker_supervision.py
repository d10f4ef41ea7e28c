"""A Docker engine as the supervisor of its containers, behind ``SupervisingEngine``."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Mapping

from testbed.errors import EngineError, NoSuchContainer
from testbed.runtime import docker_translate as translate
from testbed.runtime.containers import ContainerState
from testbed.runtime.docker import DockerEngine
from testbed.runtime.docker_assets import label_filter
from testbed.runtime.docker_client import DockerClient
from testbed.runtime.nested import NestedEngine

_SLACK_S = 20.0  # of a stop or a start beyond its grace


class DockerSupervision(DockerEngine):
    async def look(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        params = {"all": 1, "filters": json.dumps({"label": label_filter(labels)})}
        found = await self._ask(lambda client: [str(item["Id"]) for item in client.get(
            "/containers/json", params=params)], again=True)
        states = await asyncio.gather(*(self._fresh(container) for container in found))
        return tuple(state for state in states if state is not None)

    async def _fresh(self, container: str) -> ContainerState | None:
        try:
            return await self._ask(lambda client: translate.state_of(client.get("/containers/{0}/json", container)),
                                   again=True)
        except NoSuchContainer:
            return None

    async def stop(self, container: str, grace_s: int) -> None:
        await self._slow(container, "stop", grace_s, ignore_gone=True)

    async def restart(self, container: str, grace_s: int) -> None:
        await self._slow(container, "restart", grace_s, ignore_gone=False)

    async def _slow(self, container: str, verb: str, grace_s: int, *, ignore_gone: bool) -> None:
        def work(client: DockerClient) -> None:
            client.post(f"/containers/{{0}}/{verb}", container, params={"t": grace_s})

        self._changed(container)
        try:
            await self._ask(work, timeout_s=grace_s + _SLACK_S)
        except NoSuchContainer:
            if not ignore_gone:
                raise

    async def read_file(self, container: str, path: str) -> bytes:
        def work(client: DockerClient) -> bytes:
            answer = client.open("/containers/{0}/archive", container, params={"path": path}, idle_s=client.timeout_s)
            with answer:
                return bytes(answer.content)

        with tarfile.open(fileobj=io.BytesIO(await self._ask(work, again=True))) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    return content.read()
        raise EngineError(f"{path} of container {container[:12]} is not a file")


class NestedSupervision(DockerSupervision, NestedEngine):
    """A node's own engine as the supervisor; its images come from the machine's."""
