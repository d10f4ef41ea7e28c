"""Is a written object one of its kind? Names, types and values are judged together, so that one answer tells all.

Upstream's decoder stops at the first group of mistakes (types, then unknown fields, then values). Here the answer keeps
upstream's code and words for the first group, and tells the others behind them.
Source of the words: kubernetes apimachinery pkg/runtime/serializer/json, apiserver fieldValidation (KEP 2885).
"""

from __future__ import annotations

import copy
from typing import Any

from testbed.errors import BadRequest, Invalid
from testbed.server.causes import Causes
from testbed.server.crd import check_definition
from testbed.server.defaults import apply_defaults
from testbed.server.fields import UNENFORCED_KINDS, Findings
from testbed.server.options import WriteOptions
from testbed.server.served import Served
from testbed.server.structural import validate_against
from testbed.server.validation import validate

Json = dict[str, Any]
Cause = dict[str, str]


def judge(served: Served, obj: Json, findings: Findings, options: WriteOptions, *, whole: bool) -> None:
    """Refuses wrong types and (Strict) unknown or duplicate fields; else adds warnings to ``options``.

    Args:
        obj: what was written, without unknown fields; None where a type was wrong.
        whole: it is a whole object, whose values can be judged too when it is refused anyway.

    Raises: BadRequest with every mistake as a cause.
    """
    kind, version = served.resource.kind, served.resource.api_version
    wrong = [_cause("FieldValueTypeInvalid", path, what) for path, what in findings.wrong]
    unknown = [
        _cause("FieldValueInvalid", path, f'unknown field "{path}"' + (f' (did you mean "{near}"?)' if near else ""))
        for path, near in findings.unknown]
    unknown += [_cause("FieldValueInvalid", path, f'duplicate field "{path}"') for path in options.duplicates]
    strict = options.field_validation == "Strict"
    if wrong or (strict and unknown):
        causes = wrong + (unknown if strict else [])
        told = [f"{item['field']}: {item['message']}" for item in wrong] + (
            [item["message"] for item in unknown] if strict else [])
        others = value_causes(served, obj, findings) if whole else []
        told += [f"{item['field']}: {item['message']}" for item in others]
        start = f'{kind} in version "{version}" cannot be handled as a {kind}: ' if wrong else "strict decoding error: "
        raise BadRequest(start + ("; " if wrong else ", ").join(told), details={"causes": causes + others})
    if options.field_validation != "Ignore":
        options.warnings.extend(item["message"] for item in unknown)
        options.warnings.extend(f"{path}: this field is kept but has no effect in this cluster"
                                for path in findings.unenforced)
        if kind in UNENFORCED_KINDS and not served.custom:
            options.warnings.append(UNENFORCED_KINDS[kind])


def check(served: Served, obj: Json, old: Json | None = None) -> None:
    """Raises: Invalid with all causes."""
    if served.custom:
        causes = Causes()
        validate_against(obj, _without_metadata(served.schema), "", causes)
        causes.raise_if_any(served.resource.kind, served.resource.group, obj["metadata"].get("name", ""))
    validate(served, obj, old)
    if served.key == "customresourcedefinitions.apiextensions.k8s.io":
        check_definition(obj)


def _without_metadata(schema: Json) -> Json:
    properties = {key: item for key, item in (schema.get("properties") or {}).items()
                  if key not in ("metadata", "apiVersion", "kind")}
    return {**schema, "type": "object", "properties": properties}


def _cause(reason: str, field: str, message: str) -> Cause:
    return {"reason": reason, "message": message, "field": field}


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
