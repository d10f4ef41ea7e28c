"""The published JSON schema of the kind Experiment, for editors, and its CustomResourceDefinition, for the API."""

from __future__ import annotations

from typing import Any

from testbed.api.resources import ResourceType
from testbed.experiment.kind import Experiment
from testbed.experiment.result import result_schema, study_schema

__all__ = ["EXPERIMENTS", "experiment_definition", "experiment_schema", "result_schema",
           "study_schema"]

EXPERIMENTS = ResourceType(
    "testbed.io", "v1alpha1", "experiments", "Experiment", True, "experiment", ("exp",),
)


def experiment_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of an experiment file."""
    schema = Experiment.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "testbed experiment"}


def experiment_definition() -> dict[str, Any]:
    """The CustomResourceDefinition. Its schema is loose inside ``spec``: files are checked before they get here."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{EXPERIMENTS.plural}.{EXPERIMENTS.group}"},
        "spec": {
            "group": EXPERIMENTS.group, "scope": "Namespaced",
            "names": {"kind": EXPERIMENTS.kind, "plural": EXPERIMENTS.plural, "singular": EXPERIMENTS.singular,
                      "shortNames": list(EXPERIMENTS.short_names), "listKind": "ExperimentList"},
            "versions": [{
                "name": EXPERIMENTS.version, "served": True, "storage": True, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
                    {"name": "Run", "type": "integer", "jsonPath": ".status.run.number"},
                    {"name": "Step", "type": "string", "jsonPath": ".status.run.step"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }},
            }],
        },
    }
