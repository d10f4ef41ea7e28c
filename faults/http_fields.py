"""What an HTTPChaos object may say: its fields, and what is wrong with their values. Pure.

Source: chaos-mesh api/v1alpha1/httpchaos_types.go, podhttpchaos_types.go, httpchaos_webhook.go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from faults.durations import PATTERN, seconds
from faults.protocol import Json
from testbed.errors import Mistake

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT")
MAX_DELAY_S = 3600.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_PATH = re.compile(r"[\x00-\x20\x7f]")
_TEXT: Json = {"type": "string", "maxLength": 4096}
_MAP: Json = {"type": "object", "additionalProperties": _TEXT}
_PAIRS: Json = {"type": "array", "items": {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}}
_BODY: Json = {"type": "string", "maxLength": 1 << 20}
_CODE: Json = {"type": "integer", "format": "int32", "minimum": 200, "maximum": 599}


def _said(schema: Json, text: str) -> Json:
    return {**schema, "description": text}


FIELDS: Mapping[str, Json] = {
    "target": {"type": "string", "enum": ["Request", "Response"],
               "description": "Whether the request is hit on its way to the server, or its response."},
    "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535,
             "description": "TCP port, of the pod itself and of whom the pod asks."},
    "path": _said(_TEXT, "Only requests with this path: * is anything, ? any one character."),
    "method": _said(_TEXT, "Only requests with this method."),
    "code": {"type": "integer", "format": "int32", "description": "Only responses with this status."},
    "request_headers": _said(_MAP, "Only requests with these headers."),
    "response_headers": _said(_MAP, "Only responses with these headers."),
    "abort": {"type": "boolean", "description": "The connection is closed."},
    "delay": {"type": "string", "pattern": PATTERN, "maxLength": 64, "description": "Waits before it goes on."},
    "replace": {
        "type": "object",
        "properties": {"path": _TEXT, "method": _TEXT, "code": _CODE,
                       "body": {**_BODY, "format": "byte"}, "queries": _MAP, "headers": _MAP},
        "description": "What takes the place of what was there. path, method and queries: of requests; code: of "
                       "responses; body in base64.",
    },
    "patch": {
        "type": "object",
        "properties": {
            "body": {"type": "object", "required": ["type", "value"],
                     "properties": {"type": {"type": "string", "enum": ["JSON"]}, "value": _BODY},
                     "description": "A JSON merge patch (RFC 7396) of the body."},
            "queries": _PAIRS, "headers": _PAIRS},
        "description": "What is added to what is there.",
    },
    "tls": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
            "description": "Left out: see the refusal."},
}
RULE = tuple(name for name in FIELDS if name != "tls")


def mistakes(spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
    """What is wrong with well-formed fields."""
    return tuple(_mistakes(spec))


def _mistakes(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    if "tls" in spec:
        yield Mistake("HTTPS is left out: a proxy in the middle would need the pod's private key and clients that "
                      "trust it; put the fault on a plain-text port behind the TLS", "spec.tls")
    if spec.get("containerNames"):
        yield Mistake("HTTPChaos hits a port of a whole pod: it has no containerNames", "spec.containerNames")
    if spec.get("method") not in (None, "", *METHODS):
        yield Mistake(f"must be one of {', '.join(METHODS)}", "spec.method")
    if _NOT_IN_PATH.search(str(spec.get("path") or "")):
        yield Mistake("a path has no blanks and no control characters", "spec.path")
    if spec.get("delay") and seconds(str(spec["delay"])) > MAX_DELAY_S:
        yield Mistake("must be at most 1h", "spec.delay")
    replace, patch = spec.get("replace") or {}, spec.get("patch") or {}
    yield from _in_replace(replace)
    yield from _in_patch(patch)
    for field in ("request_headers", "response_headers"):
        yield from _in_headers((spec.get(field) or {}).items(), f"spec.{field}")
    if not acts(spec):
        of = "replace.code, body or headers, patch.body or headers" if spec.get("target") == "Response" else (
            "replace.path, method, body, queries or headers, patch.body, queries or headers")
        yield Mistake(f"it does nothing to a {str(spec.get('target')).lower()}: needs abort, delay, {of}", "spec")


def acts(spec: Mapping[str, Any]) -> bool:
    """Whether anything is done to what is meant."""
    if spec.get("abort") or (spec.get("delay") and seconds(str(spec["delay"]))):
        return True
    response = spec.get("target") == "Response"
    replaced = ("code", "body", "headers") if response else ("path", "method", "body", "queries", "headers")
    patched = ("body", "headers") if response else ("body", "queries", "headers")
    replace, patch = spec.get("replace") or {}, spec.get("patch") or {}
    return any(replace.get(name) not in (None, {}) for name in replaced) or any(
        patch.get(name) not in (None, []) for name in patched)


def _in_replace(replace: Mapping[str, Any]) -> Iterator[Mistake]:
    if replace.get("method") not in (None, "", *METHODS):
        yield Mistake(f"must be one of {', '.join(METHODS)}", "spec.replace.method")
    if _NOT_IN_PATH.search(str(replace.get("path") or "")) or not str(replace.get("path") or "/").startswith("/"):
        yield Mistake("a path begins with / and has no blanks and no control characters", "spec.replace.path")
    if "body" in replace:
        try:
            base64.b64decode(replace["body"], validate=True)
        except (binascii.Error, ValueError):
            yield Mistake("must be base64", "spec.replace.body")
    yield from _in_headers((replace.get("headers") or {}).items(), "spec.replace.headers")


def _in_patch(patch: Mapping[str, Any]) -> Iterator[Mistake]:
    if body := patch.get("body"):
        try:
            json.loads(body["value"])
        except (ValueError, RecursionError):
            yield Mistake("must be JSON", "spec.patch.body.value")
    yield from _in_headers(patch.get("headers") or (), "spec.patch.headers")


def _in_headers(pairs: Any, field: str) -> Iterator[Mistake]:
    for name, value in pairs:
        if not _TOKEN.fullmatch(name):
            yield Mistake(f"{name!r} is no name of a header", field)
        elif _NOT_IN_VALUE.search(value):
            yield Mistake(f"the value of {name} has control characters", field)
