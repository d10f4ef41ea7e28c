"""``testbed describe``: one object's fields in words, and its events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from testbed.api.labels import LAST_APPLIED
from testbed.api.resources import EVENTS, ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.cli.event_rows import in_order, when
from testbed.cli.get import wanted

app = typer.Typer()

# Bookkeeping of machines, which a person does not read.
_HIDDEN_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "selfLink", "name", "namespace", "labels",
                    "annotations", "ownerReferences", "creationTimestamp")
_HIDDEN_ANNOTATIONS = (LAST_APPLIED,)


@app.command()
def describe(
    what: list[str] = typer.Argument(..., metavar="KIND [NAME ...] | KIND/NAME ..."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
    selector: str = typer.Option("", "-l", "--selector", help="Label selector."),
) -> None:
    """One object with its events."""
    api = connect(name)
    texts = []
    for resource, object_name in wanted(api, what):
        scope = namespace if resource.namespaced else None
        if object_name:
            objects = [api.json("GET", resource.path(scope, object_name))]
        else:
            query = {"labelSelector": selector} if selector else None
            objects = api.json("GET", resource.path(scope), query=query)["items"]
        texts += [_described(api, resource, obj) for obj in objects]
    printing.out("\n\n\n".join(texts) if texts else "No resources found.")


def _described(api: Api, resource: ResourceType, obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    lines = [_field("Name", metadata["name"])]
    if resource.namespaced:
        lines.append(_field("Namespace", metadata.get("namespace", "")))
    lines.append(_field("Created", metadata.get("creationTimestamp", "")))
    lines += _pairs("Labels", metadata.get("labels") or {})
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items()
                   if key not in _HIDDEN_ANNOTATIONS}
    lines += _pairs("Annotations", annotations)
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            lines.append(_field("Controlled By", f"{owner['kind']}/{owner['name']}"))
    rest = {key: value for key, value in metadata.items() if key not in _HIDDEN_METADATA}
    body = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if resource.plural == "secrets":
        body = {key: ({name: f"{len(text)} characters" for name, text in value.items()}
                      if key in ("data", "stringData") else value) for key, value in body.items()}
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", None)
    for title, value in (("Metadata", rest), *((_title(key), value) for key, value in body.items()),
                         ("Status", status)):
        if value not in ({}, [], None):
            lines += _tree(title, value)
    lines += _conditions(conditions)
    return "\n".join(lines + _events(api, obj))


def _title(key: str) -> str:
    return key[:1].upper() + key[1:]


def _field(title: str, value: Any) -> str:
    return f"{title + ':':<18} {printing.plain(value)}"


def _pairs(title: str, values: dict[str, str]) -> list[str]:
    if not values:
        return [_field(title, "<none>")]
    first, *others = [f"{key}={value}" for key, value in sorted(values.items())]
    return [_field(title, first)] + [" " * 19 + printing.plain(item) for item in others]


def _tree(title: str, value: Any, depth: int = 0) -> list[str]:
    pad, title = "  " * depth, printing.plain(title)
    if value in ({}, [], None):
        return []
    if isinstance(value, dict):
        lines = [f"{pad}{title}:"]
        for key, item in value.items():
            lines += _tree(_title(key), item, depth + 1)
        return lines
    if isinstance(value, list):
        if all(not isinstance(item, dict | list) for item in value):
            return [f"{pad}{title}:  {', '.join(printing.plain(item) for item in value)}"]
        lines = [f"{pad}{title}:"]
        for item in value:
            name = item.get("name") or item.get("type") or item.get("id") or "-" if isinstance(item, dict) else "-"
            rest = {key: field for key, field in item.items() if field != name} if isinstance(item, dict) else item
            lines += _tree(str(name), rest, depth + 1)
        return lines
    return [f"{pad}{title}:  {printing.plain(value)}"]


def _conditions(conditions: list[dict[str, Any]] | None) -> list[str]:
    if not conditions:
        return []
    rows = [(item["type"], item["status"], item.get("reason", ""), item.get("message", "")) for item in conditions]
    table = printing.columns(("TYPE", "STATUS", "REASON", "MESSAGE"), rows)
    return ["Conditions:"] + ["  " + line for line in table.split("\n")]


def _events(api: Api, obj: dict[str, Any]) -> list[str]:
    metadata = obj["metadata"]
    query = {"fieldSelector": f"involvedObject.name={metadata['name']},involvedObject.uid={metadata['uid']}"}
    events = api.json("GET", EVENTS.path(metadata.get("namespace")), query=query)["items"]
    if not events:
        return ["Events:            <none>"]
    now = datetime.now(UTC)
    rows = [(event.get("type", ""), event.get("reason", ""), when(event, now), _source(event), event.get("message", ""))
            for _, event in in_order(events)]
    table = printing.columns(("TYPE", "REASON", "AGE", "FROM", "MESSAGE"), rows)
    return ["Events:"] + ["  " + line for line in table.split("\n")]


def _source(event: dict[str, Any]) -> str:
    return str(event.get("reportingComponent") or (event.get("source") or {}).get("component", ""))
