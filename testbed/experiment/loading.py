"""Reads an experiment and everything it names, and tells all mistakes at once.

Files are found relative to the experiment's own file. What a fault object may contain is known from the chaos daemon's
CustomResourceDefinitions; what a manifest may contain, from the API's views. Nothing here touches a cluster.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from faults.left_out import instead
from testbed.api.base import field_path
from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document, Location, read_file
from testbed.experiment.embedded import check_fault, fault_kinds
from testbed.experiment.kind import API_VERSION, KIND, MARKS, Experiment
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.manifests import check_manifests, near_kind, resource_of_kind
from testbed.experiment.objectives import Misspelt, Objective, parse_objective
from testbed.experiment.objectives_asked import objectives_of
from testbed.experiment.outline import outline
from testbed.load.locustfiles import examine_locustfile


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment without mistakes. ``manifests``: all documents of its workload, in order.

    ``applied``: documents of each ``apply`` step by the step's name. ``files``: all that were read, to be kept with the
    run.
    """

    experiment: Experiment
    file: Path
    manifests: tuple[dict[str, Any], ...]
    applied: Mapping[str, tuple[dict[str, Any], ...]]
    objectives: tuple[Objective, ...]
    files: tuple[Path, ...]

    @property
    def locustfile(self) -> Path | None:
        locust = self.experiment.spec.load.locust
        return self.file.parent / locust.file if locust else None


def load_experiment(
    file: Path, *, runs: int | None = None, seed: int | None = None, jitter_s: float | None = None
) -> LoadedExperiment:
    """Reads and checks ``file``; ``runs``, ``seed`` and ``jitter_s`` given on the command line replace its own.

    Raises: InvalidInput with every mistake in it and in the files it names.
    """
    documents = read_file(file)
    if len(documents) != 1:
        raise InvalidInput([Mistake(f"holds {len(documents)} documents, an experiment is one", file=str(file))])
    document = documents[0]
    _refuse_other_kinds(document)
    mistakes: list[Mistake] = []
    valid = _validate(document, mistakes)
    experiment = outline(document.value) if valid is None else _overridden(valid, runs, seed, jitter_s)
    mistakes += _check_steps(experiment, document)
    mistakes += _check_raw_faults(document)
    objectives = objectives_of(experiment, lambda index, words, near: document.mistake(
        ("spec", "objectives", index), words, suggestion=near), mistakes)
    if experiment.spec.budget is not None and experiment.spec.load.pulse is None:
        mistakes.append(document.mistake(("spec", "budget"), "needs load.pulse: nobody else counts requests"))
    mistakes += _check_state(experiment, document)
    manifests, applied, files = _read_manifests(experiment, document, file.parent, mistakes)
    mistakes += _check_names(experiment, document, manifests)
    if mistakes:
        raise InvalidInput(mistakes)
    return LoadedExperiment(experiment, file, manifests, applied, objectives, (file, *files))


def _refuse_other_kinds(document: Document) -> None:
    value = document.value
    if not isinstance(value, Mapping):
        raise InvalidInput([document.mistake((), "expected a mapping with apiVersion, kind, metadata and spec")])
    if "method" in value and "title" in value:
        raise InvalidInput([document.mistake((), "this is a Chaos Toolkit file, not an Experiment")])
    kind, version = str(value.get("kind")), str(value.get("apiVersion"))
    if reason := instead(version, kind):
        raise InvalidInput([document.mistake(("kind",), reason)])
    if (version, kind) in fault_kinds():
        raise InvalidInput([document.mistake(("kind",), "this is a fault, not an Experiment")],
                           hint=f"inject it: testbed inject -f {document.file}")
    if value.get("kind") != KIND or value.get("apiVersion") != API_VERSION:
        mistakes = []
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
            if value.get(key) != wanted:
                mistakes.append(document.mistake((key,), f"must be {wanted!r}, is {value.get(key)!r}",
                                                 suggestion=wanted if value.get(key) else ""))
        raise InvalidInput(mistakes)


# --- fields


def _validate(document: Document, mistakes: list[Mistake]) -> Experiment | None:
    try:
        return Experiment.model_validate(document.value)
    except ValidationError as error:
        mistakes.extend(pydantic_mistakes(error, Experiment, document))
        return None


def pydantic_mistakes(error: ValidationError, model: type[BaseModel], document: Document) -> list[Mistake]:
    """Each wrong field, with its line and, for an unknown name, the nearest known one."""
    mistakes: list[Mistake] = []
    meant: set[str] = set()
    for item in sorted(error.errors(), key=lambda item: item["type"] == "missing"):
        location: Location = tuple("json" if part == "json_" else part for part in item["loc"])
        message, suggestion = str(item["msg"]).removeprefix("Value error, "), ""
        if item["type"] == "extra_forbidden":
            known = _known_fields(model, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
            message, suggestion = "unknown field", near[0] if near else ""
            meant.add(field_path((*location[:-1], *near)))
        elif item["type"] == "missing":
            if field_path(location) in meant:
                continue  # it is there, under a misspelt name: one mistake, not two
            message = "is required"
        elif item["type"] == "literal_error":
            near = difflib.get_close_matches(str(item["input"]), _literals(str(item["ctx"]["expected"])), n=1)
            message, suggestion = f"must be {item['ctx']['expected']}", near[0] if near else ""
        mistakes.append(document.mistake(location, message[:1].lower() + message[1:], suggestion=suggestion))
    return mistakes


def _literals(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _known_fields(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields of the model that stands at ``location`` inside ``model``."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = next((item for name, item in current.model_fields.items() if (item.alias or name) == part), None)
        current = _model_in(field.annotation) if field is not None else None
    return [field.alias or name for name, field in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _overridden(
    experiment: Experiment, runs: int | None, seed: int | None, jitter_s: float | None
) -> Experiment:
    changes = {key: value for key, value in (("runs", runs), ("seed", seed), ("jitter", jitter_s)) if value is not None}
    return experiment.model_copy(update={"spec": experiment.spec.model_copy(update=changes)})


# --- what fields mean together


def _check_steps(experiment: Experiment, document: Document) -> Iterable[Mistake]:
    seen: list[str] = []
    for index, step in enumerate(experiment.spec.method):
        at: Location = ("spec", "method", index)
        if step.name in seen:
            yield document.mistake((*at, "name"), f"the name {step.name!r} stands twice")
        if step.after is not None:
            name, mark = step.awaited
            if name not in seen:
                near = difflib.get_close_matches(name, seen, n=1)
                yield document.mistake((*at, "after"), f"there is no earlier step {name!r}",
                                       suggestion=near[0] if near else "")
            if mark not in MARKS:
                near = difflib.get_close_matches(mark, MARKS, n=1)
                yield document.mistake((*at, "after"), f"{mark!r} is not a mark ({', '.join(MARKS)})",
                                       suggestion=near[0] if near else "")
        if step.if_ is not None:
            yield from _check_condition(step.if_, seen, document, (*at, "if"))
        targets = [pulse.called for pulse in experiment.spec.load.pulses]
        if step.pulse and step.pulse not in targets:
            near = difflib.get_close_matches(step.pulse, targets, n=1)
            yield document.mistake((*at, "pulse"), f"there is no pulse target {step.pulse!r}",
                                   suggestion=near[0] if near else "")
        if step.patch is not None and resource_of_kind(step.patch.kind) is None:
            yield document.mistake((*at, "patch", "kind"), f"unknown kind {step.patch.kind!r}",
                                   suggestion=near_kind(step.patch.kind))
        seen.append(step.name)


def _check_condition(text: str, earlier: list[str], document: Document, at: Location) -> Iterable[Mistake]:
    """What an ``if`` may ask: a value of one earlier step."""
    try:
        objective = parse_objective(text, earlier, 1)
    except ValueError as error:
        yield document.mistake(at, str(error), suggestion=error.suggestion if isinstance(error, Misspelt) else "")
        return
    if not objective.step or objective.needs_baseline:
        yield document.mistake(at, "must ask for a value of an earlier step: <step>.requests.failed.ratio < 1%")


def _check_state(experiment: Experiment, document: Document) -> Iterable[Mistake]:
    """Somebody must write, and each write must be told from every other."""
    state = experiment.spec.state
    if state is None:
        return
    called = {pulse.called: pulse for pulse in experiment.spec.load.pulses}
    if not called:
        yield document.mistake(("spec", "state"), "needs load.pulse: somebody must write")
    elif state.pulse and state.pulse not in called:
        near = difflib.get_close_matches(state.pulse, called, n=1)
        yield document.mistake(("spec", "state", "pulse"), f"there is no pulse target {state.pulse!r}",
                               suggestion=near[0] if near else "")
    else:
        writer = called[state.pulse] if state.pulse else experiment.spec.load.pulses[0]
        if state.id not in writer.path + writer.body:
            yield document.mistake(("spec", "state", "id"), f"{state.id} stands neither in the path nor in the body of "
                                   f"pulse {writer.called!r}")


def _check_raw_faults(document: Document) -> Iterable[Mistake]:
    """Fault objects are checked even where the experiment around them is wrong, so that all is told at once."""
    spec = document.value.get("spec")
    method = spec.get("method") if isinstance(spec, Mapping) else None
    for index, step in enumerate(method if isinstance(method, list) else ()):
        if isinstance(step, Mapping) and isinstance(step.get("fault"), Mapping):
            yield from check_fault(document, ("spec", "method", index, "fault"))


def _read_manifests(
    experiment: Experiment, document: Document, folder: Path, mistakes: list[Mistake]
) -> tuple[tuple[dict[str, Any], ...], dict[str, tuple[dict[str, Any], ...]], list[Path]]:
    files: list[Path] = []

    def read(name: str, at: Location) -> tuple[dict[str, Any], ...]:
        path = folder / name
        if not path.is_file():
            mistakes.append(document.mistake(at, f"there is no file {name!r} beside the experiment",
                                             suggestion=_near_file(path)))
            return ()
        files.append(path)
        try:
            documents = read_file(path)
        except InvalidInput as error:
            mistakes.extend(error.mistakes)
            return ()
        wrong = list(check_manifests(documents))
        mistakes.extend(wrong)
        return () if wrong else tuple(item.value for item in documents)

    manifests = [item for index, name in enumerate(experiment.spec.workload)
                 for item in read(name, ("spec", "workload", index))]
    applied = {step.name: read(step.apply, ("spec", "method", index, "apply"))
               for index, step in enumerate(experiment.spec.method) if step.apply is not None}
    locust = experiment.spec.load.locust
    if locust is not None:
        path = folder / locust.file
        if path.is_file():
            files.append(path)
            try:
                examine_locustfile(path)
            except InvalidInput as error:
                mistakes.extend(error.mistakes)
        else:
            mistakes.append(document.mistake(("spec", "load", "locust", "file"), f"there is no file {locust.file!r}",
                                             suggestion=_near_file(path)))
    return tuple(manifests), applied, files


def _near_file(path: Path) -> str:
    try:
        names = [item.name for item in path.parent.iterdir() if item.is_file()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return near[0] if near else ""


def _check_names(
    experiment: Experiment, document: Document, manifests: tuple[dict[str, Any], ...]
) -> Iterable[Mistake]:
    """Deployments and Services that are named must be in the workload, where the experiment brings one."""
    if not manifests:
        return
    names = {kind: [str(item["metadata"]["name"]) for item in manifests if item.get("kind") == kind]
             for kind in {str(item.get("kind")) for item in manifests}}
    for kind, name, at in _named(experiment, document):
        if name and name not in names.get(kind, ()):
            near = difflib.get_close_matches(name, names.get(kind, ()), n=1)
            yield document.mistake(at, f"the workload has no {kind} {name!r}", suggestion=near[0] if near else "")


def _pulse_places(experiment: Experiment, document: Document) -> Iterable[tuple[Location, PulseSpec]]:
    """Every pulse target and where it stands: it may be alone, or one of a list."""
    spec = document.value.get("spec")
    load = spec.get("load") if isinstance(spec, Mapping) else None
    many = isinstance(load, Mapping) and isinstance(load.get("pulse"), list)
    for index, pulse in enumerate(experiment.spec.load.pulses):
        yield ("spec", "load", "pulse", *((index,) if many else ())), pulse


def _named(experiment: Experiment, document: Document) -> Iterable[tuple[str, str, Location]]:
    spec = experiment.spec
    for at, pulse in _pulse_places(experiment, document):
        yield "Service", pulse.service, (*at, "service")
        yield "Ingress", pulse.ingress, (*at, "ingress")
    if spec.load.locust is not None:
        yield "Service", spec.load.locust.service, ("spec", "load", "locust", "service")
    for index, condition in enumerate(spec.steady_state):
        body = getattr(condition, "json_" if condition.kind == "json" else condition.kind)
        for field, kind in (("service", "Service"), ("ingress", "Ingress"), ("deployment", "Deployment")):
            if hasattr(body, field):
                yield kind, getattr(body, field), ("spec", "steadyState", index, condition.kind, field)
    for part in ("stored", "backlog"):
        asked = getattr(spec.state, part, None)
        if asked is not None:
            yield "Service", asked.service, ("spec", "state", part, "service")
            yield "Ingress", asked.ingress, ("spec", "state", part, "ingress")
    for index, step in enumerate(spec.method):
        for part in ("rollout", "scale"):
            value = getattr(step, part)
            if value is not None:
                yield "Deployment", value.deployment, ("spec", "method", index, part, "deployment")
        patched = resource_of_kind(step.patch.kind) if step.patch is not None else None
        if step.patch is not None and patched is not None and patched.namespaced:  # a Node is in no workload
            yield step.patch.kind, step.patch.name, ("spec", "method", index, "patch", "name")
