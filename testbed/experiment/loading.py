"""Reads an experiment and everything it names, and tells all mistakes at once.

Files are found relative to the experiment's own file. What a fault object may contain is known from the chaos daemon's
CustomResourceDefinitions; what a manifest may contain, from the API's views; what fields mean together, says
``relations.py``. Nothing here touches a cluster.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faults.left_out import instead
from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document, Location, read_file
from testbed.experiment.embedded import check_fault, fault_kinds
from testbed.experiment.field_mistakes import pydantic_mistakes
from testbed.experiment.kind import API_VERSION, KIND, Experiment, ExperimentSpec
from testbed.experiment.manifests import check_manifests
from testbed.experiment.objectives import Objective
from testbed.experiment.objectives_asked import objectives_of
from testbed.experiment.outline import outline
from testbed.experiment.relations import check_names, check_state, check_steps
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

    Raises: InvalidInput with every mistake in it, in the files it names and in what was given.
    """
    documents = read_file(file)
    if len(documents) != 1:
        raise InvalidInput([Mistake(f"holds {len(documents)} documents, an experiment is one", file=str(file))])
    document = documents[0]
    _refuse_other_kinds(document)
    mistakes: list[Mistake] = []
    given = {key: value for key, value in (("runs", runs), ("seed", seed), ("jitter", jitter_s)) if value is not None}
    mistakes += _mistakes_of_given(given)
    valid = _validate(document, mistakes)
    experiment = outline(document.value) if valid is None else valid.model_copy(
        update={"spec": valid.spec.model_copy(update=given)})
    mistakes += check_steps(experiment, document)
    mistakes += _check_raw_faults(document)
    objectives = objectives_of(experiment, lambda index, words, near: document.mistake(
        ("spec", "objectives", index), words, suggestion=near), mistakes)
    if experiment.spec.budget is not None and experiment.spec.load.pulse is None:
        mistakes.append(document.mistake(("spec", "budget"), "needs load.pulse: nobody else counts requests"))
    mistakes += check_state(experiment, document)
    manifests, applied, files = _read_manifests(experiment, document, file.parent, mistakes)
    mistakes += check_names(experiment, document, manifests)
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


def _validate(document: Document, mistakes: list[Mistake]) -> Experiment | None:
    try:
        return Experiment.model_validate(document.value)
    except ValidationError as error:
        mistakes.extend(pydantic_mistakes(error, Experiment, document))
        return None


def _mistakes_of_given(given: Mapping[str, Any]) -> list[Mistake]:
    """What stands on the command line is judged as the same field of a file is, in the same words."""
    document = Document({"method": [{"name": "any", "wait": 0}], **given})
    try:
        ExperimentSpec.model_validate(document.value)
    except ValidationError as error:
        return [replace(mistake, field=f"--{mistake.field}")
                for mistake in pydantic_mistakes(error, ExperimentSpec, document)]
    return []


# --- what it names


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
