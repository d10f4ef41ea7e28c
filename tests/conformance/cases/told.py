"""What containers of a pod did, in order: they write it into a file on a volume that all of them have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from testbed.api.resources import PODS

from .kube import Json, Kube, container_status
from .manifests import pod

TOLD = "/told/log"


def teller(name: str, work: str, *, last: bool = False) -> str:
    """A script that tells when it began and ended its work. ``last``: leaves all that was told as its message."""
    script = f"echo {name} began >> {TOLD}; {work}; echo {name} ended >> {TOLD}"
    return f"{script}; cat {TOLD} > /dev/termination-log" if last else script


def told_pod(*containers: Json, inits: Sequence[Json] = (), **spec: Any) -> Json:
    """Pod ``web``, whose containers all have the volume."""
    place = {"volumeMounts": [{"name": "told", "mountPath": "/told"}]}
    return pod("web", *(each | place for each in containers), initContainers=[each | place for each in inits],
               volumes=[{"name": "told", "emptyDir": {}}], **spec)


async def order(kube: Kube, container: str = "app") -> list[str]:
    """What was told so far, as a container sees it that runs."""
    return (await kube.read("web", TOLD, container)).splitlines()


async def ended_order(kube: Kube, phase: str, container: str = "app") -> list[str]:
    """What had been told when this container left it as its message."""
    status = container_status(await kube.phase("web", phase), container)
    assert status is not None and "terminated" in status["state"], status
    return str(status["state"]["terminated"].get("message", "")).splitlines()


@asynccontextmanager
async def watched(kube: Kube, name: str) -> AsyncIterator[list[Json]]:
    """Every state that the pod of that name has had, as a watch shows it."""
    seen: list[Json] = []
    version = (await kube.client.list(PODS, kube.namespace)).resource_version

    async def watch() -> None:
        async for event in kube.client.watch(
            PODS, kube.namespace, resource_version=version, field_selector=f"metadata.name={name}",
        ):
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                seen.append(event.object | {"event": event.type})

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
