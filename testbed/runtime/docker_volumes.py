"""Named volumes of a Docker engine. A name is never taken over: a volume of that name with other labels is a conflict.

``docker_assets`` has the connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from testbed.errors import EngineError, NameConflict
from testbed.runtime import docker_translate as translate
from testbed.runtime.assets import VolumeState
from testbed.runtime.docker_assets import DockerAssets, label_filter
from testbed.runtime.docker_client import APIError, DockerClient


class DockerVolumes(DockerAssets):
    async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        """The engine answers with the volume there is when the name is taken, whatever its labels."""
        def work(client: DockerClient) -> VolumeState:
            body = {"Name": name, "Driver": "local", "Labels": dict(labels)}
            return translate.volume_of(client.post("/volumes/create", body=body))

        made = await self._ask(work, timeout_s=self._deadlines.start_s, again=True)
        if any(made.labels.get(key) != value for key, value in labels.items()):
            raise NameConflict(f"a volume named {name} exists already and is not ours")
        return made

    async def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]:
        params = {"filters": json.dumps({"label": label_filter(labels)})}
        answer: dict[str, Any] = await self._ask(lambda client: client.get("/volumes", params=params), again=True)
        return tuple(translate.volume_of(item) for item in answer.get("Volumes") or ())

    async def remove_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        def work(client: DockerClient) -> None:
            try:
                found = translate.volume_of(client.get("/volumes/{0}", name))
                if any(found.labels.get(key) != value for key, value in labels.items()):
                    raise EngineError(f"volume {name} is not ours and is not removed")
                client.delete("/volumes/{0}", name)
            except APIError as error:
                if error.status_code != 404:
                    raise

        await self._ask(work, timeout_s=self._deadlines.volume_s)
