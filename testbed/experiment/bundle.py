"""One file with everything of a run, so that a bad run can be studied elsewhere; and how such a file is opened.

It holds the folder of the run (results with events, samples, logs of what was disrupted, journal, manifests) and what
the machine said of itself. Secrets are taken out of all of it (`redaction.py`). Reading unpacks nothing to disk and
believes nothing: names and sizes in the file are checked.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.experiment.documents import read_file as read_documents
from testbed.experiment.reading import result_of, study_of
from testbed.experiment.redaction import redact_manifest, redact_text, secrets_of
from testbed.experiment.result import Result, Study

LARGEST_FILE_BYTES: Final = 64 << 20  # of one run: samples of hours
LARGEST_RESULT_BYTES: Final = 256 << 20
MANIFEST_ENDINGS: Final = (".yaml", ".yml", ".json")
LEFT_OUT: Final = (".html",)  # drawn from the result again; they would hold everything once more


def write_bundle(folder: Path, out: Path, more: Mapping[str, str]) -> int:
    """Writes the bundle of the run in ``folder``; returns how many files are in it.

    Args: more: texts to put beside it, by name (``doctor.txt``, ``versions.json``).

    Raises: EnvironmentProblem when it cannot be written.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in LEFT_OUT]
    secrets = secrets_of(value for path in files for value in _objects(path))
    temporary = out.with_name(out.name + ".new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(temporary, "w:gz") as archive:
            for name, text in _texts(folder, files, secrets):
                _add(archive, f"{folder.name}/{name}", text)
            for name, text in more.items():
                _add(archive, f"{folder.name}/{name}", redact_text(text, secrets))
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentProblem(f"{out} cannot be written: {error.strerror or error}") from error
    return len(files) + len(more)


def _texts(folder: Path, files: list[Path], secrets: frozenset[str]) -> Iterator[tuple[str, str]]:
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > LARGEST_FILE_BYTES:
            yield f"{name}.left-out", f"{path.stat().st_size} bytes: too large for a bundle\n"
            continue
        objects = _objects(path)
        if objects:
            yield name, "---\n".join(_yaml(redact_text_in(redact_manifest(value), secrets)) for value in objects)
        elif path.suffix == ".json":
            yield name, json.dumps(redact_text_in(_json(path), secrets), ensure_ascii=False)
        else:
            yield name, redact_text(path.read_text(encoding="utf-8", errors="replace"), secrets)


def _objects(path: Path) -> list[Any]:
    """The documents of a manifest; none where it is no manifest, or cannot be read as one."""
    if path.parent.name != "manifests" or path.suffix not in MANIFEST_ENDINGS:
        return []
    try:
        return [document.value for document in read_documents(path)]
    except InvalidInput:
        return []


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {"unreadable": path.name}


def redact_text_in(value: Any, secrets: frozenset[str]) -> Any:
    """Every text inside a JSON value redacted, its form kept."""
    if isinstance(value, str):
        return redact_text(value, secrets)
    if isinstance(value, list):
        return [redact_text_in(item, secrets) for item in value]
    if isinstance(value, dict):
        return {key: redact_text_in(item, secrets) for key, item in value.items()}
    return value


def _yaml(value: Any) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


# --- opening one


def read_bundle(path: Path) -> Result:
    """The result in a bundle. Raises: InvalidInput when it is none, or holds several variants."""
    found = open_bundle(path)
    if isinstance(found, Study):
        raise InvalidInput(f"{path} holds {len(found.variants)} variants", hint=f"see: testbed report {path}")
    return found


def open_bundle(path: Path) -> Result | Study:
    """Raises: InvalidInput when it is no bundle of this version."""
    files = _members(path, ("result.json", "study.json"))
    study = next((text for name, text in files.items() if PurePosixPath(name).name == "study.json"), None)
    if study is not None:
        by_folder = {PurePosixPath(name).parent.name: text for name, text in files.items()
                     if PurePosixPath(name).name == "result.json"}
        return study_of(study, by_folder.__getitem__, path)
    if len(files) != 1:
        raise InvalidInput(f"{path} is not a bundle of one run", hint="make one: testbed report --bundle FILE")
    return result_of(next(iter(files.values())), path)


def _members(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Texts of the files with these names, by their path in the bundle."""
    found: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if not member.isfile() or PurePosixPath(member.name).name not in names:
                    continue
                if member.size > LARGEST_RESULT_BYTES:
                    raise InvalidInput(f"{path}: {member.name} says it has {member.size} bytes")
                stream = archive.extractfile(member)
                if stream is not None:
                    found[member.name] = stream.read().decode("utf-8", "replace")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InvalidInput(f"{path} is not a bundle: {error}") from None
    return found
