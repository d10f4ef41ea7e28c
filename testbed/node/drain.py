"""``testbed.io/drain-before-stop``: a pod is stopped only when no Service offers it any more, or after a while."""

from __future__ import annotations

import asyncio

from testbed.api.core_v1 import Pod
from testbed.api.labels import SERVICE_NAME
from testbed.api.resources import ENDPOINT_SLICES
from testbed.client.protocol import Client, Json
from testbed.errors import ApiError

LONGEST_S = 5.0
POLL_S = 0.05
SETTLE_S = 0.2  # for gateways to apply what the API has


async def wait_drained(client: Client, pod: Pod, address: str) -> None:
    """Returns when no EndpointSlice offers the pod as ready, or after LONGEST_S."""
    try:
        async with asyncio.timeout(LONGEST_S):
            offered = True
            while offered:
                offered = await _offered(client, pod, address)
                await asyncio.sleep(POLL_S if offered else 0)
            await asyncio.sleep(SETTLE_S)
    except (TimeoutError, ApiError):
        return


async def _offered(client: Client, pod: Pod, address: str) -> bool:
    slices = await client.list(ENDPOINT_SLICES, pod.metadata.namespace, label_selector=SERVICE_NAME)
    return any(
        _is(endpoint, pod, address) and (endpoint.get("conditions") or {}).get("ready", True)
        for item in slices.items for endpoint in item.get("endpoints") or ()
    )


def _is(endpoint: Json, pod: Pod, address: str) -> bool:
    uid = (endpoint.get("targetRef") or {}).get("uid")
    return bool(uid == pod.metadata.uid or (not uid and address and address in (endpoint.get("addresses") or ())))
