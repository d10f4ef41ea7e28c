"""OpenAPI v3 documents, one per group and version, so that ``kubectl apply`` validates here and ``explain`` has fields.

Each kind has a path with a ``patch`` operation that carries its group, version and kind and the parameter
``fieldValidation``: kubectl then leaves validation to the server (kubernetes: kubectl pkg/validation, cmd/util
query_param_verifier_v3).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from testbed.server.catalog import Catalog
from testbed.server.schema import Type, fields_of
from testbed.server.served import Served

Json = dict[str, Any]

_FORMS: dict[str, Json] = {
    "s": {"type": "string"}, "i": {"type": "integer", "format": "int64"}, "n": {"type": "number"},
    "b": {"type": "boolean"}, "t": {"type": "string", "format": "date-time"},
    "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "x": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}, "any": {},
}


def index(catalog: Catalog) -> Json:
    """The body for ``/openapi/v3``."""
    paths = {}
    for group, version in sorted({(item.resource.group, item.resource.version) for item in catalog}):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        stamp = hashlib.sha256(f"{path} {catalog.revision}".encode()).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={stamp}"}
    return {"paths": paths}


def document(catalog: Catalog, group: str, version: str) -> Json | None:
    """The body for one group and version; None when nothing of it is served."""
    kinds = [item for item in catalog if (item.resource.group, item.resource.version) == (group, version)]
    if not kinds:
        return None
    schemas: Json = {}
    paths: Json = {}
    for served in kinds:
        _add_schema(served, schemas)
        paths.update(_paths(served))
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": paths,
            "components": {"schemas": schemas}}


def _gvk(served: Served) -> Json:
    resource = served.resource
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(served: Served) -> Json:
    resource = served.resource
    scope = "{namespace}" if resource.namespaced else None
    query = [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
             for name in ("dryRun", "fieldManager", "fieldValidation")]
    answer = {"200": {"description": "OK", "content": {"application/json": {
        "schema": {"$ref": f"#/components/schemas/{_schema_name(served)}"}}}}}

    def operation(action: str) -> Json:
        return {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": _gvk(served), "parameters": query,
                "responses": answer}

    return {
        resource.path(scope): {"get": operation("list"), "post": operation("post")},
        resource.path(scope, "{name}"): {"get": operation("get"), "put": operation("put"), "patch": operation("patch"),
                                         "delete": operation("delete")},
    }


def _schema_name(served: Served) -> str:
    resource = served.resource
    if served.custom:
        return ".".join((*reversed(resource.group.split(".")), resource.version, resource.kind))
    return f"io.k8s.api.{resource.group.split('.')[0] or 'core'}.{resource.version}.{resource.kind}"


def _add_schema(served: Served, schemas: Json) -> None:
    if served.custom:
        schema = json.loads(json.dumps(served.schema))
        schema["properties"] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                **(schema.get("properties") or {})}
    else:
        schema = _struct(served.type_name, schemas)
    schema["x-kubernetes-group-version-kind"] = [_gvk(served)]
    schemas[_schema_name(served)] = schema


def _struct(name: str, schemas: Json) -> Json:
    fields = fields_of(name)
    schema: Json = {"type": "object",
                    "properties": {field.name: _form(field.type, schemas) for field in fields.values()}}
    required = [field.name for field in fields.values() if field.required]
    if required:
        schema["required"] = required
    return schema


def _form(kind: Type, schemas: Json) -> Json:
    if kind.form == "list":
        assert kind.item is not None
        return {"type": "array", "items": _form(kind.item, schemas)}
    if kind.form == "map":
        assert kind.item is not None
        return {"type": "object", "additionalProperties": _form(kind.item, schemas)}
    if kind.form == "struct":
        name = f"io.k8s.api.{kind.name}"
        if name not in schemas:
            schemas[name] = {}  # stands while its own fields are described: types may contain themselves
            schemas[name] = _struct(kind.name, schemas)
        return {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    return dict(_FORMS[kind.form])
