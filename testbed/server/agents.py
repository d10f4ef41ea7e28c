"""Logs, exec and attach: passed on to the pod's agent, through its node's cable. A cut cable is a 503 that says so.

Frames of the WebSocket are passed through unread. Source of the paths: kubernetes pkg/kubelet/server/server.go.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp import web

from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance
from testbed.errors import ApiError, ApiUnavailable, BadRequest, NotFound, TestbedError, api_error

Json = dict[str, Any]

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
ANSWER_DEADLINE_S = 5.0  # until an agent begins to answer
KEEP_S = 30.0  # that a connection to an agent waits for the next question
FRESH_S = 2.0  # how long a node's summary is used
MAX_FRAME_BYTES = 4 * 1024 * 1024
_AGENT_DOCUMENTS = frozenset({"healthz", "metrics", "stats/summary"})
_LOG_OPTIONS = ("follow", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps", "limitBytes")


class Agents:
    """``instance``: where the nodes' cables end; read again when its file has changed."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._seen = (0, 0)
        self._session: aiohttp.ClientSession | None = None
        self._measured: dict[str, tuple[float, Json | None]] = {}  # by node: when it was asked, its summary
        self._measuring: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def logs(self, request: web.BaseRequest, pod: Json) -> web.StreamResponse:
        """Raises: BadRequest, ApiUnavailable, or what the agent answers."""
        path = f"/containerLogs/{_place(pod)}/{_container(pod, request.query.get('container', ''))}"
        query = [(key, request.query[key]) for key in _LOG_OPTIONS if key in request.query]
        node = _node(pod)
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                answer = await self._open().get(self._url(node) + path, params=query)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _silent(node, error) from error
        async with answer:
            if answer.status >= 400:
                raise _told(answer.status, await answer.text(errors="replace"))
            response = web.StreamResponse(headers={"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError):
                if request.transport is not None:  # without its last chunk, so the client sees that the log broke
                    request.transport.abort()
        return response

    async def proxy(self, request: web.BaseRequest, node: str, path: str) -> web.StreamResponse:
        """One of the agent's own documents.

        Raises: NotFound, ApiUnavailable, or what the agent answers.
        """
        if path not in _AGENT_DOCUMENTS:
            raise NotFound(f"an agent has no {path}", hint=", ".join(sorted(_AGENT_DOCUMENTS)))
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S), self._open().get(f"{self._url(node)}/{path}") as answer:
                body, status = await answer.read(), answer.status
                content_type = answer.headers.get("Content-Type", "text/plain")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _silent(node, error) from error
        return web.Response(body=body, status=status, headers={"Content-Type": content_type})

    async def summary(self, node: str) -> Json:
        """What a node and its pods use. Agents tell the mean since they were asked before: who asks within
        ``FRESH_S`` gets the same answer, so that nobody is told of the last millisecond.

        Raises: ApiUnavailable, or what the agent answers.
        """
        loop = asyncio.get_running_loop()
        async with self._measuring.setdefault(node, asyncio.Lock()):
            asked_s, known = self._measured.get(node, (0.0, None))
            if known is None or loop.time() - asked_s >= FRESH_S:
                known = await self._ask_summary(node)
                self._measured[node] = (loop.time(), known)
        return known

    async def _ask_summary(self, node: str) -> Json:
        try:
            url = f"{self._url(node)}/stats/summary"
            async with asyncio.timeout(ANSWER_DEADLINE_S), self._open().get(url) as answer:
                if answer.status >= 400:
                    raise _told(answer.status, await answer.text(errors="replace"))
                found: Json = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _silent(node, error) from error
        return found

    async def stream(self, request: web.BaseRequest, pod: Json, verb: str) -> web.StreamResponse:
        """``exec`` or ``attach`` over a WebSocket.

        Raises: BadRequest, ApiUnavailable, or what the agent answers; all before the upgrade.
        """
        path = f"/{verb}/{_place(pod)}/{_container(pod, request.query.get('container', ''))}"
        query = [(key, value) for key, value in request.query.items() if key != "container"]
        node = _node(pod)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest(f"{verb} is served over WebSocket only", hint="use kubectl 1.30 or newer")
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                agent = await self._open().ws_connect(self._url(node) + path, params=query, protocols=PROTOCOLS[:1],
                                                      max_msg_size=MAX_FRAME_BYTES)
        except aiohttp.WSServerHandshakeError as error:
            raise _told(error.status, error.message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _silent(node, error) from error
        client = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=MAX_FRAME_BYTES)
        try:
            await client.prepare(request)
            await _join(client, agent)
        finally:
            await agent.close()
        return client

    def _url(self, node: str) -> str:
        return f"https://127.0.0.1:{self._port(node)}"

    def _port(self, node: str) -> int:
        self._refresh()
        if self._instance.foreign:
            return self._instance.driver_port
        for item in self._instance.nodes:
            if item.name == node:
                return item.to_agent_port
        raise ApiUnavailable(f"node {node} is not one of this cluster's machines")

    def _refresh(self) -> None:
        """Nodes come and go while this process runs, also under the same name: a replaced node has other ports."""
        try:
            found = self._instance.file.stat()
        except OSError:
            return  # what is known stays: the directory may be gone while the cluster goes down
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            try:
                self._instance = load_instance(self._instance.directory)
            except TestbedError as error:
                raise ApiUnavailable(f"the nodes' machines are not known: {error.message}") from error
            self._seen = seen

    def _open(self) -> aiohttp.ClientSession:
        """Connections are kept: a scrape a second of every node would else be a handshake a second."""
        if self._session is None:
            tls = ssl.create_default_context(cafile=str(self._instance.ca_certificate))
            token = self._instance.agent_token_file.read_text().strip()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=KEEP_S), trust_env=False,
                headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


async def _join(client: web.WebSocketResponse, agent: aiohttp.ClientWebSocketResponse) -> None:
    """Passes frames both ways until either side ends."""
    to_agent = asyncio.create_task(_pump(client, agent))
    to_client = asyncio.create_task(_pump(agent, client))
    try:
        await asyncio.wait((to_agent, to_client), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (to_agent, to_client):
            task.cancel()
        await asyncio.gather(to_agent, to_client, return_exceptions=True)
        await client.close()


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)


def _place(pod: Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _node(pod: Json) -> str:
    node = (pod.get("spec") or {}).get("nodeName", "")
    if not node:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def _container(pod: Json, wished: str) -> str:
    spec = pod.get("spec") or {}
    names = [str(item.get("name")) for key in ("containers", "initContainers") for item in spec.get(key) or ()]
    if wished:
        if wished not in names:
            raise BadRequest(f"container {wished} is not valid for pod {pod['metadata']['name']}")
        return wished
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    regular: Sequence[str] = names[: len(spec.get("containers") or ())]
    if len(regular) != 1:
        raise BadRequest(f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: "
                         f"[{' '.join(regular)}]")
    return regular[0]


def _silent(node: str, error: BaseException) -> ApiUnavailable:
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return ApiUnavailable(f"the agent of node {node} cannot be reached: {reason}")


def _told(status: int, text: str) -> ApiError:
    import json

    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return api_error(value)
    message = text.strip()[:500] or f"the agent answered {status}"
    return api_error({"message": message, "code": status,
                      "reason": {400: "BadRequest", 404: "NotFound"}.get(status, "")})
