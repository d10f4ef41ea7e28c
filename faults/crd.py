"""The CustomResourceDefinitions of the fault kinds, which the chaos daemon registers when it starts.

PodChaos has the fields of Chaos Mesh's own (chaos-mesh config/crd/bases/chaos-mesh.org_podchaos.yaml), so that its
files are accepted unchanged; FreezeChaos and NodeChaos are of our group and have the same common fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults.durations import PATTERN
from faults.selection import MODES, OPERATORS
from testbed.api.resources import FREEZE_CHAOS, NODE_CHAOS, POD_CHAOS, ResourceType

Json = dict[str, Any]

FINALIZER = "chaos-mesh/records"
PAUSE = "experiment.chaos-mesh.org/pause"

KINDS: tuple[ResourceType, ...] = (POD_CHAOS, FREEZE_CHAOS, NODE_CHAOS)

_STRING: Json = {"type": "string"}
_STRINGS: Json = {"type": "array", "items": _STRING}
_STRING_MAP: Json = {"type": "object", "additionalProperties": _STRING}


def _described(schema: Mapping[str, Any], text: str) -> Json:
    return {**schema, "description": text}


def _selector() -> Json:
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


def _common() -> Json:
    return {
        "selector": _selector(),
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


def _definition(resource: ResourceType, spec: Json, required: list[str], columns: list[Json]) -> Json:
    schema = {
        "type": "object", "required": ["spec"],
        "properties": {
            "apiVersion": _STRING, "kind": _STRING, "metadata": {"type": "object"},
            "spec": {"type": "object", "required": required, "properties": spec}, "status": _status(),
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


def definitions() -> tuple[Json, ...]:
    """One CustomResourceDefinition for each of ``KINDS``."""
    tail = [_column("Duration", ".spec.duration"),
            _column("Injected", '.status.conditions[?(@.type=="AllInjected")].status'),
            _column("Recovered", '.status.conditions[?(@.type=="AllRecovered")].status'),
            _column("Age", ".metadata.creationTimestamp", "date")]
    action = _column("Action", ".spec.action")
    pod = {
        "action": {"type": "string", "enum": ["pod-kill", "pod-failure", "container-kill"]},
        "gracePeriod": {"type": "integer", "format": "int64", "minimum": 0,
                        "description": "Seconds that pod-kill leaves the pod; 0: none."},
        **_common(),
    }
    node = {
        "action": {"type": "string", "enum": ["kill", "freeze", "partition"],
                   "description": "kill: the power goes off; freeze: everything on it stops; partition: its cable to "
                                  "the API is cut and its containers go on."},
        **_common(),
    }
    return (
        _definition(POD_CHAOS, pod, ["action", "mode", "selector"], [action, *tail]),
        _definition(FREEZE_CHAOS, _common(), ["mode", "selector"], tail),
        _definition(NODE_CHAOS, node, ["action", "mode", "selector"], [action, *tail]),
    )
