"""Taking an orphan in, and letting go of what no longer matches.

Before adoption the would-be owner is read from the API itself: one that is gone, or on its way, adopts nobody
(kubernetes: controller_ref_manager.go, CanAdopt).
"""

from __future__ import annotations

from typing import Any

from testbed.api.resources import ResourceType
from testbed.controlplane.controller import Tools
from testbed.controlplane.owners import controlled_by
from testbed.errors import NotFound

Json = dict[str, Any]


async def adopt(tools: Tools, owner_type: ResourceType, owner: Json, resource: ResourceType, key: str) -> bool:
    """Makes ``owner`` the controller of the object. False when that is not right any more.

    Raises: Conflict when the object changed meanwhile.
    """
    obj = tools.caches.all[resource.group_resource].json(key)
    if obj is None:
        return False
    try:
        live = await tools.client.get(owner_type, owner["metadata"]["name"], owner["metadata"].get("namespace"))
    except NotFound:
        return False
    if live["metadata"]["uid"] != owner["metadata"]["uid"] or live["metadata"].get("deletionTimestamp"):
        return False
    owners = [*(obj["metadata"].get("ownerReferences") or ()), controlled_by(owner_type, owner)]
    await tools.update(resource, {**obj, "metadata": {**obj["metadata"], "ownerReferences": owners}})
    return True


async def release(tools: Tools, resource: ResourceType, key: str, owner_uid: str) -> None:
    """Takes the owner's reference off the object.

    Raises: Conflict when the object changed meanwhile.
    """
    obj = tools.caches.all[resource.group_resource].json(key)
    if obj is None:
        return
    owners = [item for item in obj["metadata"].get("ownerReferences") or () if item.get("uid") != owner_uid]
    metadata = {name: item for name, item in obj["metadata"].items() if name != "ownerReferences"}
    if owners:
        metadata["ownerReferences"] = owners
    await tools.update(resource, {**obj, "metadata": metadata})
