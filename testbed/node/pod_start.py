"""The start of a pod: its sandbox, its containers one by one, and the hook that is part of a container's start."""

from __future__ import annotations

import asyncio

from testbed.api.core_v1 import Container
from testbed.core.pod_seen import PodSeen
from testbed.core.pods import CreateSandbox, StartContainer, StopContainer
from testbed.core.termination import StopCause
from testbed.node.hooks import HookFailed, run_hook
from testbed.node.inside import run_inside
from testbed.node.pod_context import SANDBOX, PodContext
from testbed.node.pod_end import PodEnd
from testbed.node.pod_reporter import PodReporter
from testbed.node.pod_stops import PodStops
from testbed.node.record import Record
from testbed.node.starter import CannotStart, Starter


class PodStart:
    """``woken``: set whenever something of the pod changed. Both calls return when to try again what could not be
    done (monotonic seconds)."""

    def __init__(
        self, context: PodContext, starter: Starter, reporter: PodReporter, stops: PodStops, end: PodEnd,
        woken: asyncio.Event,
    ) -> None:
        self._context, self._starter, self._reporter = context, starter, reporter
        self._stops, self._end, self._woken = stops, end, woken

    async def sandbox(self, action: CreateSandbox, seen: PodSeen) -> float | None:
        context = self._context
        held_s = context.held(SANDBOX)
        if held_s is not None:
            return held_s
        if action.changed:
            context.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        if seen.sandbox is not None:
            await self._end.discard(seen.sandbox.id)
        for record in context.shared.view.of_pod(context.uid):
            if record.never_started and not record.sandbox:
                await self._starter.discard(record)
        try:
            await self._starter.create_sandbox(context.pod, context.json, action.attempt)
        except CannotStart as error:
            context.errors[SANDBOX] = (error.waiting, error.again_s)
            return error.again_s
        context.errors.pop(SANDBOX, None)
        return None

    async def container(self, action: StartContainer, seen: PodSeen) -> float | None:
        context, sandbox = self._context, seen.sandbox
        held_s = context.held(action.name)
        if held_s is not None:
            return held_s
        if sandbox is None or not sandbox.running:
            return None
        container = context.container(action.name)
        try:
            record = await self._starter.start(
                context.pod, context.json, container, action.attempt, sandbox.id, sandbox.address
            )
        except CannotStart as error:
            context.errors[action.name] = (error.waiting, error.again_s)
            return error.again_s
        finally:
            if action.backoff is not None:
                context.shared.checkpoint.remember(context.uid, context.backoff_key(action.name), action.backoff)
        context.errors.pop(action.name, None)
        context.waiting.pop(action.name, None)
        if action.attempt:
            context.shared.measures.restarts += 1
        await self._post_start(container, record)
        return None

    async def _post_start(self, container: Container, record: Record) -> None:
        """The hook is part of the start: later containers wait for it; a failure ends this one."""
        handler = container.lifecycle.post_start if container.lifecycle is not None else None
        if handler is None:
            return
        context = self._context
        self._reporter.publish(context.seen)
        loop = asyncio.get_running_loop()
        hook = loop.create_task(run_hook(
            handler, container, context.address, lambda argv, limit: run_inside(context.shared, record, argv, limit)
        ))
        try:
            while not hook.done() and record.running and not context.deleting:
                self._woken.clear()
                waker = loop.create_task(self._woken.wait())
                await asyncio.wait({hook, waker}, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
            if hook.done():
                hook.result()
        except HookFailed as error:
            context.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}", container.name)
            message = f"Container {container.name} failed its PostStartHook, will be restarted"
            self._stops.begin(StopContainer(container.name, record.id, StopCause.HOOK, message))
        finally:
            hook.cancel()
            self._woken.set()
