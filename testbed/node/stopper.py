"""Ends one container: preStop, its turn, SIGTERM, the rest of the grace, SIGKILL. A frozen one has its grace too, as
any process that does not answer: the signal waits for it, and what kills it at the end thaws it.

How long each step may take is ``core/termination``. Source: kubernetes kuberuntime_container.go killContainer.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from testbed.api.core_v1 import Container
from testbed.core.termination import after_hook_s
from testbed.errors import EngineError, EngineUnavailable, HostError
from testbed.node.engine_view import EngineView
from testbed.node.facts import now_s
from testbed.node.hooks import HookFailed, Run, run_hook
from testbed.node.record import Record

log = logging.getLogger("testbed.node")
_AGAIN_S = 1.0  # between tries while the engine does not answer
_ENGINE_PATIENCE_S = 1.0  # then it is asked from the host: nobody may lose its grace to a silent engine
_NOTICE_S = 0.05  # how often death is looked for where there is no pidfd


async def stop(
    view: EngineView, record: Record, container: Container | None, grace_s: float, *, address: str, run: Run,
    signal_name: str, hook_failed: Callable[[str], None], turn: Callable[[], Awaitable[None]],
) -> None:
    """Returns when the container's process has ended. ``turn``: returns when it may be asked to end; waiting for it
    counts against the grace."""
    begun = now_s()
    handler = container.lifecycle.pre_stop if container is not None and container.lifecycle is not None else None
    if handler is not None and container is not None:
        try:
            async with asyncio.timeout(grace_s):
                await run_hook(handler, container, address, run)
        except HookFailed as error:
            hook_failed(str(error))
        except TimeoutError:
            log.info("preStop of %s was abandoned after %.1f s", record.name, grace_s, extra=record.whom)
    try:
        async with asyncio.timeout(max(0.0, grace_s - (now_s() - begun))):
            await turn()
    except TimeoutError:
        log.info("%s is stopped before its turn: its grace of %.1f s is over", record.name, grace_s,
                 extra=record.whom)
    left_s = after_hook_s(grace_s, now_s() - begun)
    await _ask_to_end(view, record, signal_name)
    try:
        async with asyncio.timeout(left_s):
            await ended(view, record)
    except TimeoutError:
        await kill(view, record)


async def _ask_to_end(view: EngineView, record: Record, signal_name: str) -> None:
    """Through the engine, so that it knows that somebody wanted it; from the host while the engine is silent, or would
    hang on a frozen process."""
    if record.process is not None and await is_frozen(view, record):
        await _host_signal(view, record, int(signal.Signals[signal_name]))
        return
    try:
        async with asyncio.timeout(_ENGINE_PATIENCE_S):
            await view.engine.signal(record.id, signal_name)
    except (EngineError, EngineUnavailable, TimeoutError) as error:
        log.warning("the engine did not deliver %s to %s: %s", signal_name, record.name, error or "no answer",
                    extra=record.whom)
        if record.process is not None:
            await _host_signal(view, record, int(signal.Signals[signal_name]))


async def kill(view: EngineView, record: Record) -> None:
    """SIGKILL from the host, frozen or not, until the process has ended."""
    while record.running:
        try:
            if record.process is not None and record.cgroup:
                await view.host.signal(record.process, int(signal.SIGKILL))
                await view.host.kill_cgroup(record.cgroup)
            else:
                await view.engine.signal(record.id, "SIGKILL")
            async with asyncio.timeout(_AGAIN_S):
                await ended(view, record)
            return
        except (HostError, EngineError, EngineUnavailable) as error:
            log.warning("cannot kill %s yet: %s", record.name, error.message, extra=record.whom)
            await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            continue


async def ended(view: EngineView, record: Record) -> None:
    """Waits until the process is seen to have ended."""
    while record.running and record.id in view.records:
        if record.process is not None:
            await view.host.wait_exit(record.process)
            await asyncio.sleep(0)
            if record.running:
                await asyncio.sleep(_NOTICE_S)
        else:
            await view.refresh(record.id)
            await asyncio.sleep(_NOTICE_S)


async def is_frozen(view: EngineView, record: Record) -> bool:
    if not record.cgroup:
        return record.state.status == "paused"
    try:
        return await view.host.frozen(record.cgroup)
    except HostError:
        return False


async def _host_signal(view: EngineView, record: Record, number: int) -> None:
    try:
        if record.process is not None:
            await view.host.signal(record.process, number)
    except HostError as error:
        log.warning("cannot signal %s: %s", record.name, error.message, extra=record.whom)
