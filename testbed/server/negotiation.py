"""What a request says about its body and the answer it wants.

Sources: kubernetes apiserver pkg/endpoints/handlers/negotiation, apimachinery strict decoding of duplicate keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testbed.errors import ApiError, BadRequest, UnsupportedMediaType

Json = dict[str, Any]

MAX_DEPTH = 200
PROTOBUF = "application/vnd.kubernetes.protobuf"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


@dataclass(frozen=True)
class Wanted:
    """``form``: ``json``, ``table`` or ``metadata`` (PartialObjectMetadata). ``content_type``: of the answer."""

    form: str
    content_type: str = "application/json"


def wanted_form(accept: str) -> Wanted:
    """The first form in the Accept header that this server has.

    Raises: NotAcceptable.
    """
    if not accept.strip():
        return Wanted("json")
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        if media not in ("application/json", "application/*", "*/*"):
            continue
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        shape = values.get("as")
        if shape is None:
            return Wanted("json")
        if values.get("g") == "meta.k8s.io" and values.get("v") == "v1":
            kind = {"Table": "table", "PartialObjectMetadata": "metadata",
                    "PartialObjectMetadataList": "metadata"}.get(shape)
            if kind is not None:
                return Wanted(kind, f"application/json;as={shape};v=v1;g=meta.k8s.io")
    raise NotAcceptable("only the following media types are accepted: application/json")


def check_content_type(content_type: str, accepted: tuple[str, ...]) -> str:
    """The media type without parameters.

    Raises: UnsupportedMediaType, with the way out for protobuf.
    """
    media = content_type.partition(";")[0].strip().lower()
    if not media and len(accepted) == 1:  # as upstream: `kubectl scale --current-replicas` sends none
        return accepted[0]
    if media in accepted:
        return media
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    if media == PROTOBUF:
        raise UnsupportedMediaType(
            f"{message}. This cluster does not read protobuf bodies, which `kubectl create <kind>` and `kubectl "
            "autoscale` "
            "send: add --dry-run=client -o yaml and pipe it into `kubectl apply -f -`")
    if media == "application/apply-patch+yaml":
        raise UnsupportedMediaType(f"{message}. Server-side apply is not served: use `kubectl apply` without "
                                   "--server-side")
    raise UnsupportedMediaType(message)


class _Twice(dict[str, Any]):
    """A map that its text gave a key of twice."""

    repeated: tuple[str, ...] = ()


def parse_body(content: bytes) -> tuple[Any, tuple[str, ...]]:
    """The JSON value and the paths of keys that are there twice.

    Raises: BadRequest when it is not JSON, or nested too deeply.
    """
    seen = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal seen
        value = dict(items)
        if len(value) == len(items):
            return value
        seen = True
        twice = _Twice(value)
        keys = [key for key, _ in items]
        twice.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))
        return twice

    try:
        value = json.loads(content, object_pairs_hook=pairs, parse_constant=_no_constant)
    except RecursionError:
        raise BadRequest(f"the body is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise BadRequest(f"the object provided is unrecognized (must be JSON): {error}") from None
    _check_depth(value)
    return value, tuple(_repeated(value, "")) if seen else ()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadRequest(f"the body is nested more than {MAX_DEPTH} levels deep")
        level = [child for item in level if isinstance(item, dict | list)
                 for child in (item.values() if isinstance(item, dict) else item) if isinstance(child, dict | list)]


def _repeated(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        if isinstance(value, _Twice):
            found += [f"{path}.{key}" if path else key for key in value.repeated]
        for key, item in value.items():
            found += _repeated(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _repeated(item, f"{path}[{index}]")
    return found
