"""POST, PUT, PATCH and DELETE: from a request to a call of the registry, and its answer."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from testbed.errors import BadRequest, MethodNotAllowed, NotFound
from testbed.server.answers import json_answer, list_answer, object_answer, success
from testbed.server.deletion import options_of
from testbed.server.negotiation import Wanted, check_content_type
from testbed.server.options import WriteOptions, check_field_validation
from testbed.server.paths import Target
from testbed.server.registry import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Registry
from testbed.server.served import Served
from testbed.store import Stored

Json = dict[str, Any]

_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


class Writer:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @staticmethod
    def check_media(method: str, content_type: str) -> None:
        """Raises: UnsupportedMediaType."""
        check_content_type(content_type, _PATCHES if method == "PATCH" else ("application/json",))

    def write(
        self, request: web.BaseRequest, target: Target, served: Served, body: Any, duplicates: tuple[str, ...],
        wanted: Wanted,
    ) -> web.Response:
        """Raises: ApiError of every sort."""
        method = request.method
        if method == "DELETE":
            return self._delete(request, target, served, body, wanted)
        options = WriteOptions(
            check_field_validation(request.query.get("fieldValidation") or "Warn"), _dry_run(request), [], duplicates)
        if method == "POST" and not target.name:
            self._need_namespace(target, served)
            stored = self._registry.create(served.resource, body, target.namespace or None, options)
            return self._object(served, stored, wanted, options, 201)
        if method == "POST" and target.subresource:
            if not isinstance(body, dict):
                raise BadRequest("the body is not an object")
            answer = self._registry.create_subresource(served.resource, target.name, target.subresource, body,
                                                       target.namespace, options)
            return json_answer(answer, 201)
        if method == "PUT" and target.name:
            stored = self._registry.update(served.resource, body, target.namespace, name=target.name,
                                           subresource=target.subresource, options=options)
        elif method == "PATCH" and target.name:
            media = check_content_type(request.headers.get("Content-Type", ""), _PATCHES)
            stored = self._registry.patch(served.resource, target.name, body, target.namespace, patch_type=media,
                                          subresource=target.subresource, options=options)
        else:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        if target.subresource == "scale":
            return json_answer(self._registry.scale(served.resource, target.name, target.namespace))
        return self._object(served, stored, wanted, options, 200)

    @staticmethod
    def _need_namespace(target: Target, served: Served) -> None:
        if served.resource.namespaced and not target.namespace:
            raise MethodNotAllowed("the server does not allow this method on the requested resource: name a namespace")

    def _object(self, served: Served, stored: Stored, wanted: Wanted, options: WriteOptions,
                status: int) -> web.Response:
        return object_answer(served, stored, wanted, self._registry.clock.now(), status=status,
                             warnings=options.warnings)

    def _delete(self, request: web.BaseRequest, target: Target, served: Served, body: Any,
                wanted: Wanted) -> web.Response:
        options = options_of(body, dict(request.query))
        if target.subresource:
            raise NotFound("the server could not find the requested resource")
        if not target.name:
            self._need_namespace(target, served)
            listing = self._registry.delete_collection(
                served.resource, target.namespace or None, label_selector=request.query.get("labelSelector", ""),
                field_selector=request.query.get("fieldSelector", ""), options=options)
            return list_answer(served, listing, wanted, self._registry.clock.now())
        stored, gone = self._registry.delete(served.resource, target.name, target.namespace, options)
        if gone and served.resource.plural != "pods":
            return json_answer(success(served, target.name, stored.value["metadata"]["uid"]))
        return object_answer(served, stored, wanted, self._registry.clock.now())


def _dry_run(request: web.BaseRequest) -> bool:
    value = request.query.get("dryRun", "")
    if value not in ("", "All"):
        raise BadRequest(f"dryRun: Unsupported value: {value!r}: supported values: 'All'")
    return value == "All"
