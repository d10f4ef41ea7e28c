"""Objects and errors as HTTP answers: JSON, Tables, partial metadata, Status, Warning headers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from testbed.errors import ApiError
from testbed.server.negotiation import Wanted
from testbed.server.options import Listing
from testbed.server.served import Served
from testbed.server.tables import table
from testbed.store import Stored

Json = dict[str, Any]

MAX_WARNINGS = 50


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def json_answer(value: Any, status: int = 200, *, content_type: str = "application/json",
                warnings: Iterable[str] = ()) -> web.Response:
    return text_answer(compact(value), status, content_type=content_type, warnings=warnings)


def text_answer(text: str, status: int = 200, *, content_type: str = "application/json",
                warnings: Iterable[str] = ()) -> web.Response:
    headers: CIMultiDict[str] = CIMultiDict({
        "Content-Type": content_type, "Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"})
    for warning in list(warnings)[:MAX_WARNINGS]:
        headers.add("Warning", f'299 - "{_quoted(warning)}"')
    return web.Response(body=text.encode(), status=status, headers=headers)


def _quoted(text: str) -> str:
    """A header's quoted text: no line breaks, no control characters, ASCII."""
    plain = "".join(char if 32 <= ord(char) < 127 else " " for char in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')[:512]


def error_answer(error: ApiError) -> web.Response:
    answer = json_answer(_status(error), error.code)
    seconds = error.details.get("retryAfterSeconds")
    if seconds:  # without it a client does not come again by itself: an eviction that a budget forbids
        answer.headers["Retry-After"] = str(seconds)
    if error.code == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _status(error: ApiError) -> Json:
    status = error.status()
    if error.hint:
        status["message"] += f" ({error.hint})"
    return status


def success(served: Served, name: str, uid: str) -> Json:
    """The Status that says an object is gone."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": name, "group": served.resource.group, "kind": served.resource.plural, "uid": uid}}


def object_answer(
    served: Served, stored: Stored, wanted: Wanted, now: datetime, *, include: str = "Metadata", status: int = 200,
    warnings: Iterable[str] = (),
) -> web.Response:
    if wanted.form == "table":
        version = {"resourceVersion": stored.value["metadata"].get("resourceVersion", "")}
        value = table(served, [stored.value], now, version, include=include)
        return json_answer(value, status, content_type=wanted.content_type, warnings=warnings)
    if wanted.form == "metadata":
        return json_answer(partial(stored.value), status, content_type=wanted.content_type, warnings=warnings)
    return text_answer(stored.text, status, warnings=warnings)


def partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def list_answer(served: Served, listing: Listing, wanted: Wanted, now: datetime, *,
                include: str = "Metadata") -> web.Response:
    metadata: Json = {"resourceVersion": str(listing.revision)}
    if listing.next:
        metadata |= {"continue": listing.next, "remainingItemCount": listing.remaining}
    if wanted.form == "table":
        value = table(served, (item.value for item in listing.items), now, metadata, include=include)
        return json_answer(value, content_type=wanted.content_type)
    resource = served.resource
    if wanted.form == "metadata":
        return json_answer({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                            "items": [partial(item.value) for item in listing.items]}, content_type=wanted.content_type)
    head = compact({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata})
    return text_answer(f'{head[:-1]},"items":[{",".join(item.text for item in listing.items)}]}}')
