"""Sends pod statuses to the API: the newest of each pod at once, again and again while the API cannot be reached.

What a status says is ``core/pod_status``. A patch names the pod's uid, so that it never lands on a later pod of the
same name (kubernetes: pkg/kubelet/status/status_manager.go).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.api.process_logs import about
from testbed.api.resources import PODS
from testbed.client.protocol import Client, PatchType
from testbed.errors import ApiError, ApiUnavailable, Conflict, Invalid, NotFound

log = logging.getLogger("testbed.node")
Json = dict[str, Any]
_FIRST_S, _LONGEST_S = 0.1, 2.0


@dataclass
class _Entry:
    namespace: str
    name: str
    status: Json | None = None
    task: asyncio.Task[None] | None = None


class StatusSender:
    """``sent(uid, status)`` is called when the API has taken one."""

    def __init__(self, client: Client, draw: random.Random, sent: Callable[[str, Json], None]) -> None:
        self._client, self._draw, self._sent = client, draw, sent
        self._entries: dict[str, _Entry] = {}

    def put(self, uid: str, namespace: str, name: str, status: Json) -> None:
        """Replaces a status that has not been sent yet."""
        entry = self._entries.setdefault(uid, _Entry(namespace, name))
        entry.status = status
        if entry.task is None:
            entry.task = asyncio.get_running_loop().create_task(self._send_all(uid, entry))

    async def flush(self, uid: str) -> None:
        """Waits until everything of this pod was sent or given up."""
        entry = self._entries.get(uid)
        if entry is not None and entry.task is not None:
            await asyncio.shield(entry.task)

    async def _send_all(self, uid: str, entry: _Entry) -> None:
        wait_s = _FIRST_S
        while entry.status is not None:
            status, entry.status = entry.status, None
            try:
                await self._send(uid, entry, status)
                self._sent(uid, status)
                wait_s = _FIRST_S
            except ApiUnavailable:
                if entry.status is None:
                    entry.status = status
                await asyncio.sleep(wait_s * (1 + self._draw.random()))
                wait_s = min(wait_s * 2, _LONGEST_S)
            except (NotFound, Conflict):
                entry.status = None
            except ApiError as error:
                log.warning("status of %s/%s refused: %s", entry.namespace, entry.name, error.message,
                            extra=about(pod=f"{entry.namespace}/{entry.name}", pod_uid=uid))
        entry.task = None
        self._entries.pop(uid, None)

    async def _send(self, uid: str, entry: _Entry, status: Json) -> None:
        await self._client.patch(
            PODS, entry.name, {"metadata": {"uid": uid}, "status": status}, entry.namespace,
            patch_type=PatchType.STRATEGIC, subresource="status",
        )

    async def delete(self, uid: str, namespace: str, name: str) -> None:
        """Confirms a deletion: everything of the pod has ended. Returns when the object is gone."""
        wait_s = _FIRST_S
        while True:
            try:
                await self._client.delete(PODS, name, namespace, grace_period_s=0, uid=uid)
                return
            except (NotFound, Conflict, Invalid):
                return
            except ApiError as error:
                log.info("pod %s/%s is not deleted yet: %s", namespace, name, error.message,
                         extra=about(pod=f"{namespace}/{name}", pod_uid=uid))
                await asyncio.sleep(wait_s * (1 + self._draw.random()))
                wait_s = min(wait_s * 2, _LONGEST_S)

    async def close(self) -> None:
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
