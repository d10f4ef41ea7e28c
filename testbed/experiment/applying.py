"""Brings a workload into the cluster, and back to what its manifests say before each run.

What was not there before is noted, so that it can be taken away again when the run is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from testbed.api.resources import DEPLOYMENTS, ResourceType
from testbed.client.informer import key_of
from testbed.client.protocol import Client, PatchType
from testbed.errors import ApiError, NotFound
from testbed.experiment.manifests import defaulted_namespace, resource_of
from testbed.experiment.patience import until_answered

Json = dict[str, Any]
Created = tuple[ResourceType, str | None, str]


async def apply(
    client: Client, manifests: Iterable[Json], namespace: str, note: Callable[[Created], None]
) -> None:
    """Creates what is missing and patches what is there. ``note`` hears of each object that was created.

    Raises: ApiError (Invalid and others) of the first object that is refused.
    """
    for manifest in manifests:
        obj = defaulted_namespace(manifest, namespace)
        resource = resource_of(obj)
        assert resource is not None, "manifests were checked"
        where = obj["metadata"].get("namespace") if resource.namespaced else None
        name = obj["metadata"]["name"]
        try:
            await client.get(resource, name, where)
        except NotFound:
            await client.create(resource, obj, where)
            note((resource, where, name))
        else:
            await client.patch(resource, name, obj, where, patch_type=PatchType.STRATEGIC)


def deployments_in(manifests: Iterable[Json], namespace: str) -> list[str]:
    """Keys of the Deployments among these manifests."""
    return [key_of(defaulted_namespace(item, namespace)) for item in manifests if resource_of(item) == DEPLOYMENTS]


async def remove(client: Client, created: Sequence[Created], timeout_s: float = 30.0) -> list[str]:
    """Deletes what ``apply`` created, last first, and waits until it is gone. Returns what could not be removed."""
    left: list[str] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    asked: list[Created] = []
    for resource, namespace, name in reversed(created):
        try:
            await _delete(client, (resource, namespace, name), until)
            asked.append((resource, namespace, name))
        except ApiError as error:  # the others can go all the same
            left.append(f"{resource.kind} {name}: {error.message}")
    until = max(until, loop.time() + timeout_s / 2)
    for resource, namespace, name in reversed(asked):
        while await _there(client, resource, namespace, name):
            if loop.time() > until:
                left.append(f"{resource.kind} {name} may still be there")
                break
            await asyncio.sleep(0.1)
    return left


async def _delete(client: Client, what: Created, until: float) -> None:
    """Raises: ApiError when it is refused, or the API stays away."""
    resource, namespace, name = what
    # Foreground: a Deployment is gone only when its pods are.
    propagation = "Foreground" if resource == DEPLOYMENTS else "Background"
    with contextlib.suppress(NotFound):
        await until_answered(lambda: client.delete(resource, name, namespace, propagation=propagation), until)


async def _there(client: Client, resource: ResourceType, namespace: str | None, name: str) -> bool:
    """An API that does not answer, or refuses to, has not said that it is gone."""
    try:
        await client.get(resource, name, namespace)
    except NotFound:
        return False
    except ApiError:
        pass
    return True
