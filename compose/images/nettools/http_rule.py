"""What an HTTPChaos rule means and what it makes of a message. Pure; values in, values out.

A rule is the fault object's own fields, with bodies decoded (``body`` bytes) and ``delay_s``. Meaning as in
chaos-mesh/chaos-tproxy, handler/http/selector.rs and action.rs: all given fields must fit; ``code`` and
``response_headers`` choose responses only; replace comes before patch.
"""

import base64
import json
from http import HTTPStatus
from urllib.parse import parse_qsl, quote_plus

BODILESS = 204, 304


class NotJson(ValueError):
    """A body that a JSON patch cannot be applied to."""


def compiled(spec):
    """A rule from a fault object's fields."""
    replace, patch = spec.get("replace") or {}, spec.get("patch") or {}
    body = patch.get("body")
    return {
        **{name: spec.get(name) for name in ("target", "path", "method", "code", "abort")},
        "request_headers": spec.get("request_headers") or {}, "response_headers": spec.get("response_headers") or {},
        "delay_s": float(spec.get("delay_s") or 0),
        "replace": {**replace, **({"body": base64.b64decode(replace["body"])} if "body" in replace else {})},
        "patch": {**patch, **({"body": json.loads(body["value"])} if body else {})},
        "patches_body": bool(body),
    }


NOTHING = compiled({"target": "Response"})  # a rule that changes nothing


def means_request(rule, method, target, headers):
    """``headers``: (name, value) pairs of bytes, as in all of this."""
    return rule["target"] == "Request" and _means(rule, method, target, headers)


def means_response(rule, method, target, request_headers, code, headers):
    return (rule["target"] == "Response" and _means(rule, method, target, request_headers)
            and rule["code"] in (None, code) and _has(headers, rule["response_headers"]))


def changes(rule):
    """Whether it makes another message of one that it means."""
    return bool(rule["replace"] or rule["patch"])


def changes_body(rule):
    return "body" in rule["replace"] or rule["patches_body"]


def new_method(rule, method):
    return (rule["replace"].get("method") or "").encode() or method


def new_code(rule, code):
    return rule["replace"].get("code") or code


def reason(code):
    try:
        return HTTPStatus(code).phrase.encode()
    except ValueError:
        return b""


def new_target(rule, target):
    """Path and query parameters of a request's target, with the rule's own."""
    replace, patch = rule["replace"], rule["patch"]
    before, path, query = _split(target)
    if "path" in replace:
        path = quoted(replace["path"] or "/")
    if replace.get("queries"):
        given = dict(replace["queries"])
        pairs = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))
        query = _queries({**pairs, **given}.items())
    if patch.get("queries"):
        query = b"&".join(part for part in (query, _queries(patch["queries"])) if part)
    return before + path + (b"?" + query if query else b"")


def new_headers(rule, headers, size=None):
    """The headers of a changed message. ``size``: of its new body; None: the body stays; -1: there is none."""
    found = [(name, value) for name, value in headers
             if size is None or name.lower() not in (b"content-length", b"transfer-encoding", b"expect", b"trailer")]
    if size is not None and size >= 0:
        found.append((b"Content-Length", b"%d" % size))
    for name, value in (rule["replace"].get("headers") or {}).items():
        wanted = name.encode().lower()
        found = [pair for pair in found if pair[0].lower() != wanted] + [(name.encode(), value.encode())]
    found += [(name.encode(), value.encode()) for name, value in rule["patch"].get("headers") or ()]
    return found


def new_body(rule, body):
    """Raises: NotJson."""
    body = rule["replace"].get("body", body)
    if not rule["patches_body"]:
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotJson("the body is not JSON") from error
    return json.dumps(merged(value, rule["patch"]["body"]), separators=(",", ":"), ensure_ascii=False).encode()


def merged(value, change):
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    found = dict(value) if isinstance(value, dict) else {}
    for name, inner in change.items():
        if inner is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), inner)
    return found


def fits(pattern, text):
    """``*``: anything, also nothing; ``?``: any one character. Takes no longer than pattern times text."""
    at = star = mark = 0
    started, index = False, 0
    while index < len(text):
        if at < len(pattern) and pattern[at] == "*":
            started, star, mark = True, at, index
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[index]):
            at, index = at + 1, index + 1
        elif started:
            mark += 1
            at, index = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def quoted(path):
    """A path as it goes over the wire: what may not stand there is percent-encoded."""
    return b"".join(bytes((byte,)) if 0x21 <= byte < 0x7F else b"%%%02X" % byte for byte in path.encode())


def _means(rule, method, target, headers):
    return (rule["method"] in (None, "", method.decode("latin-1"))
            and (rule["path"] is None or fits(rule["path"], _split(target)[1].decode("latin-1")))
            and _has(headers, rule["request_headers"]))


def _has(headers, wanted):
    there = {(name.lower(), value) for name, value in headers}
    return all((name.lower().encode(), value.encode()) in there for name, value in wanted.items())


def _split(target):
    """(scheme and host of an absolute form, path, query)."""
    before = b""
    if not target.startswith(b"/") and b"://" in target:
        scheme, _, rest = target.partition(b"://")
        host, slash, path = rest.partition(b"/")
        before, target = scheme + b"://" + host, slash + path or b"/"
    path, _, query = target.partition(b"?")
    return before, path, query


def _queries(pairs):
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()
