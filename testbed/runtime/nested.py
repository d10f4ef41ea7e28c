"""The engine of a node that has its own: a Docker engine that gets its images from the machine's.

There is no registry, so what such a node "pulls" is copied out of the machine's engine (``docker save`` into ``docker
load``), together with that image's siblings: tags of the same name that stand on the same base cost next to nothing
more, and a rollout then finds the next version on the node. What the machine does not have is pulled as usual.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from pathlib import Path
from typing import Any

from testbed.errors import EngineError
from testbed.runtime.docker import DockerEngine
from testbed.runtime.docker_client import APIError, DockerClient
from testbed.runtime.docker_streams import Stream

_CHUNK_BYTES = 1 << 20
_SIBLINGS = 8


class NestedEngine(DockerEngine):
    """``url``: the node's own engine. ``machine_url``: the machine's, from which images are copied. ``turn``: a file
    that all nodes of the cluster lock: many copies at once would take as long together, and keep each other waiting."""

    def __init__(self, url: str, machine_url: str, turn: Path) -> None:
        super().__init__(url)
        self._machine_url, self._turn = machine_url, turn
        self._copies = asyncio.Lock()

    async def pull(self, reference: str) -> None:
        """In a thread of its own: it takes seconds. Raises: NoSuchImage, EngineUnavailable, EngineError."""
        found: list[bool] = []
        async with self._copies:  # one at a time: two at once would copy the base that they share twice
            async for copied in Stream().items(lambda stream: stream.give(self._copy(reference))):
                found.append(copied)
        if not any(found):
            await super().pull(reference)

    def _copy(self, reference: str) -> bool:
        """Whether the machine's engine had it. In a thread."""
        source = DockerClient(self._machine_url, "", self._deadlines.pull_s)
        target = DockerClient(self._url, self._api_version, self._deadlines.pull_s)
        try:
            names = _with_siblings(source, reference)
            if not names:
                return False
            with self._turn.open("a") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if _same(_image(source, reference), _image(target, reference)):
                    return True  # another pod's pull has brought it meanwhile
                # An engine collects the whole archive before it sends the first byte, which may take long.
                answer = source.open("/images/get", params={"names": names}, idle_s=self._deadlines.pull_s)
                try:
                    target.load(answer.iter_content(_CHUNK_BYTES))
                finally:
                    answer.close()
            return True
        except APIError as error:
            raise EngineError(str(error.explanation or error)) from error
        finally:
            source.close()
            target.close()


def _with_siblings(source: DockerClient, reference: str) -> list[str]:
    """The reference and tags of the same name on the same base, newest first; empty where there is no such image."""
    image = _image(source, reference)
    if image is None:
        return []
    name, _, tag = reference.rpartition(":")
    if not tag or "/" in tag or "@" in reference:
        return [reference]
    filters = json.dumps({"reference": [f"{name}:*"]})
    tags: list[str] = [item for found in source.get("/images/json", params={"filters": filters})
                       for item in found.get("RepoTags") or ()]
    siblings = [item for item in tags if item != reference and _same_base(image, _image(source, item))]
    return [reference, *siblings[:_SIBLINGS]]


def _image(source: DockerClient, reference: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = source.get("/images/{0}/json", reference)
    except APIError as error:
        if error.status_code == 404:
            return None
        raise
    return found


def _same(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    return one is not None and other is not None and one["Id"] == other["Id"]


def _same_base(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    return other is not None and one["RootFS"]["Layers"][:1] == other["RootFS"]["Layers"][:1]
