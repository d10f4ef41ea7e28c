"""Checks fault objects that stand inside an experiment against the chaos daemon's own schemas.

Only the shape is judged here; selection, blast radius and what this machine can do are the daemon's to refuse.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from faults.crd import definitions, schedule_definition
from faults.left_out import instead
from faults.registry import Registry
from faults.schedules import mistakes as schedule_mistakes
from testbed.api.resources import ResourceType
from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location
from testbed.experiment.kind import API_VERSION, KIND
from testbed.experiment.manifests import location_of

SCHEDULE = ("chaos-mesh.org/v1alpha1", "Schedule")


@cache
def fault_kinds() -> dict[tuple[str, str], tuple[ResourceType, dict[str, Any]]]:
    """Every fault kind by (apiVersion, kind): where it lives, and its JSON schema."""
    found: dict[tuple[str, str], tuple[ResourceType, dict[str, Any]]] = {}
    for definition in definitions(Registry().faults()):
        spec = definition["spec"]
        names = spec["names"]
        for version in spec["versions"]:
            resource = ResourceType(
                spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced",
                names.get("singular", ""), tuple(names.get("shortNames", ())),
            )
            schema = version.get("schema", {}).get("openAPIV3Schema", {})
            found[(resource.api_version, resource.kind)] = (resource, schema)
    return found


def fault_resource(fault: Mapping[str, Any]) -> ResourceType:
    """Where a checked fault object lives. Raises: KeyError when its kind is unknown."""
    return fault_kinds()[(str(fault["apiVersion"]), str(fault["kind"]))][0]


def check_fault(document: Document, at: Location) -> Iterable[Mistake]:
    """All mistakes of the fault object that stands at ``at``."""
    fault = document.part(at).value
    kinds = fault_kinds()
    key = (str(fault.get("apiVersion", "")), str(fault.get("kind", "")))
    if key not in kinds:
        yield _unknown(document, at, key, list(kinds))
        return
    wrong = list(_check_schema(document, at, fault, kinds[key][1]))
    yield from wrong
    if not wrong:
        for mistake in Registry().mistakes(fault):
            yield document.mistake((*at, *location_of(mistake.field)), mistake.message, suggestion=mistake.suggestion)


def misspelt_kind(document: Document) -> Mistake | None:
    """An object in the testbed's or Chaos Mesh's own version whose kind is none of theirs; None of all others."""
    version, kind = str(document.value.get("apiVersion")), str(document.value.get("kind"))
    known = [name for group, name in (*fault_kinds(), (API_VERSION, KIND), SCHEDULE) if group == version]
    if not known or kind in known or instead(version, kind):
        return None
    near = difflib.get_close_matches(kind.lower(), [name.lower() for name in known], n=1)
    meant = next((name for name in known if [name.lower()] == near), "")
    return document.mistake(("kind",), f"unknown kind {kind!r} in {version!r}", suggestion=meant)


def check_schedule(document: Document) -> Iterable[Mistake]:
    """All mistakes of a Schedule, and of the fault that it is to make."""
    definition = schedule_definition(Registry().faults())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    wrong = list(_check_schema(document, (), document.value, schema))
    yield from wrong
    if not wrong:
        for mistake in schedule_mistakes(document.value, Registry()):
            yield document.mistake(location_of(mistake.field), mistake.message, suggestion=mistake.suggestion)


def _unknown(document: Document, at: Location, key: tuple[str, str], known: list[tuple[str, str]]) -> Mistake:
    version, kind = key
    if not kind:
        return document.mistake((*at, "kind"), f"is required: one of {', '.join(sorted(k for _, k in known))}")
    if reason := instead(version, kind):
        return document.mistake((*at, "kind"), reason)
    same = [item for item in known if item[1] == kind]
    if same:
        return document.mistake((*at, "apiVersion"), f"there is no {kind} in {version!r}", suggestion=same[0][0])
    near = difflib.get_close_matches(kind, [item for _, item in known], n=1)
    return document.mistake((*at, "kind"), f"unknown fault kind {kind!r}", suggestion=near[0] if near else "")


def _check_schema(document: Document, at: Location, fault: Any, schema: dict[str, Any]) -> Iterable[Mistake]:
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    for error in validator.iter_errors(fault):
        location: Location = (*at, *error.absolute_path)
        suggestion = ""
        message = error.message
        if error.validator == "enum":
            wanted = [str(item) for item in error.validator_value]
            near = difflib.get_close_matches(str(error.instance), wanted, n=1)
            message, suggestion = f"must be one of {', '.join(wanted)}", near[0] if near else ""
        elif error.validator == "pattern" and location[-1:] == ("duration",):
            message = f"{error.instance!r} is not a duration; write 20s, 250ms or 1m30s"
        elif error.validator == "required":
            missing = next((key for key in error.validator_value if key not in error.instance), "")
            location, message = (*location, missing), "is required"
        yield document.mistake(location, message[:300], suggestion=suggestion)
    yield from _unknown_fields(document, at, fault, schema)


def _unknown_fields(document: Document, at: Location, value: Any, schema: Mapping[str, Any]) -> Iterable[Mistake]:
    """Names that no schema knows: the server would drop them without a word (kubernetes: pruning)."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_fields(document, (*at, index), item, schema.get("items") or {})
        return
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not properties or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for key, item in value.items():
        if key in properties:
            yield from _unknown_fields(document, (*at, key), item, properties[key])
        elif key not in ("apiVersion", "kind", "metadata"):
            near = difflib.get_close_matches(key, list(properties), n=1, cutoff=0.6)
            yield document.mistake((*at, key), "unknown field", suggestion=near[0] if near else "")
