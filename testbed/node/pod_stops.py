"""Stops that are under way in one pod: each a task of its own, because graces are long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from testbed.api.core_v1 import Container
from testbed.api.process_logs import about
from testbed.core.pods import StopContainer
from testbed.core.termination import RESTARTING, grace_s
from testbed.errors import EngineError, EngineUnavailable, HostError
from testbed.node.inside import run_inside
from testbed.node.pod_context import PodContext
from testbed.node.record import Record
from testbed.node.stopper import ended, stop

log = logging.getLogger("testbed.node")


class PodStops:
    def __init__(self, context: PodContext, wake: Callable[[], None]) -> None:
        self._context, self._wake = context, wake
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, action: StopContainer) -> None:
        context = self._context
        record = context.shared.view.records.get(action.id)
        if record is None or record.stopping:
            return
        record.stopping = True
        record.restart_anyway = action.cause in RESTARTING
        context.event("Normal", "Killing", action.message, action.name, container_id=record.id)
        spec = next((item for item in context.containers if item.name == action.name), None)
        grace = grace_s(context.pod.spec, spec, action.cause, self._deletion_grace_s())
        task = asyncio.get_running_loop().create_task(self._run(record, spec, grace, action.after))
        self._tasks[record.id] = task
        task.add_done_callback(lambda done: self._forget(record.id, done))

    def _forget(self, container: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(container) is done:
            del self._tasks[container]

    def _deletion_grace_s(self) -> int | None:
        context = self._context
        if context.pod.metadata.deletion_grace_period_seconds is not None:
            return context.pod.metadata.deletion_grace_period_seconds
        return 1 if context.gone else None

    async def _run(self, record: Record, spec: Container | None, grace: float, after: tuple[str, ...]) -> None:
        context = self._context

        async def turn() -> None:
            view = context.shared.view
            for name in after:
                other = view.newest(context.uid, name)
                if other is not None and other.running:
                    await ended(view, other)

        def hook_failed(text: str) -> None:
            context.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {text}", record.name)

        try:
            image = await context.shared.images.stop_signal(record.state.image)
            await stop(
                context.shared.view, record, spec, grace, address=context.address,
                run=lambda argv, limit: run_inside(context.shared, record, argv, limit), signal_name=image,
                hook_failed=hook_failed, turn=turn,
            )
        except (EngineUnavailable, EngineError, HostError) as error:
            log.warning("pod %s: stopping %s: %s", context.pod.key, record.name, error.message,
                        extra=about(context.json, container_id=record.id))
            await asyncio.sleep(context.shared.retry_s())
        finally:
            record.stopping = False
            self._wake()

    def begin_anew(self) -> None:
        """The grace was shortened: what is under way ends, and the next plan stops again with what is left."""
        for task in list(self._tasks.values()):
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
