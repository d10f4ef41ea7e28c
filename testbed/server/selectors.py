"""Label and field selectors as they are written in a URL.

Sources: kubernetes apimachinery pkg/labels/selector.go (grammar), pkg/fields/selector.go,
pkg/apis/core/v1/conversion.go (which fields each kind may be selected by).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from testbed.errors import BadRequest

Json = dict[str, Any]
Predicate = Callable[[Json], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|<|>|[^\s=!,()<>]+)")

_POD_FIELDS = (
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
    "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
    "reportingComponent", "source", "type",
)
SELECTABLE_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": _POD_FIELDS, "events": _EVENT_FIELDS, "nodes": ("spec.unschedulable",), "namespaces": ("status.phase",),
    "secrets": ("type",), "replicasets.apps": ("status.replicas",), "services": ("spec.clusterIP", "spec.type"),
}


def parse_labels(text: str) -> Predicate | None:
    """None for the empty selector, which matches everything.

    Raises: BadRequest when ``text`` is not a selector.
    """
    if not text.strip():
        return None
    requirements = [_requirement(part, text) for part in _split(text)]

    def matches(obj: Json) -> bool:
        labels = obj.get("metadata", {}).get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def _split(text: str) -> list[list[str]]:
    tokens, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _bad(text)
        tokens.append(match.group(1))
        position = match.end()
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _requirement(tokens: list[str], text: str) -> Callable[[Mapping[str, str]], bool]:
    match tokens:
        case ["!", key]:
            return lambda labels: key not in labels
        case [key] if _is_word(key):
            return lambda labels: key in labels
        case [key, "=" | "==", *rest] if len(rest) <= 1:
            value = rest[0] if rest else ""
            return lambda labels: labels.get(key) == value
        case [key, "!=", *rest] if len(rest) <= 1:
            value = rest[0] if rest else ""
            return lambda labels: labels.get(key) != value
        case [key, "in" | "notin" as operator, "(", *inner, ")"]:
            values = frozenset(word for word in inner if word != ",")
            if operator == "in":
                return lambda labels: key in labels and labels[key] in values
            return lambda labels: labels.get(key) not in values if key in labels else True
        case [key, "<" | ">" as operator, bound] if bound.lstrip("-").isdigit():
            limit, less = int(bound), operator == "<"

            def compare(labels: Mapping[str, str]) -> bool:
                try:
                    have = int(labels[key])
                except (KeyError, ValueError):
                    return False
                return have < limit if less else have > limit

            return compare
    raise _bad(text)


def _is_word(token: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?", token) is not None


def _bad(text: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement in label selector {text!r}",
                      hint="key=value, key!=value, key in (a,b), key notin (a,b), key, !key; joined by commas")


def parse_fields(text: str, group_resource: str, *, custom: bool = False) -> Predicate | None:
    """None for the empty selector.

    Raises: BadRequest when ``text`` is not a selector or names a field the kind cannot be selected by.
    """
    if not text.strip():
        return None
    terms: list[tuple[tuple[str, ...], str, bool]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([^=!\s]+)\s*(==|!=|=)\s*(.*?)\s*", part)
        if match is None:
            raise BadRequest(f"invalid field selector {text!r}: can't understand {part!r}")
        path, operator, value = match.groups()
        allowed = ("metadata.name", "metadata.namespace",
                   *(() if custom else SELECTABLE_FIELDS.get(group_resource, ())))
        if path not in allowed:
            raise BadRequest(f'field label not supported: "{path}"', hint=f"{group_resource}: " + ", ".join(allowed))
        terms.append((tuple(path.split(".")), value, operator != "!="))
    return lambda obj: all((field_text(obj, path) == value) is equal for path, value, equal in terms)


def field_text(obj: Json, path: tuple[str, ...]) -> str:
    """The field as text; absent is ``""``."""
    if path == ("source",):
        path = ("source", "component")
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if path == ("spec", "unschedulable") or path == ("spec", "hostNetwork"):
        return "true" if value else "false"
    if path == ("status", "podIPs"):
        return ",".join(item.get("ip", "") for item in value or ())
    return "" if value is None else str(value)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
