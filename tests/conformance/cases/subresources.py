"""What upstream asks of the status of every workload: a subresource, written and patched on its own."""

from __future__ import annotations

from testbed.api.resources import ResourceType

from .kube import Json, Kube, is_true

TOLD = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}


async def status_is_a_subresource(kube: Kube, resource: ResourceType, name: str) -> None:
    spec = (await kube.get(resource, name))["spec"]

    def tell(obj: Json) -> None:
        obj["status"]["conditions"] = [TOLD]
        obj["spec"]["minReadySeconds"] = 7  # which a write of the status does not change

    changed = await kube.update(resource, name, tell, subresource="status")
    assert is_true(changed, "StatusUpdate") and changed["spec"] == spec
    patched = await kube.patch(resource, name, {"status": {"conditions": [TOLD | {"type": "StatusPatched"}]}},
                               subresource="status")
    assert is_true(patched, "StatusPatched") and patched["spec"] == spec
