"""From what a client wrote to what is stored: field names, metadata, defaults, validation.

The steps that need no look at other objects; those that do (namespaces, addresses, priorities) are in ``registry``.
Source: kubernetes apiserver pkg/registry/rest/{create,update}.go.
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import INGRESSES, PERSISTENT_VOLUMES
from testbed.errors import BadRequest, Conflict, Invalid
from testbed.server.defaults import apply_defaults
from testbed.server.fields import UNENFORCED_KINDS, Findings, examine
from testbed.server.ingresses import annotation_warnings
from testbed.server.judging import value_causes
from testbed.server.options import WriteOptions
from testbed.server.served import Served
from testbed.server.structural import prune_and_default
from testbed.server.validation_storage import volume_warnings
from testbed.server.versions import stored_form

Json = dict[str, Any]

_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
                 "resourceVersion", "selfLink", "managedFields")
_KEPT_WITH_STATUS = {"pods": ("ownerReferences",), "deployments.apps": ("labels",)}
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # kubernetes: apimachinery pkg/util/rand
_MAX_GENERATED = 58


def decode(served: Served, obj: Any, options: WriteOptions, *, whole: bool = True) -> Json:
    """A copy of what was written, judged by field names and types.

    Args: whole: not only a subresource of an object.
    Returns: the form that is stored.
    Raises: BadRequest for another kind, wrong types, and (Strict) unknown or duplicate fields, all at once.
    """
    resource = served.resource
    if not isinstance(obj, dict):
        raise BadRequest(f"the body is not a {resource.kind} object")
    value: Json = dict(obj)
    for key, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        given = value.get(key) or expected
        if given != expected:
            raise BadRequest(f"the {key} in the data ({given}) does not match the expected {key} ({expected})")
        value[key] = expected
    if served.custom:
        cleaned, findings = prune_and_default(value, served.schema)
        metadata = value.get("metadata") or {}
        cleaned["metadata"], in_metadata = examine("ObjectMeta", metadata)
        findings.unknown += [(f"metadata.{path}", close) for path, close in in_metadata.unknown]
        findings.wrong += [(f"metadata.{path}" if path else "metadata", what) for path, what in in_metadata.wrong]
    else:
        cleaned, findings = examine(served.type_name, value)
    if cleaned.get("metadata") is None:
        cleaned["metadata"] = {}
    if served.key == "secrets":
        _merge_string_data(cleaned)
    _judge(served, cleaned, findings, options, whole=whole and served.view is None)
    return stored_form(served, cleaned)


def _merge_string_data(obj: Json) -> None:
    import base64

    written = obj.pop("stringData", None) or {}
    if not written or obj.setdefault("data", {}) is None:  # None: of a wrong type, which is told with the others
        return
    for key, value in written.items():
        if isinstance(value, str):
            obj["data"][key] = base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


def _judge(served: Served, obj: Json, findings: Findings, options: WriteOptions, *, whole: bool) -> None:
    """Refuses wrong types and (Strict) unknown or duplicate fields; else adds warnings to ``options``.

    Args:
        obj: what was written, without unknown fields; None where a type was wrong.
        whole: it is a whole object, whose values can be judged too when it is refused anyway.

    Upstream's decoder stops at the first group of mistakes (types, then unknown fields, then values). This answer keeps
    upstream's code and words for the first group, and tells the others behind them.

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
        if served.key == PERSISTENT_VOLUMES.group_resource:
            options.warnings.extend(volume_warnings(obj))
        if served.key == INGRESSES.group_resource:
            options.warnings.extend(annotation_warnings(obj))


def _cause(reason: str, field: str, message: str) -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}


# --- create


def prepare_new(served: Served, obj: Json, namespace: str, now: datetime, rng: random.Random) -> None:
    """Metadata and defaults of a new object.

    Raises: BadRequest when it carries what only the server may set, or names another namespace.
    """
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    for key in _SERVER_OWNED:
        metadata.pop(key, None)
    place_in_namespace(served, metadata, namespace)
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(rng.choice(_SUFFIX_ALPHABET) for _ in range(5))
        metadata["name"] = str(metadata["generateName"])[:_MAX_GENERATED] + suffix
    metadata["uid"] = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    metadata["creationTimestamp"] = format_time(now)
    if served.generation:
        metadata["generation"] = 1
    if served.has_status and served.key != "nodes":  # kubelets register a node together with its status
        obj.pop("status", None)
    if served.key == "namespaces":
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
    apply_defaults(served.key, obj)


def place_in_namespace(served: Served, metadata: Json, namespace: str) -> None:
    """Raises: BadRequest."""
    if not served.resource.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.setdefault("namespace", namespace)
    if given != namespace:
        raise BadRequest(f"the namespace of the provided object does not match the namespace sent on the request "
                         f"({given} "
                         f"is not {namespace})")


# --- update


def prepare_update(served: Served, old: Json, new: Json, subresource: str) -> Json:
    """The object to store: what the client may change is taken from ``new``, the rest from ``old``.

    Raises: BadRequest, Conflict (stale resourceVersion, other uid), Invalid (new finalizer on a deleted object).
    """
    before, after = old["metadata"], new["metadata"]
    name = before["name"]
    what = f'{served.key} "{name}"'
    if after.get("name", name) != name:
        raise BadRequest(f"the name of the object ({after['name']}) does not match the name on the URL ({name})")
    place_in_namespace(served, after, before.get("namespace", ""))
    if after.get("resourceVersion") and after["resourceVersion"] != before["resourceVersion"]:
        raise Conflict(f"Operation cannot be fulfilled on {what}: the object has been modified; please apply your "
                       "changes to "
                       "the latest version and try again", details=details(served, name))
    if after.get("uid") and after["uid"] != before["uid"]:
        raise Conflict(f"Operation cannot be fulfilled on {what}: Precondition failed: UID in precondition: "
                       f"{after['uid']}, "
                       f"UID in object meta: {before['uid']}", details=details(served, name))
    metadata = {**{key: item for key, item in after.items() if key not in _SERVER_OWNED},
                **{key: before[key] for key in _SERVER_OWNED if key in before}, "name": name}
    if subresource == "status":
        return {**old, "metadata": _with_status(served, before, metadata),
                **({"status": new["status"]} if "status" in new else {})}
    merged = {**new, "metadata": metadata}
    if served.has_status:
        merged.pop("status", None)
        if "status" in old:
            merged["status"] = old["status"]
    if served.key == "namespaces" and subresource != "finalize":
        merged["spec"] = old.get("spec", {})
    if before.get("deletionTimestamp"):
        added = set(after.get("finalizers") or ()) - set(before.get("finalizers") or ())
        if added:
            raise Invalid(f"{served.resource.kind} {name!r} is invalid: metadata.finalizers: Forbidden: no new "
                          "finalizers can "
                          f"be added if the object is being deleted, found new finalizers {sorted(added)}")
    apply_defaults(served.key, merged)
    return merged


def _with_status(served: Served, before: Json, after: Json) -> Json:
    """The metadata that a write of the status leaves: all of it may change, but for what upstream's strategies keep
    (kubernetes: pkg/registry/*/strategy.go, apiextensions pkg/registry/customresource/status_strategy.go)."""
    if served.custom:
        return dict(before)
    for key in _KEPT_WITH_STATUS.get(served.key, ()):
        after.pop(key, None)
        if key in before:
            after[key] = before[key]
    return after


def bump_generation(served: Served, old: Json, new: Json) -> None:
    """A change of anything but metadata and status is a new generation."""
    if not served.generation:
        return
    ignored = ("metadata", "status") if served.has_status else ("metadata",)
    keys = (old.keys() | new.keys()) - set(ignored)
    deleted = new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp")
    if deleted or any(old.get(key) != new.get(key) for key in keys):
        new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1


def details(served: Served, name: str) -> Json:
    return {"name": name, "group": served.resource.group, "kind": served.resource.plural}
