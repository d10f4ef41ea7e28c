"""Whether an HTTPChaos is in effect: which request shows it, and what its answers show. Pure.

The request must do no harm, so only methods that change nothing (RFC 9110, 9.2.1) are sent; a rule that means others is
shown to stand in the way, and the words say that it was not provoked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from faults.durations import seconds
from faults.protocol import Json, NotInEffect

_SAFE = ("GET", "HEAD", "OPTIONS")
_WAIT_S = 0.4  # longer delays are not waited for to their end
_PATIENCE_S = 2.0
_ENOUGH = 0.9  # of a delay
RULES = 2  # at least: for connections from outside and from the pod itself


def question(spec: Mapping[str, Any]) -> Json:
    """The request that is sent; see requests_proxy.ask."""
    method = spec.get("method") or "GET"
    path = str(spec.get("path") or "/").replace("*", "").replace("?", "a").replace("#", "%23")
    return {
        "method": method if method in _SAFE else "GET", "path": path if path.startswith("/") else f"/{path}",
        "headers": dict(spec.get("request_headers") or {}),
        "within_s": _WAIT_S if delay_s(spec) > _WAIT_S else _PATIENCE_S,
    }


def delay_s(spec: Mapping[str, Any]) -> float:
    return seconds(str(spec["delay"])) if spec.get("delay") else 0.0


def judge(spec: Mapping[str, Any], seen: Json) -> str:
    """What was seen, in words. Raises: NotInEffect."""
    port = spec["port"]
    if seen["rules"] < RULES or not seen["connections"]:
        raise NotInEffect(f"connections to port {port} do not come to the proxy: {seen['rules']} rules")
    if seen["direct"]["how"] == "refused":
        return f"connections to port {port} come to the proxy; in this pod nothing listens there"
    if seen["applied"]:
        return f"{_asked(spec)}: {_effect(spec, seen)}"
    if why := _not_provoked(spec, seen):
        return f"connections to port {port} come to the proxy; its rule was not provoked: {why}"
    raise NotInEffect(f"{_asked(spec)} came to the proxy, and the rule does not mean it: "
                      f"{_told(seen['met'])}, {_told(seen['direct'])} past the proxy")


def _asked(spec: Mapping[str, Any]) -> str:
    sent = question(spec)
    return f"{sent['method']} {sent['path']} to port {spec['port']}"


def _not_provoked(spec: Mapping[str, Any], seen: Json) -> str:
    """Why a rule that is in force may not have met the request; empty: it should have."""
    if spec.get("method") not in (None, "", *_SAFE):
        return f"a {spec['method']} may do harm"
    if spec["target"] == "Request":
        return ""
    if seen["direct"]["how"] != "answered":
        return f"the pod's own answer: {_told(seen['direct'])}"
    if spec.get("code") or spec.get("response_headers"):
        return f"the pod answers with {seen['direct']['code']}"
    return ""


def _effect(spec: Mapping[str, Any], seen: Json) -> str:
    """Of a rule that was applied. Raises: NotInEffect."""
    met, direct = seen["met"], seen["direct"]
    told = f"{_told(met)}, {_told(direct)} past the proxy"
    if spec.get("abort"):
        return told if met["how"] == "closed" else _missed("the connection is not closed", told)
    late_s = delay_s(spec)
    if late_s > _WAIT_S:
        return told if met["how"] == "silent" else _missed("it is not delayed", told)
    if met["ms"] < late_s * 1000 * _ENOUGH:
        _missed("it is not delayed", told)
    if spec["target"] == "Request":
        return f"the proxy changed it; {told}" if spec.get("replace") or spec.get("patch") else told
    if met["how"] != "answered" and not _breaks_body(spec, direct):
        _missed("there is no answer", told)
    for what in _missing(spec, met) if met["how"] == "answered" else ():
        _missed(f"{what} is not as the fault says", told)
    return told


def _missing(spec: Mapping[str, Any], met: Json) -> list[str]:
    """What of a changed response is not to be seen in it."""
    replace, patch = spec.get("replace") or {}, spec.get("patch") or {}
    there = {(name.lower(), value) for name, value in met["headers"]}
    headers = [*(replace.get("headers") or {}).items(), *(patch.get("headers") or ())]
    found = [f"header {name}" for name, value in headers if (name.lower(), value.strip()) not in there]
    if replace.get("code") not in (None, met["code"]):
        found.append("the status")
    bodiless = met["code"] in (204, 304) or question(spec)["method"] == "HEAD"
    if "body" in replace and not patch.get("body") and not bodiless and (
            met["body"].encode("latin-1") != base64.b64decode(replace["body"])[:len(met["body"])]):
        found.append("the body")
    return found


def _breaks_body(spec: Mapping[str, Any], direct: Json) -> bool:
    """Whether a body is to be patched that is no JSON: then the connection is closed, as upstream."""
    if not (spec.get("patch") or {}).get("body"):
        return False
    try:
        json.loads(direct.get("body") or "")
    except ValueError:
        return True
    return False


def _missed(what: str, told: str) -> str:
    raise NotInEffect(f"{what}: {told}")


def _told(answer: Json) -> str:
    if answer["how"] == "answered":
        return f"{answer['code']} after {answer['ms']:.1f} ms"
    words = {"closed": "closed without an answer", "silent": "silent", "refused": "refused"}
    return f"{words[answer['how']]} after {answer['ms']:.0f} ms"
