"""The form of a line of our own processes' logs: one JSON object, written by machines and read by ``testbed logs``.

Every line says when (``at``, and ``ns`` of CLOCK_MONOTONIC, the one clock that all processes of a machine share), who
(``process``, ``logger``), how grave, what, and in fields whom it is about. Pure; who writes lines is ``process_logs``.

A pod's ``pod_uid``, or a node's name, is the one id that leads from a fault to the recovery: the chaos daemon, the
agent and the controllers all know it, and the healer is never told of a fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from testbed.api.printable import printable, printable_json

# Whom a line can be about, in the order in which people read them.
POD, POD_UID, NODE, CONTAINER_ID, FAULT = "pod", "pod_uid", "node", "container_id", "fault"
OWNER, OBJECT = "owner", "object"  # the controller of a pod; what else is meant, as ``Service/default/web``
REASON = "reason"
_FIRST = ("at", "ns", "level", "process", "logger", "message")
_FOR_MACHINES = (REASON, POD_UID, OWNER)  # the message says it, or the pod's name is enough for people
_SHORT_ID = 12


@dataclass(frozen=True)
class LogLine:
    """``at``: RFC 3339 with microseconds, UTC. ``trace``: of an exception."""

    ns: int
    at: str
    process: str
    message: str
    level: str = "INFO"
    logger: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    trace: str = ""

    def to_json(self) -> str:
        """One line of text, without its end. It steers no terminal either."""
        value: dict[str, Any] = {name: getattr(self, name) for name in _FIRST}
        value |= {name: text for name, text in self.fields.items() if text and name not in value}
        if self.trace:
            value["trace"] = self.trace
        return printable_json(json.dumps(value, ensure_ascii=False))


def time_text(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def of_text(text: str, process: str, before: LogLine | None = None) -> LogLine:
    """What a line says. One that is not of this form (an interpreter's last words) belongs to the line before it.

    Args:
        process: whose file it stood in, for lines that do not say.
    """
    try:
        value = json.loads(text)
        return LogLine(
            int(value["ns"]), str(value["at"]), str(value["process"]), str(value["message"]), str(value["level"]),
            str(value["logger"]), {key: str(item) for key, item in value.items() if key not in (*_FIRST, "trace")},
            str(value.get("trace", "")))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return LogLine(before.ns if before else 0, before.at if before else "", process, text)


def of_lines(texts: Iterable[str], process: str) -> Iterator[LogLine]:
    """``of_text`` of lines that stood below each other."""
    before: LogLine | None = None
    for text in texts:
        before = of_text(text, process, before)
        yield before


def for_people(line: LogLine) -> str:
    """``<at, milliseconds> <process> | <message> (<whom it is about>)``, with the grave ones marked. More rows of a
    message, and a trace, stand below; nothing in it steers a terminal."""
    grave = f"{line.level} " if line.level not in ("INFO", "DEBUG") else ""
    told = [f"{name}={text[:_SHORT_ID] if name == CONTAINER_ID else text}" for name, text in line.fields.items()
            if name not in _FOR_MACHINES and text not in line.message and not line.process.endswith(f"/{text}")
            and not (name == OBJECT and text == line.fields.get(FAULT))]
    about = f" ({' '.join(told)})" if told else ""
    when = f"{line.at[:23]}Z" if line.at else " " * 24
    message, *more = line.message.splitlines() or [""]
    rows = [f"{when} {line.process} | {grave}{message}{about}",
            *(f"    {row}" for row in (*more, *line.trace.splitlines()))]
    return "\n".join(printable(row) for row in rows)


def fields_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """Whom an API object (JSON with its kind) is: a pod with its node and controller, a node, or any other object."""
    metadata, kind = obj["metadata"], str(obj.get("kind", ""))
    namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
    if kind == "Node":
        return {NODE: name}
    if kind != "Pod":
        return {OBJECT: "/".join(part for part in (kind, namespace, name) if part)}
    owner = next((item for item in metadata.get("ownerReferences") or () if item.get("controller")), None)
    found = {POD: f"{namespace}/{name}", POD_UID: str(metadata.get("uid") or ""),
             NODE: str((obj.get("spec") or {}).get("nodeName") or ""),
             OWNER: f"{owner['kind']}/{namespace}/{owner['name']}" if owner else ""}
    return {key: text for key, text in found.items() if text}
