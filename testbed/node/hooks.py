"""Lifecycle hooks of containers: exec, httpGet, tcpSocket (ignored, as upstream), sleep.

Source: kubernetes pkg/kubelet/lifecycle/handlers.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from probes.http import NotHttp, get, hook_url
from probes.ports import NoSuchPort
from testbed.api.core_v1 import Container, LifecycleHandler
from testbed.errors import TestbedError
from testbed.runtime.protocol import ExecResult

HOOK_REQUEST_S = 30.0
Run = Callable[[tuple[str, ...], float], Awaitable[ExecResult]]
_LONG_S = 24 * 3600.0  # exec hooks have no time-out of their own; preStop's grace ends them


class HookFailed(Exception):
    """The hook could not be run, or said no."""


async def run_hook(handler: LifecycleHandler, container: Container, address: str, run: Run) -> None:
    """Raises: HookFailed. Cancellable."""
    try:
        if handler.exec is not None:
            result = await run(handler.exec.command, _LONG_S)
            if result.exit_code:
                raise HookFailed(f"command {list(handler.exec.command)} exited with {result.exit_code}")
        elif handler.http_get is not None:
            ports = {port.name: port.container_port for port in container.ports if port.name}
            action = handler.http_get
            headers = [(item.name, item.value) for item in action.http_headers]
            fields = {"path": action.path, "port": action.port, "scheme": action.scheme}
            async with asyncio.timeout(HOOK_REQUEST_S):
                await get(hook_url(fields, address, ports), headers)
        elif handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
    except (TimeoutError, OSError, EOFError, NotHttp, NoSuchPort) as error:
        raise HookFailed(f"{type(error).__name__}: {error}") from error
    except TestbedError as error:
        raise HookFailed(error.message) from error
