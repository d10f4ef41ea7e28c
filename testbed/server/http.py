"""The HTTP face of the registry: limits, authentication, routes, answers. No meaning of its own.

One catch-all handler takes paths apart, because kinds come and go with CustomResourceDefinitions. Every error leaves
as a ``Status``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from testbed.api.resources import NODES
from testbed.errors import (
    ApiError,
    ApiUnavailable,
    BadRequest,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TestbedError,
    TooManyRequests,
)
from testbed.server import discovery, openapi, usage
from testbed.server.agents import Agents
from testbed.server.answers import error_answer, json_answer, list_answer, object_answer, text_answer
from testbed.server.authentication import Gatekeeper
from testbed.server.bodies import read_body
from testbed.server.negotiation import parse_body, wanted_form
from testbed.server.own_paths import LIVE, OwnPaths
from testbed.server.paths import Target, parse_path
from testbed.server.registry import Registry
from testbed.server.request_counts import CLIENT_GONE, RequestCounts, resource_of, verb_of
from testbed.server.streaming import WatchAnswer
from testbed.server.writing import Writer

Json = dict[str, Any]

MAX_BODY_BYTES = 3 * 1024 * 1024
MAX_IN_FLIGHT = 400
MAX_WATCHES = 1000
MAX_STREAMS = 200  # followed logs, exec
WATCH_TIMEOUT_S = 1800

_log = logging.getLogger(__name__)


class Face:
    """``metrics``: makes the body of ``/metrics``; ``agents``: None where there are no nodes (tests of the API
    alone); ``own``: the live page and what else Kubernetes' API has not; ``requests``: where what is asked is
    counted."""

    def __init__(
        self, registry: Registry, gatekeeper: Gatekeeper, *, agents: Agents | None = None, address: str = "127.0.0.1",
        metrics: Callable[[], tuple[bytes, str]] | None = None, own: OwnPaths | None = None,
        requests: RequestCounts | None = None,
    ) -> None:
        self._registry, self._gatekeeper, self._agents, self._address = registry, gatekeeper, agents, address
        self._metrics, self._own = metrics, own
        self._writer = Writer(registry)
        self._usages = usage.Usages(registry, agents)
        self._requests = requests or RequestCounts()

    # --- one request

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            answer = await self._answer(request)
        except asyncio.CancelledError:  # its client has gone: so a watch ends
            self._note(request, CLIENT_GONE if _kind_of(request)[0] == "request" else 200, None)
            raise
        self._note(request, answer.status, loop.time() - began_s if isinstance(answer, web.Response) else None)
        return answer

    def _note(self, request: web.BaseRequest, code: int, took_s: float | None) -> None:
        target = parse_path(request.path.rstrip("/") or "/")
        verb = verb_of(request.method, target, watching=_flag(request.query.get("watch")))
        self._requests.note(verb, resource_of(self._registry.catalog, target), code, took_s)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._gatekeeper.check(request.method, request.path, request.headers)
            return await self._limited(request)
        except ApiError as error:
            return OwnPaths.refusal(request, error)
        except TestbedError as error:  # the disk is full, the database cannot be written
            _log.error("%s %s: %s", request.method, request.path, error)
            return error_answer(ApiError(f"Internal error occurred: {error.message}", hint=error.hint))
        except Exception:
            _log.exception("a bug of ours: %s %s", request.method, request.path)
            return error_answer(ApiError("Internal error occurred: a bug of ours; see the log of the API"))

    async def _limited(self, request: web.BaseRequest) -> web.StreamResponse:
        kind, limit = _kind_of(request)
        serving = self._requests.open
        if serving[kind] >= limit:
            raise TooManyRequests(f"too many requests at once: {limit} of this sort are served", details={
                "retryAfterSeconds": 1})
        serving[kind] += 1
        try:
            return await self._route(request)
        finally:
            serving[kind] -= 1

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._own is not None and (answer := await self._own.answer(request)) is not None:
            return answer
        path = request.path.rstrip("/") or "/"
        target = parse_path(path)
        if target is not None and path.startswith(("/api/", "/apis/")):
            if (target.group, target.plural) == ("authorization.k8s.io", "selfsubjectaccessreviews"):
                return await self._access_review(request)
            if target.group == usage.GROUP:
                return json_answer(await self._usages.answer(
                    request.method, target, request.query.get("labelSelector", ""),
                    request.query.get("fieldSelector", "")))
            return await self._resource(request, target)
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return self._document(request, path)

    def _document(self, request: web.BaseRequest, path: str) -> web.Response:
        catalog, accept = self._registry.catalog, request.headers.get("Accept", "")
        if path in ("/healthz", "/livez", "/readyz"):
            return text_answer("ok", content_type="text/plain; charset=utf-8")
        if path == "/version":
            return json_answer(discovery.VERSION)
        if path == "/metrics" and self._metrics is not None:
            body, content_type = self._metrics()
            return web.Response(body=body, headers={"Content-Type": content_type})
        if path in ("/api", "/apis") and discovery.wants_aggregated(accept):
            return json_answer(discovery.aggregated(catalog, core=path == "/api"), content_type=discovery.AGGREGATED)
        parts = path.strip("/").split("/")
        value: Json | None = None
        match parts:
            case [""]:
                value = {"paths": ["/api", "/api/v1", "/apis", "/healthz", "/metrics", "/openapi/v3", "/version"]}
            case ["api"]:
                value = discovery.api_versions(self._address)
            case ["apis"]:
                value = discovery.group_list(catalog)
            case ["api", version]:
                value = discovery.resource_list(catalog, "", version)
            case ["apis", group]:
                value = discovery.find_group(catalog, group)
            case ["apis", group, version]:
                value = discovery.resource_list(catalog, group, version)
            case ["openapi", "v3"]:
                value = openapi.index(catalog)
            case ["openapi", "v3", "api", version]:
                value = openapi.document(catalog, "", version)
            case ["openapi", "v3", "apis", group, version]:
                value = openapi.document(catalog, group, version)
        if value is None:
            raise NotFound("the server could not find the requested resource")
        return json_answer(value)

    async def _access_review(self, request: web.BaseRequest) -> web.Response:
        """Whoever holds the token may do everything."""
        body, _ = await self._body(request)
        return json_answer({**body, "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                            "status": {"allowed": True, "reason": "the bearer of this cluster's token may do "
                                                                  "everything"}}, 201)

    # --- resources

    async def _resource(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        served = self._registry.catalog.find(target.group, target.version, target.plural)
        if target.namespace and not served.resource.namespaced:
            raise NotFound("the server could not find the requested resource")
        method = request.method
        if method in ("GET", "HEAD"):
            if target.subresource.startswith("proxy/") and "proxy" in served.subresources:
                return await self._to_node(request, target)
            if target.subresource in ("log", "exec", "attach"):
                return await self._to_agent(request, target)
            return await self._read(request, target)
        if method == "POST" and target.subresource in ("exec", "attach"):
            return await self._to_agent(request, target)
        wanted = wanted_form(request.headers.get("Accept", ""))
        body, duplicates = await self._body(request)
        return self._writer.write(request, target, served, body, duplicates, wanted)

    async def _read(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        query, registry = request.query, self._registry
        served = registry.catalog.find(target.group, target.version, target.plural)
        wanted = wanted_form(request.headers.get("Accept", ""))
        include = query.get("includeObject", "Metadata")
        watching = _flag(query.get("watch"))
        if target.subresource:
            if watching or target.subresource not in ("status", "scale"):
                raise NotFound("the server could not find the requested resource")
            if target.subresource == "scale":
                return json_answer(registry.scale(served.resource, target.name, target.namespace))
        if target.name and not watching:
            stored = registry.get(served.resource, target.name, target.namespace)
            return object_answer(served, stored, wanted, registry.clock.now(), include=include)
        fields = query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}" + (f",{fields}" if fields else "")
        labels = query.get("labelSelector", "")
        if not watching:
            listing = registry.list(
                served.resource, target.namespace or None, label_selector=labels, field_selector=fields,
                limit=_number(query.get("limit"), "limit"), token=query.get("continue", ""))
            return list_answer(served, listing, wanted, registry.clock.now(), include=include)
        if _flag(query.get("sendInitialEvents")):
            raise Invalid("sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        stream = registry.watch(served.resource, target.namespace or None, label_selector=labels, field_selector=fields,
                                resource_version=query.get("resourceVersion", ""))
        answer = WatchAnswer(
            registry, served, stream, wanted, include=include, bookmarks=_flag(query.get("allowWatchBookmarks")),
            timeout_s=_number(query.get("timeoutSeconds"), "timeoutSeconds") or registry.jittered(WATCH_TIMEOUT_S))
        return await answer.send(request)

    async def _to_agent(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        served = self._registry.catalog.find(target.group, target.version, target.plural)
        if target.subresource not in served.subresources:
            raise NotFound("the server could not find the requested resource")
        pod = self._registry.get(served.resource, target.name, target.namespace).value
        if self._agents is None:
            raise ApiUnavailable("this API has no nodes")
        if target.subresource == "log":
            return await self._agents.logs(request, pod)
        return await self._agents.stream(request, pod, target.subresource)

    async def _to_node(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        node = self._registry.get(NODES, target.name)
        if self._agents is None:
            raise ApiUnavailable("this API has no nodes")
        return await self._agents.proxy(request, node.name, target.subresource.removeprefix("proxy/"))

    # --- bodies

    async def _body(self, request: web.BaseRequest) -> tuple[Any, tuple[str, ...]]:
        """The parsed body ({} when there is none) and its duplicate keys.

        Raises: BadRequest, PayloadTooLarge, UnsupportedMediaType.
        """
        content = await read_body(request, MAX_BODY_BYTES)
        if not content:
            if request.method == "DELETE":
                return {}, ()
            raise BadRequest("the body is empty")
        self._writer.check_media(request.method, request.headers.get("Content-Type", ""))
        return parse_body(content)


def _kind_of(request: web.BaseRequest) -> tuple[str, int]:
    query = request.query
    if _flag(query.get("watch")):
        return "watch", MAX_WATCHES
    if _flag(query.get("follow")) or request.headers.get("Upgrade") or request.path == LIVE:
        return "stream", MAX_STREAMS
    return "request", MAX_IN_FLIGHT


def _flag(text: str | None) -> bool:
    return text is not None and text.lower() in ("true", "1", "t", "")


def _number(text: str | None, name: str) -> int:
    if not text:
        return 0
    if not text.isdigit() or len(text) > 9:
        raise BadRequest(f"{name}={text!r} is not a number")
    return int(text)


