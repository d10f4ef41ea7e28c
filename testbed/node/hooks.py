"""Lifecycle hooks of containers: exec, httpGet, tcpSocket (ignored, as upstream), sleep.

Source: kubernetes pkg/kubelet/lifecycle/handlers.go.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace

from probes.http import NotHttp, get, hook_url
from probes.ports import NoSuchPort
from testbed.api.core_v1 import Container, HttpGetAction, LifecycleHandler
from testbed.errors import TestbedError
from testbed.runtime.containers import ExecResult

HOOK_REQUEST_S = 30.0
_PLAIN_ANSWERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")  # OpenSSL's words for an answer that is not TLS
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
            async with asyncio.timeout(HOOK_REQUEST_S):
                await _request(handler.http_get, container, address)
        elif handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
    except (TimeoutError, OSError, EOFError, NotHttp, NoSuchPort) as error:
        raise HookFailed(f"{type(error).__name__}: {error}") from error
    except TestbedError as error:
        raise HookFailed(error.message) from error


async def _request(action: HttpGetAction, container: Container, address: str) -> None:
    """Any answer will do. Who speaks HTTP where HTTPS was asked for is asked again so, without the credentials."""
    ports = {port.name: port.container_port for port in container.ports if port.name}
    headers = [(item.name, item.value) for item in action.http_headers]
    fields = {"host": action.host, "path": action.path, "port": action.port, "scheme": action.scheme}
    url = hook_url(fields, address, ports)
    try:
        await get(url, headers)
    except ssl.SSLError as error:
        if error.reason not in _PLAIN_ANSWERS:
            raise
        await get(replace(url, tls=False), [item for item in headers if item[0].lower() != "authorization"])
