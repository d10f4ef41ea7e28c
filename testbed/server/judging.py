"""Do the values of an object make sense? Also of one that is refused anyway, so that one answer tells all mistakes.

Knows nothing of stores and requests: ``testbed validate`` judges files with it.
"""

from __future__ import annotations

import copy
from typing import Any

from testbed.errors import Invalid
from testbed.server.causes import Causes
from testbed.server.crd import check_definition
from testbed.server.defaults import apply_defaults
from testbed.server.fields import Findings
from testbed.server.names import check_metadata
from testbed.server.served import Served
from testbed.server.structural import validate_against
from testbed.server.validation import validate
from testbed.server.validation_statuses import check_status_update

Json = dict[str, Any]
Cause = dict[str, str]


def check(served: Served, obj: Json, old: Json | None = None) -> None:
    """Raises: Invalid with all causes."""
    if served.custom:
        causes = Causes()
        validate_against(obj, _without_metadata(served.schema), "", causes)
        causes.raise_if_any(served.resource.kind, served.resource.group, obj["metadata"].get("name", ""))
    validate(served, obj, old)
    if served.key == "customresourcedefinitions.apiextensions.k8s.io":
        check_definition(obj)


def check_status(served: Served, obj: Json, old: Json) -> None:
    """Raises: Invalid with all causes."""
    causes = Causes()
    if obj["metadata"] != old["metadata"]:
        check_metadata(obj["metadata"], served.key, causes)
    check_status_update(served, old, obj, causes)
    causes.raise_if_any(served.resource.kind, served.resource.group, obj["metadata"].get("name", ""))


def _without_metadata(schema: Json) -> Json:
    properties = {key: item for key, item in (schema.get("properties") or {}).items()
                  if key not in ("metadata", "apiVersion", "kind")}
    return {**schema, "type": "object", "properties": properties}


def value_causes(served: Served, obj: Json, findings: Findings) -> list[Cause]:
    """What the values of an object break, without what only follows from the ``findings`` that are told already."""
    rest = copy.deepcopy(obj)
    if served.custom:
        rest["metadata"] = _without_nulls(rest["metadata"])
    else:
        rest = _without_nulls(rest)
    metadata = rest.setdefault("metadata", {})
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = f"{metadata['generateName']}x"
    told = {path for path, _ in findings.wrong}
    meant = {f"{path.rpartition('.')[0]}.{near}".lstrip(".") for path, near in findings.unknown if near}
    apply_defaults(served.key, rest)
    try:
        check(served, rest)
    except Invalid as refused:
        return [item for item in refused.details.get("causes", ())
                if item["field"] not in meant and not any(_touches(item["field"], path) for path in told)]
    return []


def _touches(one: str, other: str) -> bool:
    """One path is the other, or stands inside it."""
    short, long = sorted((one, other), key=len)
    return long == short or (long.startswith(short) and long[len(short)] in ".[")


def _without_nulls(value: Any) -> Any:
    """Without what had the wrong type. A list that holds such a thing goes whole: others keep their number."""
    if isinstance(value, dict):
        cleaned = {key: _without_nulls(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item is not None}
    if isinstance(value, list):
        items = [_without_nulls(item) for item in value]
        return None if any(item is None for item in items) else items
    return value
