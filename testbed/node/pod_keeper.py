"""Housekeeping of a pod at rest: volumes brought up to date, old containers removed, the next ones made in advance.

A *spare* is the next attempt's container, created and not started. It costs the engine a record and no process, and
saves the creation at the moment of a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from testbed.api.core_v1 import Container
from testbed.api.process_logs import about
from testbed.core.environment import MissingConfig
from testbed.core.pod_seen import PodSeen
from testbed.node.facts import now_s
from testbed.node.pod_context import PodContext
from testbed.node.record import Record
from testbed.node.starter import Starter, sources_of
from testbed.node.stopper import kill
from testbed.node.volumes import write_volumes

log = logging.getLogger("testbed.node")
SPARE_AFTER_S = 1.0  # of a container's life: many starts at once come first


class PodKeeper:
    def __init__(self, context: PodContext, starter: Starter, wake: Callable[[], None]) -> None:
        self._context, self._starter, self._wake = context, starter, wake
        self._task: asyncio.Task[None] | None = None
        self._tried: dict[str, int] = {}
        self.volumes_stale = False

    def settle(self, seen: PodSeen) -> float | None:
        """Begins what is to be done. Returns when to look again (monotonic seconds)."""
        if self.volumes_stale and not self._context.deleting:
            self.volumes_stale = False
            self._update_volumes()
        if self._task is not None and not self._task.done():
            return None
        old = self._superfluous(seen)
        wanted, again_s = self._spares_wanted(seen)
        due_s = None if self._context.deleting else self._context.shared.tokens.due_s(self._context.pod)
        if due_s is not None:
            again_s = due_s if again_s is None else min(again_s, due_s)
        if old or wanted or (due_s is not None and due_s <= now_s()):
            self._task = asyncio.get_running_loop().create_task(self._tidy(old, wanted, seen))
            self._task.add_done_callback(lambda done: self._wake())  # there may be more by now
        return again_s

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _update_volumes(self) -> None:
        context = self._context
        if not context.pod.spec.volumes:
            return
        try:
            sources = sources_of(context.shared, context.pod, context.address)
            write_volumes(context.shared.facts, context.pod, sources)
        except (MissingConfig, OSError) as error:  # a source that is missing now leaves the files as they are
            log.info("pod %s: volumes not updated: %s", context.pod.key, error, extra=about(context.json))

    async def _tidy(self, old: list[Record], wanted: list[tuple[Container, int]], seen: PodSeen) -> None:
        context, sandbox = self._context, seen.sandbox
        try:
            self.volumes_stale = await context.shared.tokens.ensure(context.pod) or self.volumes_stale
        except MissingConfig as error:
            log.info("pod %s: %s", context.pod.key, error, extra=about(context.json))
        for record in old:
            if record.running:
                await kill(context.shared.view, record)
            await self._starter.discard(record)
            await context.shared.view.refresh(record.id)
        for container, attempt in wanted if sandbox is not None else ():
            assert sandbox is not None
            self._tried[container.name] = attempt
            await self._starter.make_spare(
                context.pod, context.json, container, attempt, sandbox.id, sandbox.address
            )

    def _superfluous(self, seen: PodSeen) -> list[Record]:
        """Instances older than the newest and the one before it (kubernetes: MaxPerPodContainer 1)."""
        kept = {item.id for item in (*seen.containers.values(), *seen.previous.values())}
        newest = {item.name: item.attempt for item in seen.containers.values()}
        return [
            record for record in self._context.shared.view.of_pod(self._context.uid)
            if not record.sandbox and not record.stopping and record.id not in kept
            and record.attempt <= newest.get(record.name, -1)
        ]

    def _spares_wanted(self, seen: PodSeen) -> tuple[list[tuple[Container, int]], float | None]:
        spec = self._context.pod.spec
        if self._context.deleting or spec.restart_policy == "Never" or seen.sandbox is None or not seen.sandbox.running:
            return [], None
        wanted, again_s = [], None
        for container in spec.containers:
            item = seen.containers.get(container.name)
            if item is None or self._tried.get(container.name, -1) >= item.attempt + 1:
                continue
            due_s = (item.started_s or now_s()) + SPARE_AFTER_S
            if not item.running or due_s <= now_s():
                wanted.append((container, item.attempt + 1))
            else:
                again_s = due_s if again_s is None else min(again_s, due_s)
        return wanted, again_s
