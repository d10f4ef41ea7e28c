"""Results on disk: a run's folder holds ``result.json``; with several variants ``study.json`` and a folder for each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.reading import result_of, study_of
from testbed.experiment.result import Result, Study


def make_run_folder(folder: Path) -> None:
    """A folder that only its user reads: results hold what a cluster logged. Raises: EnvironmentProblem."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EnvironmentProblem(f"the run's folder {folder} cannot be made: {error.strerror}",
                                 hint="give another one: --out FOLDER") from error


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
    return result_of(_text(path), path)


def write_study(study: Study, folder: Path) -> None:
    """``study.json`` beside its variants' folders, which hold their results. Raises: as ``write_result``."""
    value = study.to_json()
    for variant in value["variants"]:
        del variant["result"]
    _write(folder / "study.json", value)


def read_study(folder: Path) -> Study:
    """Raises: InvalidInput when there is no whole study of this version in ``folder``."""
    path = folder / "study.json"
    return study_of(_text(path), lambda variant: _text(folder / variant / "result.json"), path)


def _write(path: Path, value: dict[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".json.new")
    try:
        temporary.write_text(json.dumps(value, ensure_ascii=False))
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput(f"{path.parent.name} has no result", hint="see its journal.json for how far it came") \
            from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
