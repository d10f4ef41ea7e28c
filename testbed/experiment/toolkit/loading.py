"""Reads a Chaos Toolkit experiment and everything that its configuration names, and tells all mistakes at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document, read_file
from testbed.experiment.toolkit import checking
from testbed.experiment.toolkit.configuration import is_dynamic, load_configuration, load_secrets
from testbed.experiment.toolkit.controls import function_name
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.values import (
    MISSPELT,
    Activity,
    Control,
    Hypothesis,
    Json,
    Options,
    ToolkitExperiment,
)
from testbed.experiment.toolkit.vault import read_secret, vault_is_possible


def is_toolkit(value: Any) -> bool:
    """Whether a document is a Chaos Toolkit experiment (or means to be one)."""
    return isinstance(value, Mapping) and "apiVersion" not in value and (
        "method" in value or "steady-state-hypothesis" in value)


def is_toolkit_file(file: Path) -> bool:
    """Raises: InvalidInput when it cannot be read."""
    documents = read_file(file)
    return len(documents) == 1 and is_toolkit(documents[0].value)


def load_toolkit(file: Path, options: Options | None = None, environment: Mapping[str, str] | None = None
                 ) -> ToolkitExperiment:
    """Reads and checks ``file``. Modules beside it can be imported from then on.

    Raises: InvalidInput with every mistake.
    """
    options = options or Options()
    _find_modules_beside(file)
    _around_loading(options.global_controls, "before", context=str(file))
    documents = read_file(file)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise InvalidInput([Mistake("holds no Chaos Toolkit experiment", file=str(file))])
    document = documents[0]
    mistakes: list[Mistake] = []
    scope = _known(document, options, os.environ if environment is None else environment, mistakes)
    mistakes += checking.check(document, scope)
    if mistakes:
        raise InvalidInput(mistakes)
    _around_loading(options.global_controls, "after", context=str(file), state=document.value)
    return _experiment(document, file, options)


def load_scope(experiment: ToolkitExperiment, options: Options, environment: Mapping[str, str] | None = None) -> Scope:
    """Its configuration and secrets, Vault asked; probes among the configuration are left as they are written.

    Raises: InvalidInput; EnvironmentProblem when Vault does not answer.
    """
    document = Document(experiment.raw, str(experiment.file))
    given = os.environ if environment is None else environment
    mistakes: list[Mistake] = []
    configuration = load_configuration(document, options.variables, given, mistakes)
    secrets = load_secrets(document, options.secret_variables, given, configuration, mistakes, read_secret)
    if mistakes:
        raise InvalidInput(mistakes)
    return Scope(configuration, secrets)


def read_controls(files: Iterable[Path]) -> tuple[Control, ...]:
    """The controls of ``--control-file``: a mapping of names to controls. Raises: InvalidInput."""
    found = []
    mistakes: list[Mistake] = []
    for file in files:
        _find_modules_beside(file)
        for document in read_file(file):
            if not isinstance(document.value, dict) or not all(
                    isinstance(item, dict) for item in document.value.values()):
                mistakes.append(document.mistake((), "expected a mapping of names to controls"))
                continue
            for name, raw in document.value.items():
                control = {**raw, "name": name}
                mistakes += [document.mistake((name, *at), what) for at, what in checking.wrong_with_control(control)]
                found.append(control)
    if mistakes:
        raise InvalidInput(mistakes)
    return tuple(map(_control, found))


def _known(document: Document, options: Options, environment: Mapping[str, str], mistakes: list[Mistake]) -> Scope:
    """What can be known without running or asking anything."""
    configuration = load_configuration(document, options.variables, environment, mistakes)
    secrets = load_secrets(document, options.secret_variables, environment, configuration, mistakes)
    if _uses_vault(document.value.get("secrets")) and not vault_is_possible():
        mistakes.append(document.mistake(("secrets",), "secrets of type vault need the package hvac: pip install hvac"))
    return Scope({key: value for key, value in configuration.items() if not is_dynamic(value)},
                 {key: value for key, value in secrets.items() if value is not None})


def _uses_vault(secrets: Any) -> bool:
    return isinstance(secrets, dict) and (
        secrets.get("type") == "vault" or any(map(_uses_vault, secrets.values())))


def _find_modules_beside(file: Path) -> None:
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def _around_loading(controls: Iterable[Control], when: str, **given: Any) -> None:
    """Only controls of ``--control-file`` are there before the experiment is. Raises: InvalidInput."""
    import importlib

    for control in controls:
        function = getattr(importlib.import_module(control.module), function_name("loader", when), None)
        try:
            if function is not None and control.scope in ("", when):
                function(**given)
        except Exception as error:
            raise InvalidInput(f"control {control.name} refuses the experiment: {error}") from error


# --- values


def _experiment(document: Document, file: Path, options: Options) -> ToolkitExperiment:
    raw: Json = document.value
    names = checking.names_of(raw)
    top = tuple(map(_control, raw.get("controls") or ()))
    by_name = {control.name: control for control in top}

    def activities(items: Iterable[Json]) -> tuple[Activity, ...]:
        return tuple(_activity(item, names, by_name) for item in items)

    hypothesis = None
    said = raw.get("steady-state-hypothesis")
    if said is not None:
        hypothesis = Hypothesis(str(said["title"]), activities(said.get("probes") or ()),
                                _controls(said, by_name), said)
    runtime = raw.get("runtime") or {}
    strategy = options.hypothesis or (runtime.get("hypothesis") or {}).get("strategy", "default")
    return ToolkitExperiment(
        title=str(raw["title"]), file=file, raw=raw, hypothesis=hypothesis,
        method=activities(raw["method"] or ()), rollbacks=activities(raw.get("rollbacks") or ()), controls=top,
        hypothesis_strategy=MISSPELT.get(strategy, strategy),
        rollback_strategy=options.rollbacks or (runtime.get("rollbacks") or {}).get("strategy", "default"))


def _activity(item: Json, names: Mapping[str, Json], top: Mapping[str, Control]) -> Activity:
    """``item`` itself or what it refers to; its place decides the tolerance and whether it is in the background."""
    raw = names[item["ref"]] if "ref" in item else item
    pauses = raw.get("pauses") or {}
    return Activity(
        name=str(raw["name"]), kind=raw["type"], provider=raw["provider"], raw=raw,
        has_tolerance="tolerance" in item, tolerance=item.get("tolerance"),
        background=bool(item.get("background", False)), pause_before=pauses.get("before"),
        pause_after=pauses.get("after"), dry=raw.get("dry"), controls=_controls(raw, top))


def _controls(part: Json, top: Mapping[str, Control]) -> tuple[Control, ...]:
    return tuple(top[item["ref"]] if "ref" in item else _control(item) for item in part.get("controls") or ())


def _control(raw: Json) -> Control:
    provider = raw["provider"]
    return Control(str(raw["name"]), str(provider["module"]), dict(provider.get("arguments") or {}),
                   str(raw.get("scope") or ""), bool(raw.get("automatic", True)), raw)
