"""``testbed get``: lists, in kubectl's columns; the server makes the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from testbed.api.resources import BUILT_IN, ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import TABLE, Api, connect
from testbed.errors import UsageError

app = typer.Typer()


@app.command()
def get(
    what: list[str] = typer.Argument(..., metavar="KIND [NAME ...] | KIND/NAME ...", help="po; deploy/web; all"),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
    all_namespaces: bool = typer.Option(False, "-A", "--all-namespaces", help="All namespaces."),
    selector: str = typer.Option("", "-l", "--selector", help="Label selector."),
    field_selector: str = typer.Option("", "--field-selector", help="Field selector."),
    output: str = printing.output_option("wide", "json", "yaml", "name"),
    watch: bool = typer.Option(False, "-w", "--watch", help="Go on printing changes."),
    no_headers: bool = typer.Option(False, "--no-headers", help="No column titles."),
    show_labels: bool = typer.Option(False, "--show-labels", help="Labels as the last column."),
) -> None:
    """List objects as kubectl does."""
    api = connect(name)
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    query = {key: value for key, value in query.items() if value}
    asked = wanted(api, what)
    if watch and len(asked) != 1:
        raise UsageError("--watch follows one kind")
    if output in ("json", "yaml"):
        _objects(api, asked, namespace, all_namespaces, query, output)
        return
    view = _View(wide=output == "wide", names=output == "name", namespaces=all_namespaces, labels=show_labels,
                 headers=not no_headers, prefix=len(asked) > 1)
    for index, (resource, object_name) in enumerate(asked):
        _print_kind(api, resource, object_name, _scope(resource, namespace, all_namespaces), query, view,
                    gap=index > 0, watch=watch)


class _View:
    """How rows are printed."""

    def __init__(self, *, wide: bool, names: bool, namespaces: bool, labels: bool, headers: bool, prefix: bool) -> None:
        self.wide, self.names, self.namespaces, self.labels = wide, names, namespaces, labels
        self.headers, self.prefix = headers, prefix

    def show(self, resource: ResourceType, table: Mapping[str, Any], *, headers: bool) -> None:
        if self.names:
            for row in table.get("rows") or []:
                printing.out(f"{resource.singular or resource.kind.lower()}"
                             f"{'.' + resource.group if resource.group else ''}/{row['object']['metadata']['name']}")
            return
        header, rows = printing.table_rows(table, wide=self.wide, namespaces=self.namespaces and resource.namespaced,
                                           labels=self.labels)
        if self.prefix:
            kind = resource.kind.lower() + (f".{resource.group}" if resource.group else "")
            where = 1 if self.namespaces and resource.namespaced else 0
            for row in rows:
                row[where] = f"{kind}/{row[where]}"
        if rows:
            printing.out(printing.columns(header, rows, headers=headers))


def wanted(api: Api, words: list[str]) -> list[tuple[ResourceType, str]]:
    """``["po,svc"]``, ``["po", "a", "b"]``, ``["po/a", "svc/b"]`` as (kind, name or "")."""
    if any("/" in word for word in words):
        if not all("/" in word for word in words):
            raise UsageError("write either KIND NAME ... or KIND/NAME ..., not both")
        pairs = [word.split("/", 1) for word in words]
        return [(api.resource(kind), object_name) for kind, object_name in pairs]
    kinds: list[ResourceType] = []
    for word in words[0].split(","):
        kinds += [resource for resource in BUILT_IN if "all" in resource.categories] if word == "all" else [
            api.resource(word)]
    names = words[1:] or [""]
    return [(kind, object_name) for kind in kinds for object_name in names]


def _scope(resource: ResourceType, namespace: str, all_namespaces: bool) -> str | None:
    return None if all_namespaces or not resource.namespaced else namespace


def _print_kind(
    api: Api, resource: ResourceType, object_name: str, scope: str | None, query: dict[str, str], view: _View, *,
    gap: bool, watch: bool,
) -> None:
    path = resource.path(scope, object_name)
    table = api.json("GET", path, query=query, accept=TABLE)
    rows = table.get("rows") or []
    if rows and gap and view.prefix:
        printing.out("")
    view.show(resource, table, headers=view.headers)
    if not rows and not watch and not view.prefix:
        printing.say("No resources found" + (f" in namespace {scope!r}." if scope else "."))
    if watch:
        _follow(api, resource, object_name, scope, query, table, view)


def _follow(
    api: Api, resource: ResourceType, object_name: str, scope: str | None, query: dict[str, str],
    table: Mapping[str, Any], view: _View,
) -> None:
    since = (table.get("metadata") or {}).get("resourceVersion", "")
    query = query | {"watch": "true", "resourceVersion": since}
    if object_name:
        query["fieldSelector"] = f"metadata.name={object_name}"
    definitions = table.get("columnDefinitions")
    headers = view.headers and not table.get("rows")
    for line in api.lines(resource.path(scope), query, TABLE):
        event = json.loads(line)
        if event["type"] in ("BOOKMARK", "ERROR"):
            continue
        one = event["object"]
        definitions = one.get("columnDefinitions") or definitions
        view.show(resource, {"columnDefinitions": definitions, "rows": one.get("rows")}, headers=headers)
        headers = False


def _objects(
    api: Api, asked: list[tuple[ResourceType, str]], namespace: str, all_namespaces: bool, query: dict[str, str],
    output: str,
) -> None:
    found: list[Any] = []
    for resource, object_name in asked:
        answer = api.json("GET", resource.path(_scope(resource, namespace, all_namespaces), object_name), query=query)
        if object_name:
            found.append(answer)
            continue
        # Items of a list carry no kind of their own on the wire; a reader of JSON expects it.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found += [kind | item for item in answer.get("items") or []]
    single = len(asked) == 1 and asked[0][1]
    printing.dump(found[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": found}, output)
