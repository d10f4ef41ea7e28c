"""What HTTP faults do to a simulated exchange: the rule of a fault object (Chaos Mesh's own fields) applied to values.

Decides whether a rule means a request and what becomes of it or of its answer. Left out: headers other than the status
of the answer, and query parameters; TLS; more than one abort or body of several faults at once (the last one wins).
"""

from __future__ import annotations

import base64
import fnmatch
import json
from dataclasses import dataclass, replace
from typing import Any

from faults.durations import seconds
from faults.effects import Requests

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Asked:
    """A request on its way in."""

    request: Request
    aborted: bool = False
    late_s: float = 0.0


@dataclass(frozen=True)
class Answered:
    """An answer on its way out."""

    status: int
    body: str
    aborted: bool = False
    late_s: float = 0.0


def read_request(head: str) -> Request:
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Request(parts[0], parts[1] if len(parts) > 1 else "/", headers)


def on_request(rules: tuple[Requests, ...], request: Request) -> Asked:
    asked = Asked(request)
    for rule in meant(rules, "Request", request, None):
        changed = {**(rule.get("replace") or {})}
        asked = replace(
            asked, aborted=asked.aborted or bool(rule.get("abort")), late_s=asked.late_s + _delay_s(rule),
            request=replace(asked.request, path=changed.get("path", asked.request.path),
                            method=changed.get("method", asked.request.method)))
    return asked


def on_answer(rules: tuple[Requests, ...], request: Request, status: int, body: str) -> Answered:
    answered = Answered(status, body)
    for rule in meant(rules, "Response", request, status):
        changed = rule.get("replace") or {}
        text = answered.body
        if "body" in changed:
            text = base64.b64decode(changed["body"]).decode(errors="replace")
        aborted = answered.aborted or bool(rule.get("abort"))
        if patch := (rule.get("patch") or {}).get("body"):
            try:
                text = _patched(text, patch)
            except ValueError:
                aborted = True  # what is no JSON cannot be patched (chaos-tproxy: handler/http/action.rs)
        answered = Answered(int(changed.get("code", answered.status)), text, aborted,
                            answered.late_s + _delay_s(rule))
    return answered


def meant(rules: tuple[Requests, ...], target: str, request: Request, status: int | None) -> list[Json]:
    """Those that mean a request, or the response to it that has this status."""
    return [rule for rule in (dict(item.rule) for item in rules)
            if rule.get("target") == target and _means(rule, request, status)]


def _means(rule: Json, request: Request, status: int | None) -> bool:
    path = request.path.partition("?")[0]
    headers = {name.lower(): value for name, value in (rule.get("request_headers") or {}).items()}
    return (
        fnmatch.fnmatchcase(path, str(rule.get("path") or "*").replace("[", "[[]"))
        and rule.get("method", request.method) == request.method
        and (status is None or int(rule.get("code") or status) == status)
        and all((name, value) in request.headers for name, value in headers.items())
    )


def _delay_s(rule: Json) -> float:
    return seconds(str(rule["delay"])) if rule.get("delay") else 0.0


def _patched(text: str, patch: Json) -> str:
    """A JSON merge patch (RFC 7396) of a body. Raises: ValueError when it is no JSON."""
    return json.dumps(_merged(json.loads(text), json.loads(str(patch.get("value") or "{}"))))


def _merged(value: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    merged = dict(value) if isinstance(value, dict) else {}
    for name, inner in change.items():
        if inner is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), inner)
    return merged
