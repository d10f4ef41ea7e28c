"""The CustomResourceDefinitions of the fault kinds, which the chaos daemon registers when it starts.

Chaos Mesh's kinds have the fields of its own definitions (chaos-mesh config/crd/bases), so that its files are accepted
unchanged; kinds of our group have the same common fields. What a fault has beside them is said by the fault itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faults.durations import PATTERN
from faults.kinds import SCHEDULE
from faults.protocol import Fault, Json
from faults.selection import MODES, OPERATORS
from testbed.api.resources import ResourceType

FINALIZER = "chaos-mesh/records"
PAUSE = "experiment.chaos-mesh.org/pause"

_STRING: Json = {"type": "string"}
_STRINGS: Json = {"type": "array", "items": _STRING}
_STRING_MAP: Json = {"type": "object", "additionalProperties": _STRING}


def _described(schema: Mapping[str, Any], text: str) -> Json:
    return {**schema, "description": text}


def selector() -> Json:
    expression = {
        "type": "object", "required": ["key", "operator"],
        "properties": {"key": _STRING, "operator": {"type": "string", "enum": list(OPERATORS)}, "values": _STRINGS},
    }
    return {
        "type": "object",
        "description": "Which pods are hit. All parts must hold.",
        "properties": {
            "namespaces": _described(_STRINGS, "Namespaces of the pods; default: the object's own."),
            "labelSelectors": _described(_STRING_MAP, "Labels that pods must have."),
            "expressionSelectors": {"type": "array", "items": expression},
            "annotationSelectors": _STRING_MAP,
            "fieldSelectors": _described(_STRING_MAP, "Fields of the pod, such as status.phase or spec.nodeName."),
            "nodes": _described(_STRINGS, "Names of nodes that pods run on."),
            "nodeSelectors": _described(_STRING_MAP, "Labels of nodes that pods run on."),
            "pods": {"type": "object", "additionalProperties": _STRINGS,
                     "description": "Names of pods, by namespace."},
            "podPhaseSelectors": _STRINGS,
        },
    }


def common() -> Json:
    return {
        "selector": selector(),
        "mode": {"type": "string", "enum": list(MODES), "description": "How many of what was selected are hit."},
        "value": {"type": "string", "description": "For the modes fixed, fixed-percent and random-max-percent."},
        "duration": {"type": "string", "pattern": PATTERN, "maxLength": 64,
                     "description": "How long it is held, such as 20s; without it until the object is deleted, "
                                    "but never longer than an hour."},
        "containerNames": _described(_STRINGS, "Containers that are hit; default: all of the pod's."),
        "remoteCluster": _STRING,
    }


def _status() -> Json:
    event = {
        "type": "object", "required": ["operation", "timestamp", "type"],
        "properties": {
            "operation": {"type": "string", "enum": ["Apply", "Recover"]},
            "type": {"type": "string", "enum": ["Started", "Succeeded", "Failed"]},
            "message": _STRING, "timestamp": {"type": "string", "format": "date-time"},
            "monotonicNs": {"type": "integer", "format": "int64",
                            "description": "CLOCK_MONOTONIC of the machine: Started just before the act, Succeeded "
                                           "when it was seen to be in effect or taken back."},
        },
    }
    record = {
        "type": "object", "required": ["id", "injectedCount", "phase", "recoveredCount", "selectorKey"],
        "properties": {
            "id": _STRING, "selectorKey": _STRING, "phase": _STRING, "injectedCount": {"type": "integer"},
            "recoveredCount": {"type": "integer"}, "events": {"type": "array", "items": event},
            "node": _STRING, "podUID": _STRING, "containerID": _STRING,
            "deadlineNs": {"type": "integer", "format": "int64",
                           "description": "CLOCK_MONOTONIC of the machine: by then it is taken back, whatever dies."},
            "oneShot": {"type": "boolean",
                        "description": "Done once and over then, such as a kill: Injected, it is no longer in effect."},
        },
    }
    found = {
        "type": "object", "required": ["status", "type"],
        "properties": {"type": _STRING, "status": _STRING, "reason": _STRING, "message": _STRING},
    }
    experiment = {
        "type": "object",
        "properties": {
            "desiredPhase": {"type": "string", "enum": ["Run", "Stop"]},
            "containerRecords": {"type": "array", "items": record},
        },
    }
    return {"type": "object",
            "properties": {"conditions": {"type": "array", "items": found}, "experiment": experiment}}


def _definition(
    resource: ResourceType, spec: Json, required: list[str], columns: list[Json], status: Json | None = None,
) -> Json:
    schema = {
        "type": "object", "required": ["spec"],
        "properties": {
            "apiVersion": _STRING, "kind": _STRING, "metadata": {"type": "object"},
            "spec": {"type": "object", "required": required, "properties": spec}, "status": status or _status(),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group, "scope": "Namespaced",
            "names": {"kind": resource.kind, "listKind": f"{resource.kind}List", "plural": resource.plural,
                      "singular": resource.plural, "categories": ["chaos"]},
            "versions": [{
                "name": resource.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}}, "additionalPrinterColumns": columns,
            }],
        },
    }


def _column(name: str, path: str, kind: str = "string") -> Json:
    return {"name": name, "type": kind, "jsonPath": path}


def definitions(faults: Iterable[Fault]) -> tuple[Json, ...]:
    """One CustomResourceDefinition for each kind that some of these faults serve, with the fields of all of them."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind.group_resource, []).append(fault)
    return tuple(_of_kind(kinds[key]) for key in sorted(kinds))


def schedule_definition(faults: Iterable[Fault]) -> Json:
    """Of Schedules: a body for each kind, under its own key (``podChaos``), in its kind's own schema."""
    kinds = {definition["spec"]["names"]["kind"]: definition for definition in definitions(faults)}
    bodies = {body_key(kind): _spec_schema(definition) for kind, definition in kinds.items()}
    reference = {"type": "object", "properties": {
        name: _STRING for name in ("apiVersion", "kind", "name", "namespace", "uid")}}
    status = {"type": "object", "properties": {
        "active": {"type": "array", "items": reference}, "time": {"type": "string", "format": "date-time"}}}
    own: Json = {
        "schedule": _described(_STRING, "Cron, with optional seconds, or @every 5s."),
        "type": {"type": "string", "enum": sorted(kinds), "description": "The kind that is made."},
        "concurrencyPolicy": {"type": "string", "enum": ["Forbid", "Allow"], "description":
                              "Whether one is made while an earlier one is in effect; default Forbid."},
        "historyLimit": {"type": "integer", "minimum": 1, "description": "How many ended ones are kept; default 1."},
        "startingDeadlineSeconds": {"type": "integer", "format": "int64", "minimum": 0,
                                    "description": "A time missed by more than this is left out."},
    }
    columns = [_column("Schedule", ".spec.schedule"), _column("Type", ".spec.type"), _column("Last", ".status.time"),
               _column("Age", ".metadata.creationTimestamp", "date")]
    return _definition(SCHEDULE, {**own, **bodies}, ["schedule", "type"], columns, status)


def body_key(kind: str) -> str:
    """``podChaos`` for PodChaos, ``dnsChaos`` for DNSChaos, ``ioChaos`` for IOChaos (chaos-mesh: the json tags of
    api/v1alpha1/schedule_types.go)."""
    capitals = len(kind) - len(kind.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    small = max(1, capitals - 1)
    return kind[:small].lower() + kind[small:]


def _spec_schema(definition: Json) -> Json:
    found: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def _of_kind(faults: list[Fault]) -> Json:
    actions = sorted(fault.action for fault in faults if fault.action)
    fields: Json = {name: dict(schema) for fault in faults for name, schema in fault.fields.items()}
    required = set.intersection(*(set(fault.required) for fault in faults))
    columns: list[Json] = []
    if actions:
        told = "; ".join(f"{fault.action}: {fault.summary}" for fault in faults)
        left_out = sorted({action for fault in faults for action in fault.left_out})  # refused with the reason, later
        fields["action"] = {"type": "string", "enum": [*actions, *left_out], "description": told}
        required.add("action")
        columns.append(_column("Action", ".spec.action"))
    if any(fault.level != "cluster" for fault in faults):
        required |= {"mode", "selector"}
    tail = [_column("Duration", ".spec.duration"),
            _column("Injected", '.status.conditions[?(@.type=="AllInjected")].status'),
            _column("Recovered", '.status.conditions[?(@.type=="AllRecovered")].status'),
            _column("Age", ".metadata.creationTimestamp", "date")]
    return _definition(faults[0].kind, {**common(), **fields}, sorted(required), [*columns, *tail])
