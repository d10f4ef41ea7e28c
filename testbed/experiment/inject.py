"""One fault, now: what ``testbed inject`` does. An experiment of one step, without load, whose timeline is the answer.

A short name (``node-kill``) stands for a kind and an action; the rest is as in every experiment, so that the undo, the
journal and the result are the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput, Mistake, UsageError
from testbed.experiment.documents import Document, read_file
from testbed.experiment.embedded import check_fault, fault_kinds
from testbed.experiment.kind import API_VERSION, Experiment
from testbed.experiment.loading import LoadedExperiment

Json = dict[str, Any]
DEFAULT_DURATION = "20s"


def short_names() -> dict[str, tuple[str, str, str]]:
    """``pod-kill`` -> (apiVersion, kind, action). A kind without actions is named by its own word: ``freeze``."""
    found: dict[str, tuple[str, str, str]] = {}
    for (version, kind), (_, schema) in fault_kinds().items():
        spec = schema.get("properties", {}).get("spec", {}).get("properties", {})
        actions = spec.get("action", {}).get("enum") or [""]
        word = kind.removesuffix("Chaos").lower()
        for action in actions:
            name = word if not action else action if action.startswith(("pod-", "container-")) else f"{word}-{action}"
            found[name] = (version, kind, action)
    return found


def fault_object(
    name: str, *, labels: Mapping[str, str], pods: Mapping[str, list[str]] | None = None, mode: str = "one",
    value: str = "", duration: str = DEFAULT_DURATION, containers: tuple[str, ...] = (), namespace: str = "default",
) -> Json:
    """The fault object that a short name and flags stand for.

    Raises: UsageError for an unknown name or an empty selection.
    """
    known = short_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(f"there is no fault {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""),
                         hint="faults: " + ", ".join(sorted(known)))
    if not labels and not pods:
        raise UsageError("say whom to hit", hint="-l app=web, or --pod NAME")
    version, kind, action = known[name]
    selector: Json = {"namespaces": [namespace]}
    if labels:
        selector["labelSelectors"] = dict(labels)
    if pods:
        selector["pods"] = dict(pods)
    spec: Json = {"mode": mode, "selector": selector, "duration": duration}
    if action:
        spec["action"] = action
    if value:
        spec["value"] = value
    if containers:
        spec["containerNames"] = list(containers)
    return {"apiVersion": version, "kind": kind, "spec": spec}


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

    Raises: InvalidInput with all mistakes of the fault.
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
    experiment = Experiment.model_validate(
        {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": f"inject-{word}"}, "spec": spec})
    return LoadedExperiment(experiment, Path("inject"), (), {}, (), ())


def _refuse(document: Document) -> None:
    if not isinstance(document.value, Mapping):
        raise InvalidInput([document.mistake((), "expected a fault object")])
    mistakes = list(check_fault(document, ()))
    if mistakes:
        raise InvalidInput(mistakes)
