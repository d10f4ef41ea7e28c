"""What an agent serves of its containers, where there is no agent: their logs, at kubelet's path, for the API.

TLS and the agents' token. A container is found by the pod's status, and asked of the engine that its node has: no
driver takes part. Everything else that an agent has is refused by a word.
"""

from __future__ import annotations

import ssl

from aiohttp import web

from testbed.api.clock import WallClock
from testbed.api.instance import Instance
from testbed.errors import BadRequest, EnvironmentProblem, NotFound
from testbed.node.http_guard import guard
from testbed.node.http_logs import serve_logs
from testbed.runtime.factory import open_engine
from testbed.runtime.protocol import Engine
from testbed.supervisors.wishes import Wishes


class LogServer:
    def __init__(self, instance: Instance, wishes: Wishes, clock: WallClock) -> None:
        self._instance, self._wishes, self._clock = instance, wishes, clock
        self._engines: dict[str, Engine] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises: EnvironmentProblem when the port is taken, or the certificate or token cannot be read."""
        try:
            await self._start()
        except OSError as error:
            raise EnvironmentProblem(f"logs cannot be served on port {self._instance.driver_port}: {error}") from error

    async def _start(self) -> None:
        token = self._instance.agent_token_file.read_text().strip().encode()
        application = web.Application(middlewares=[guard(token)])
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_route("*", "/{anything:.*}", _nothing_else)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._instance.certificate, self._instance.certificate_key)
        await web.TCPSite(self._runner, "127.0.0.1", self._instance.driver_port, ssl_context=tls).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        for engine in self._engines.values():
            await engine.close()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        if request.query.get("previous", "").lower() in ("true", "1"):
            raise BadRequest("a restarted container is the same one there: its log has all of its lives")
        pod = self._wishes.pods().get(f"{namespace}/{name}")
        if pod is None:
            raise NotFound(f'pod "{name}" not found')
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        identity = next((str(item.get("containerID") or "") for item in statuses if item["name"] == container), "")
        if not identity:
            raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start')
        return await serve_logs(
            request, self._engine(pod["spec"].get("nodeName", "")), identity.rpartition("/")[2], self._clock)

    def _engine(self, node: str) -> Engine:
        own = any(item.name == node for item in self._instance.nodes)
        url = f"unix://{self._instance.node_socket(node, 'engine')}" if own else self._instance.engine_url
        if url not in self._engines:
            self._engines[url] = open_engine(url)
        return self._engines[url]


async def _nothing_else(request: web.Request) -> web.StreamResponse:
    raise NotFound("only logs are served where another orchestrator runs the containers")
