"""The client protocol over HTTP, for loops: aiohttp, one deadline per call, no retries.

Retrying is the caller's affair, because only it knows whether a repeat is harmless. Whatever keeps an answer away
(refused, reset, silent, 503) is ``ApiUnavailable``: what the API knows is then unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from testbed.api.instance import Instance
from testbed.api.resources import PODS, ResourceType
from testbed.client.protocol import Json, ObjectList, PatchType, WatchEvent
from testbed.errors import ApiError, ApiUnavailable, Gone, api_error

CALL_DEADLINE_S = 10.0
CONNECT_DEADLINE_S = 3.0
WATCH_SILENCE_S = 90.0  # the server sends a bookmark each minute at the latest
MAX_EVENT_BYTES = 16 * 1024 * 1024


class HttpClient:
    """``url`` such as ``https://127.0.0.1:6443``. ``ca_file``: certificate that signed the server's."""

    def __init__(
        self, url: str, token: str, ca_file: Path | None = None, *, deadline_s: float = CALL_DEADLINE_S,
        watch_silence_s: float = WATCH_SILENCE_S,
    ) -> None:
        self._url = url.rstrip("/")
        self._token, self._ca_file = token, ca_file
        self._server_name: str | None = None  # in the server's certificate, where it is not the address
        self._deadline_s = deadline_s
        self._watch_silence_s = watch_silence_s
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of_instance(cls, instance: Instance, *, port: int | None = None) -> HttpClient:
        """The API of a cluster on this machine; ``port`` where it is not the API's own (a node's cable).

        Raises: ApiUnavailable when the cluster has no credentials yet.
        """
        try:
            token = instance.token_file.read_text().strip()
        except OSError as error:
            raise ApiUnavailable(f"cluster {instance.name!r} has no credentials: {error}",
                                 hint=f"bring it up: testbed up --name {instance.name}") from error
        return cls(f"https://127.0.0.1:{port or instance.api_port}", token, instance.ca_certificate)

    # --- the protocol

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        return await self._call("GET", resource.path(namespace, name))

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        answer = await self._call("GET", resource.path(namespace), _query(label_selector, field_selector))
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return ObjectList(tuple(kind | item for item in answer.get("items") or ()),
                          answer["metadata"]["resourceVersion"])

    async def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        query = _query(label_selector, field_selector) | {
            "watch": "true", "resourceVersion": resource_version, "allowWatchBookmarks": "true"}
        async with contextlib.aclosing(self._lines(resource.path(namespace), query, self._watch_silence_s)) as lines:
            async for line in lines:
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise _unavailable(self._url, error) from error
                if event["type"] == "ERROR":
                    raise api_error(event["object"])
                yield WatchEvent(event["type"], event["object"])

    async def _lines(
        self, path: str, query: Mapping[str, str], silence_s: float | None
    ) -> AsyncGenerator[bytes, None]:
        """An answer as it comes, line by line, until the server ends it.

        Args:
            silence_s: so long without a byte, and it counts as broken off; None: for ever.

        Raises: ApiError.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE_S, sock_read=silence_s)
        try:
            async with (await self._open()).get(
                    self._url + path, params=query, timeout=timeout, headers=await self._authorization(),
                    server_hostname=self._server_name) as answer:
                if answer.status >= 400:
                    raise _error(answer.status, await answer.read())
                while line := await answer.content.readline():
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unavailable(self._url, error) from error

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        namespace = namespace or (obj.get("metadata") or {}).get("namespace")
        return await self._call("POST", resource.path(namespace), body=obj)

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._call("PUT", path, body=obj)

    async def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Json:
        return await self._call("PATCH", resource.path(namespace, name, subresource), body=patch,
                                content_type=patch_type.value)

    async def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, *, grace_period_s: int | None = None,
        propagation: str = "Background", uid: str = "",
    ) -> None:
        body: Json = {"propagationPolicy": propagation}
        if grace_period_s is not None:
            body["gracePeriodSeconds"] = grace_period_s
        if uid:
            body["preconditions"] = {"uid": uid}
        await self._call("DELETE", resource.path(namespace, name), body=body)

    async def delete_collection(
        self, resource: ResourceType, namespace: str, *, label_selector: str = "", grace_period_s: int | None = None,
    ) -> None:
        body: Json = {} if grace_period_s is None else {"gracePeriodSeconds": grace_period_s}
        query = {"labelSelector": label_selector} if label_selector else {}
        await self._call("DELETE", resource.path(namespace), query=query, body=body)

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json:
        return await self._call("POST", resource.path(namespace, name, subresource), body=body)

    async def logs(
        self, name: str, namespace: str, *, tail_lines: int | None = None, container: str = "", previous: bool = False
    ) -> str:
        """The last lines of a container, by default of a pod's only one; ``previous``: of the attempt before.

        Raises: ApiError.
        """
        query = {} if tail_lines is None else {"tailLines": str(tail_lines)}
        if previous:
            query["previous"] = "true"
        if container:
            query["container"] = container
        return (await self._send("GET", PODS.path(namespace, name, "log"), query)).decode("utf-8", "replace")

    def log_lines(self, name: str, namespace: str, options: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """A container's log, line by line, with the options of the API (``follow``, ``container``, ``sinceTime``, ...).

        Raises: ApiError, also when it breaks off.
        """
        return self._lines(PODS.path(namespace, name, "log"), options, None)

    async def look(self, path: str) -> Json:
        """What is no object: ``/version``, the kinds of a group. Raises: NotFound, ApiUnavailable."""
        return await self._call("GET", path)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- one call

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is not None:
            return self._session
        tls = await self._tls()
        if self._session is None:  # nor has another call made one while this one waited for credentials
            # No limit: each watch holds a connection of its own.
            connector = aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": "testbed"},
                                                  read_bufsize=MAX_EVENT_BYTES, trust_env=False)
        return self._session

    async def _tls(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self._ca_file))
        except OSError as error:
            raise ApiUnavailable(f"{self._ca_file} cannot be read: {error}", hint="is the cluster up?") from error

    async def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, *, body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        content = await self._send(method, path, query, body=body, content_type=content_type)
        try:
            value: Json = json.loads(content)
        except ValueError as error:
            raise _unavailable(self._url, error) from error
        return value

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None = None, *, body: Any = None,
        content_type: str = "application/json",
    ) -> bytes:
        status, content, _ = await self._exchange(method, path, query, body, content_type)
        if status >= 400:
            raise _error(status, content)
        return content

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any, content_type: str,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """(status, content, headers) of one request. Raises: ApiUnavailable when there is no answer."""
        timeout = aiohttp.ClientTimeout(total=self._deadline_s, sock_connect=CONNECT_DEADLINE_S)
        data = None if body is None else json.dumps(body).encode()
        headers = await self._authorization() | ({"Content-Type": content_type} if data is not None else {})
        session = await self._open()
        try:
            async with session.request(method, self._url + path, params=query, data=data, headers=headers,
                                       timeout=timeout, server_hostname=self._server_name) as answer:
                return answer.status, await answer.read(), answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable(self._url, error) from error


def _query(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in query.items() if value}


def _unavailable(url: str, error: Exception) -> ApiUnavailable:
    reason = "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
    return ApiUnavailable(f"the API at {url} does not answer: {reason}")


def _error(status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return api_error(body)
    text = content.decode(errors="replace").strip()[:200] or f"HTTP {status}"
    if status == 410:
        return Gone(text)
    return ApiUnavailable(text) if status in (502, 503, 504) else ApiError(text, code=status)
