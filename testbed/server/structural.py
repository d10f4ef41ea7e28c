"""Custom resources against the ``openAPIV3Schema`` of their definition: prune, default, validate.

One walk, because unknown fields, defaults and types must agree; jsonschema knows neither pruning nor int-or-string and
would cost the control plane memory. CEL rules (``x-kubernetes-validations``) are not evaluated.
Source: kubernetes apiextensions-apiserver pkg/apiserver/schema (pruning, defaulting), pkg/apiserver/validation.
"""

from __future__ import annotations

import copy
import json
import re
from functools import lru_cache
from typing import Any

from testbed.server.causes import Causes
from testbed.server.fields import MAX_DEPTH, Findings, suggestion

Json = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}


def prune_and_default(value: Json, schema: Json) -> tuple[Json, Findings]:
    """A copy of a custom resource without unknown fields and with the schema's defaults. Metadata is left alone."""
    findings = Findings()
    known = dict(schema.get("properties") or {})
    for name in ("apiVersion", "kind", "metadata"):
        known[name] = {"x-kubernetes-preserve-unknown-fields": True}
    result: Json = _shape(value, {**schema, "type": "object", "properties": known}, "", findings, 0)
    return result, findings


def _shape(value: Any, schema: Json, path: str, found: Findings, depth: int) -> Any:
    if depth > MAX_DEPTH:
        found.wrong.append((path, "nested too deeply"))
        return None
    if isinstance(value, list):
        items = schema.get("items")
        return [_shape(item, items, f"{path}[{index}]", found, depth + 1) if isinstance(items, dict) else item
                for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties: Json = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    keep = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    shaped: Json = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        if key in properties:
            child = properties[key]
            if item is None and not child.get("nullable") and "default" in child:
                continue  # a null that is not allowed gives way to the default
            shaped[key] = _shape(item, child, here, found, depth + 1)
        elif isinstance(additional, dict):
            shaped[key] = _shape(item, additional, here, found, depth + 1)
        elif keep or not (properties or schema.get("type") == "object"):
            shaped[key] = copy.deepcopy(item)
        else:
            found.unknown.append((here, suggestion(key, properties)))
    for key, child in properties.items():
        if key not in shaped and isinstance(child, dict) and "default" in child:
            shaped[key] = _shape(copy.deepcopy(child["default"]), child, f"{path}.{key}", found, depth + 1)
    return shaped


def validate_against(value: Any, schema: Json, path: str, causes: Causes) -> None:
    """Adds a cause for every rule that ``value`` breaks."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            causes.type_invalid(path, value, f"{path} in body must be of type integer or string")
            return
    elif not _has_type(value, schema.get("type")):
        causes.type_invalid(path, value, f'{path} in body must be of type {schema["type"]}: "{_type_name(value)}"')
        return
    if "enum" in schema and value not in schema["enum"]:
        causes.not_supported(path, value,
                             (item if isinstance(item, str) else json.dumps(item) for item in schema["enum"]))
    if isinstance(value, str):
        _check_string(value, schema, path, causes)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, schema, path, causes)
    elif isinstance(value, list):
        _check_list(value, schema, path, causes)
    elif isinstance(value, dict):
        _check_map(value, schema, path, causes)
    _check_combined(value, schema, path, causes)


def _has_type(value: Any, name: Any) -> bool:
    if not name or name not in _TYPES:
        return True
    if isinstance(value, bool):
        return bool(name == "boolean")
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for name in ("boolean", "object", "array", "string", "integer", "number")
                 if _has_type(value, name)),
                "unknown")


def _check_string(value: str, schema: Json, path: str, causes: Causes) -> None:
    if len(value) < schema.get("minLength", 0):
        causes.invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    if len(value) > schema.get("maxLength", len(value)):
        causes.invalid(path, value, f"{path} in body should be at most {schema['maxLength']} chars long")
    pattern = schema.get("pattern")
    if pattern and not _compiled(pattern).search(value):
        causes.invalid(path, value, f"{path} in body should match '{pattern}'")


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _check_number(value: float, schema: Json, path: str, causes: Causes) -> None:
    if "minimum" in schema:
        low, open_end = schema["minimum"], schema.get("exclusiveMinimum") is True
        if value < low or (open_end and value == low):
            causes.invalid(path, value,
                           f"{path} in body should be greater than {'' if open_end else 'or equal to '}{low}")
    if "maximum" in schema:
        high, open_end = schema["maximum"], schema.get("exclusiveMaximum") is True
        if value > high or (open_end and value == high):
            causes.invalid(path, value,
                           f"{path} in body should be less than {'' if open_end else 'or equal to '}{high}")
    step = schema.get("multipleOf")
    if step and value % step:
        causes.invalid(path, value, f"{path} in body should be a multiple of {step}")


def _check_list(value: list[Any], schema: Json, path: str, causes: Causes) -> None:
    if len(value) < schema.get("minItems", 0):
        causes.invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", len(value)):
        causes.invalid(path, len(value), f"{path} in body should have at most {schema['maxItems']} items")
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            validate_against(item, items, f"{path}[{index}]", causes)
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys and schema.get("x-kubernetes-list-type") == "map":
        seen: list[list[Any]] = []
        for index, item in enumerate(value):
            identity = [item.get(key) for key in keys] if isinstance(item, dict) else [item]
            if identity in seen:
                causes.duplicate(f"{path}[{index}]", dict(zip(keys, identity, strict=False)))
            seen.append(identity)


def _check_map(value: Json, schema: Json, path: str, causes: Causes) -> None:
    for key in schema.get("required") or ():
        if key not in value:
            causes.required(f"{path}.{key}" if path else key)
    if len(value) < schema.get("minProperties", 0):
        causes.invalid(path, len(value), f"{path} in body should have at least {schema['minProperties']} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        causes.invalid(path, len(value), f"{path} in body should have at most {schema['maxProperties']} properties")
    properties: Json = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for key, item in value.items():
        child = properties.get(key, additional)
        if isinstance(child, dict):
            validate_against(item, child, f"{path}.{key}" if path else key, causes)


def _check_combined(value: Any, schema: Json, path: str, causes: Causes) -> None:
    for child in schema.get("allOf") or ():
        validate_against(value, child, path, causes)
    if "anyOf" in schema and not any(_fits(value, child, path) for child in schema["anyOf"]):
        causes.invalid(path, value, f"{path} in body must validate at least one schema (anyOf)")
    if "oneOf" in schema and sum(_fits(value, child, path) for child in schema["oneOf"]) != 1:
        causes.invalid(path, value, f"{path} in body must validate one and only one schema (oneOf)")
    if "not" in schema and _fits(value, schema["not"], path):
        causes.invalid(path, value, f"{path} in body must not validate the schema (not)")


def _fits(value: Any, schema: Json, path: str) -> bool:
    trial = Causes()
    validate_against(value, schema, path, trial)
    return not trial
