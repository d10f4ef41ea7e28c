"""One fault, now: what ``testbed inject`` does. An experiment of one step, without load, whose timeline is the answer.

A short name (``node-kill``) stands for a kind and an action; the rest is as in every experiment, so that the undo, the
journal and the result are the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faults import fields, naming
from faults.blast_radius import MAX_NODES, MAX_PODS
from faults.choosing import SEED
from faults.following import FOLLOW
from faults.protocol import Fault
from faults.registry import Registry
from testbed.api.labels import ZONE
from testbed.errors import InvalidInput, Mistake, UsageError
from testbed.experiment.documents import Document, read_file
from testbed.experiment.embedded import check_fault, fault_kinds
from testbed.experiment.field_mistakes import pydantic_mistakes
from testbed.experiment.kind import API_VERSION, Experiment
from testbed.experiment.loading import LoadedExperiment

Json = dict[str, Any]
DEFAULT_DURATION = "20s"


@dataclass(frozen=True)
class Whom:
    """Whom a fault is meant to hit. ``pods``: names in ``namespace``."""

    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    pods: Sequence[str] = ()
    nodes: Sequence[str] = ()
    zone: str = ""
    containers: Sequence[str] = ()
    mode: str = "one"
    value: str = ""

    def selector(self) -> Json:
        found: Json = {}
        if self.labels or self.pods:
            found["namespaces"] = [self.namespace]
        if self.labels:
            found["labelSelectors"] = dict(self.labels)
        if self.pods:
            found["pods"] = {self.namespace: list(self.pods)}
        if self.nodes:
            found["nodes"] = list(self.nodes)
        if self.zone:
            found["nodeSelectors"] = {ZONE: self.zone}
        return found


def named_fault(name: str) -> Fault:
    """By its short name. Raises: UsageError with the nearest one."""
    faults = Registry().faults()
    found = naming.named(faults, name)
    if found is None:
        near = naming.nearest(faults, name)
        raise UsageError(f"there is no fault {name!r}" + (f" (did you mean {near!r}?)" if near else ""),
                         hint="faults: " + ", ".join(sorted(map(naming.short_name, faults))))
    return found


def fault_object(name: str, whom: Whom, *, duration: str = DEFAULT_DURATION, settings: Sequence[str] = ()) -> Json:
    """The fault object that a short name and flags stand for. Without settings it has the fields of the fault's
    example, so that every fault can be tried by its name alone.

    Args: settings: ``delay.latency=100ms``, each by its path in the object's spec.

    Raises: UsageError for an unknown name or an empty selection; InvalidInput for settings that are none.
    """
    fault = named_fault(name)
    spec: Json = {"action": fault.action} if fault.action else {}
    if fault.level != "cluster":
        selector = whom.selector()
        if not selector:
            more = ", --node NAME or --zone ZONE" if fault.level == "node" else ""
            raise UsageError("say whom to hit", hint=f"-l app=web, --pod NAME{more}")
        spec |= {"mode": whom.mode, "selector": selector} | ({"value": whom.value} if whom.value else {})
    if fault.reversible:
        spec["duration"] = duration
    if whom.containers:
        spec["containerNames"] = list(whom.containers)
    if not settings:
        spec |= fault.example
    api_version = fault.kind.api_version
    _set(spec, fault_kinds()[api_version, fault.kind.kind][1]["properties"]["spec"], settings)
    return {"apiVersion": api_version, "kind": fault.kind.kind, "spec": spec}


def _set(spec: Json, schema: Json, settings: Sequence[str]) -> None:
    mistakes = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not path=value", hint="--set delay.latency=100ms")
        try:
            fields.put(spec, schema, path.strip(), text)
        except fields.WrongField as wrong:
            mistakes.append(wrong.mistake)
    if mistakes:
        raise InvalidInput(mistakes)


def annotate(
    fault: Json, *, max_pods: str = "", max_nodes: str = "", seed: str = "", follow: bool = False
) -> None:
    """Puts flags on a fault object as the annotations that they stand for. A seed is drawn where there is none, so that
    it can be told and the same targets drawn again."""
    told = {MAX_PODS: max_pods, MAX_NODES: max_nodes, SEED: seed, FOLLOW: "true" if follow else ""}
    metadata = fault.setdefault("metadata", {})
    metadata["annotations"] = {SEED: secrets.token_hex(4), **(metadata.get("annotations") or {}),
                               **{key: text for key, text in told.items() if text}}


def read_fault(file: Path) -> Json:
    """A fault object from a file. Raises: InvalidInput with all its mistakes."""
    documents = read_file(file)
    if len(documents) != 1:
        raise InvalidInput([Mistake(f"holds {len(documents)} documents, one fault is wanted", file=str(file))])
    _refuse(documents[0])
    fault: Json = documents[0].value
    return fault


def injection(
    fault: Json, *, namespace: str = "default", watch_s: float = 60.0, step: str = "", load: Json | None = None
) -> LoadedExperiment:
    """The experiment that injects ``fault`` once, now.

    Args:
        watch_s: how long to wait for the cluster to be as desired again. load: as in an experiment, none by default.

    Raises: InvalidInput with all mistakes of the fault, else with those of what was asked around it.
    """
    _refuse(Document(fault, "fault"))
    action = str((fault.get("spec") or {}).get("action") or "")
    word = step or action or str(fault["kind"]).removesuffix("Chaos").lower()
    spec: Json = {
        "namespace": namespace, "jitter": 0, "observe": "1s",
        "method": [{"name": word, "fault": fault, "timeout": watch_s}],
    }
    if load:
        spec["load"] = load
    document = Document(
        {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": f"inject-{word}"}, "spec": spec})
    try:
        experiment = Experiment.model_validate(document.value)
    except ValidationError as error:
        raise InvalidInput(pydantic_mistakes(error, Experiment, document)) from error
    return LoadedExperiment(experiment, Path("inject"), (), {}, (), ())


def _refuse(document: Document) -> None:
    if not isinstance(document.value, Mapping):
        raise InvalidInput([document.mistake((), "expected a fault object")])
    mistakes = list(check_fault(document, ()))
    if mistakes:
        raise InvalidInput(mistakes)
