"""The API's sockets: TLS on 127.0.0.1, started and stopped. Refuses any address that is not this machine's loopback."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from testbed.errors import EnvironmentProblem, UsageError

SHUTDOWN_S = 1.0
BACKLOG = 512
MAX_CONNECTIONS = 3000  # an idle one costs about 60 kB

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _BoundedServer(web.Server):
    """Closes connections beyond the limit at once; those that are served go on."""

    def __call__(self) -> RequestHandler:
        if len(self.connections) >= MAX_CONNECTIONS:
            raise ConnectionAbortedError(f"more than {MAX_CONNECTIONS} connections")
        return super().__call__()


async def serve(handler: Handler, host: str, port: int, *, certificate: Path, key: Path) -> web.ServerRunner:
    """Listens until ``cleanup`` of what is returned.

    Raises: UsageError for an address that others can reach; EnvironmentProblem when the port is taken or TLS files
    are missing.
    """
    if not ipaddress.ip_address(host).is_loopback:
        raise UsageError(f"the API listens on this machine only, not on {host}")
    try:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise EnvironmentProblem(f"the API's certificate {certificate} cannot be used: {error}",
                                 hint="take the cluster down and up again: testbed down, testbed up") from error
    # handler_cancellation: a watch ends when its client goes. A write cannot be torn by it: the registry never waits.
    server = _BoundedServer(handler, access_log=None, keepalive_timeout=75.0, handler_cancellation=True,
                            auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=BACKLOG, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise EnvironmentProblem(f"the API cannot listen on {host}:{port}: {error.strerror or error}",
                                 hint="another cluster or program has that port: testbed status") from error
    return runner
