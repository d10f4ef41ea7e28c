"""Objects as ``meta.k8s.io/v1`` Tables: what kubectl prints, made by the server.

Built-in kinds have their columns in ``printers``; a custom resource has those of its definition
(``additionalPrinterColumns``). Source: kubernetes apiserver pkg/registry/rest/table.go, apiextensions-apiserver
pkg/registry/customresource/tableconvertor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from testbed.server.human import since
from testbed.server.printer import definition
from testbed.server.printers import PRINTERS
from testbed.server.served import Served
from testbed.server.versions import stored_form

Json = dict[str, Any]

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\*)\]|\[\?\(@\.([^=\s]+)\s*==\s*['\"]([^'\"]*)['\"]\)\]|\['([^']+)'\]")


def table(served: Served, objects: Iterable[Json], now: datetime, metadata: Json, *, include: str = "Metadata",
          headers: bool = True) -> Json:
    """``include``: what each row carries of its object: Metadata, Object or None."""
    rows = []
    for obj in objects:
        row: Json = {"cells": cells(served, stored_form(served, obj), now)}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                             "metadata": obj["metadata"]}
        rows.append(row)
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns(served) if headers else [], "rows": rows}


def columns(served: Served) -> list[Json]:
    if not served.custom:
        return PRINTERS[served.key].definitions()
    own = [{"name": column["name"], "type": column.get("type", "string"), "format": column.get("format", ""),
            "description": column.get("description", ""), "priority": column.get("priority", 0)}
           for column in served.columns]
    return [definition("Name"), *(own or [definition("Age")])]


def cells(served: Served, obj: Json, now: datetime) -> list[Any]:
    if not served.custom:
        return PRINTERS[served.key].row(obj, now)
    name = obj["metadata"].get("name", "")
    if not served.columns:
        return [name, since(obj["metadata"].get("creationTimestamp"), now)]
    return [name, *(_cell(obj, column, now) for column in served.columns)]


def _cell(obj: Json, column: Json, now: datetime) -> Any:
    found = json_path(obj, str(column.get("jsonPath", "")))
    if not found:
        return None if column.get("type") in ("integer", "number", "boolean", "date") else ""
    value = found[0]
    if column.get("type") == "date":
        return since(value, now)
    if column.get("type") in ("integer", "number", "boolean"):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, found)) if len(found) > 1 else str(value)


def json_path(obj: Any, path: str) -> list[Any]:
    """The subset of JSONPath that printer columns use: ``.a.b``, ``[0]``, ``[*]``, ``[?(@.type=="x")]``."""
    values, position = [obj], 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return []
        key, index, field, wanted, quoted = match.groups()
        following: list[Any] = []
        for value in values:
            if key or quoted:
                if isinstance(value, dict) and (key or quoted) in value:
                    following.append(value[key or quoted])
            elif not isinstance(value, list):
                continue
            elif index == "*":
                following.extend(value)
            elif index is not None:
                following.extend(value[int(index):int(index) + 1])
            else:
                following.extend(item for item in value if isinstance(item, dict) and str(item.get(field)) == wanted)
        values, position = following, match.end()
    return [value for value in values if value is not None]
