"""Results on disk: a run's folder holds ``result.json``; with several variants ``study.json`` and a folder for each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.result import Result, Study


def keep_inputs(loaded: LoadedExperiment, folder: Path) -> None:
    """The files as they were: a result without them cannot be repeated."""
    inputs = folder / "manifests"
    inputs.mkdir(exist_ok=True)
    for file in loaded.files:
        shutil.copyfile(file, inputs / file.name)


def write_result(result: Result, folder: Path) -> Path:
    """``result.json`` in the run's folder. Raises: EnvironmentProblem when it cannot be written."""
    path = folder / "result.json"
    _write(path, result.to_json())
    return path


def read_result(folder: Path) -> Result:
    """Raises: InvalidInput when there is no result of this version in ``folder``."""
    path = folder / "result.json"
    try:
        return Result.from_json(_json(path))
    except ValueError as error:
        raise _not_of_this_version(path, error) from None


def write_study(study: Study, folder: Path) -> None:
    """``study.json`` beside its variants' folders, which hold their results. Raises: as ``write_result``."""
    value = study.to_json()
    for variant in value["variants"]:
        del variant["result"]
    _write(folder / "study.json", value)


def read_study(folder: Path) -> Study:
    """Raises: InvalidInput when there is no whole study of this version in ``folder``."""
    path = folder / "study.json"
    value = _json(path)
    try:
        for variant in value["variants"]:
            variant["result"] = _json(folder / variant["folder"] / "result.json")
        return Study.from_json(value)
    except (ValueError, LookupError, TypeError) as error:
        raise _not_of_this_version(path, error) from None


def _write(path: Path, value: dict[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".json.new")
    try:
        temporary.write_text(json.dumps(value, ensure_ascii=False))
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InvalidInput(f"{path.parent.name} has no result", hint="see its journal.json for how far it came") \
            from None
    except ValueError as error:
        raise _not_of_this_version(path, error) from None


def _not_of_this_version(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(f"{path} is not a result of this version: {str(error).splitlines()[0]}")
