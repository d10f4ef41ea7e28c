"""The end of a pod: when its containers may be stopped, and what is removed once they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from testbed.api.labels import DRAIN_BEFORE_STOP
from testbed.errors import EngineUnavailable
from testbed.node.drain import wait_drained
from testbed.node.facts import now_s
from testbed.node.pod_context import PodContext
from testbed.node.pod_probes import PodProbes
from testbed.node.pod_reporter import PodReporter
from testbed.node.starter import Starter, gather_removals
from testbed.node.stopper import kill
from testbed.node.volumes import remove_volumes

_EXIT_POLL_S = 0.02
_EXIT_PATIENCE_S = 5.0


class PodEnd:
    def __init__(
        self, context: PodContext, starter: Starter, reporter: PodReporter, probes: PodProbes, wake: Callable[[], None]
    ) -> None:
        self._context, self._starter, self._reporter, self._probes = context, starter, reporter, probes
        self._wake = wake
        self._drain: asyncio.Task[None] | None = None

    def may_stop(self) -> bool:
        """With ``drain-before-stop``: not before the endpoints are gone."""
        context = self._context
        if context.gone or context.pod.metadata.annotations.get(DRAIN_BEFORE_STOP, "false") != "true":
            return True
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(
                wait_drained(context.shared.client, context.pod, context.address)
            )
            self._drain.add_done_callback(lambda done: self._wake())
        return self._drain.done()

    async def remove(self) -> None:
        """Last status, then the object, then the containers and files: what fails is tried again by the next plan.

        Raises: EngineUnavailable.
        """
        context, shared = self._context, self._context.shared
        records = shared.view.of_pod(context.uid)
        for record in records:
            if not record.sandbox and not record.never_started and not record.exit_known:
                await self.exit_code(record.id)
        await self._probes.close()
        if not context.gone:
            context.messages.read(records, context.containers)
            await context.messages.settled()
            self._reporter.publish(context.seen, ending=True)
            await shared.sender.flush(context.uid)
            await shared.sender.delete(context.uid, context.pod.metadata.namespace, context.pod.metadata.name)
        for record in records:
            if record.sandbox and record.running:
                await kill(shared.view, record)
        await gather_removals(self._starter, [record for record in records if not record.sandbox])
        await gather_removals(self._starter, [record for record in records if record.sandbox])
        for record in records:
            await shared.view.refresh(record.id)
        if shared.view.of_pod(context.uid):
            raise EngineUnavailable("containers of an ended pod are not removed yet")
        remove_volumes(shared.facts, context.uid)
        shared.claims.forget(context.uid)
        shared.checkpoint.forget(context.uid)
        shared.images.forget_pod(context.uid)
        shared.tokens.forget(context.uid)

    async def exit_code(self, container: str) -> None:
        """Waits, not for ever, until the engine tells it. Raises: EngineUnavailable."""
        deadline_s = now_s() + _EXIT_PATIENCE_S
        while now_s() < deadline_s:
            record = await self._context.shared.view.refresh(container)
            if record is None or record.exit_known:
                return
            await asyncio.sleep(_EXIT_POLL_S)

    async def discard(self, container: str) -> None:
        """Kills and removes one container. Raises: EngineUnavailable."""
        view = self._context.shared.view
        record = view.records.get(container)
        if record is None:
            return
        if record.running:
            await kill(view, record)
        await self._starter.discard(record)
        await view.refresh(container)

    async def close(self) -> None:
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
