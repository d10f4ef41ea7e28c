"""An agent's own HTTP, with kubelet's paths: health, metrics, stats, logs, exec. TLS, and a token for all but health.

Source: kubernetes pkg/kubelet/server/server.go.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from aiohttp import web

from testbed.api import labels
from testbed.errors import BadRequest, NotFound
from testbed.node.agent import Agent
from testbed.node.http_exec import serve_exec
from testbed.node.http_guard import guard
from testbed.node.http_logs import serve_logs
from testbed.node.metrics import AgentExposition
from testbed.node.record import Record
from testbed.node.usage import collect_usage, summary

MAX_BODY = 64 * 1024


class KubeletServer:
    """``port``: on 127.0.0.1 only."""

    def __init__(self, agent: Agent, token: str, *, certificate: Path, key: Path, port: int) -> None:
        self._agent, self._token, self._port = agent, token.encode(), port
        self._certificate, self._key = certificate, key
        self._exposition = AgentExposition(agent)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises: OSError when the port is taken."""
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._certificate, self._key)
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=tls).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._exposition.close()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[guard(self._token, {"/healthz"})], client_max_size=MAX_BODY)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/stats/summary", self._summary)
        application.router.add_get("/pods", self._pods)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        return application

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        healthy = self._agent.healthy
        return web.Response(text="ok" if healthy else "a loop of the agent has ended", status=200 if healthy else 500)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        body, kind = self._exposition.text(await collect_usage(self._agent))
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(summary(self._agent, await collect_usage(self._agent)))

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        items = [worker.json for worker in self._agent.workers.values()]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        previous = request.query.get("previous", "").lower() in ("true", "1")
        record = self._find(request, previous=previous)
        return await serve_logs(request, self._agent.engine, record.id, self._agent.shared.clock)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        return await serve_exec(request, self._agent, self._find(request, previous=False))

    def _find(self, request: web.Request, *, previous: bool) -> Record:
        """The container that a path names. Raises: NotFound, BadRequest."""
        namespace, name, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        worker = next((
            item for item in self._agent.workers.values()
            if (item.pod.metadata.namespace, item.pod.metadata.name) == (namespace, name)
        ), None)
        uid = worker.uid if worker is not None else self._uid_of(namespace, name)
        if not uid:
            raise NotFound(f'pod "{name}" not found on this node')
        seen = self._agent.view.seen(uid)
        item = (seen.previous if previous else seen.containers).get(container)
        if item is None and previous:
            raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
        if item is None:
            waiting = worker.waiting.get(container) if worker is not None else None
            why = f": {waiting.reason}" if waiting is not None else ""
            raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start{why}')
        return self._agent.view.records[item.id]

    def _uid_of(self, namespace: str, name: str) -> str:
        """Of an ended pod, which has containers and no worker any more."""
        return next((
            record.uid for record in self._agent.view.records.values()
            if (record.state.labels.get(labels.POD_NAMESPACE), record.state.labels.get(labels.POD_NAME))
            == (namespace, name)
        ), "")
