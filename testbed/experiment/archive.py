"""What earlier commands left: runs in the folders of clusters, baselines beside them, and files from elsewhere.

A name means, in this order: a file (``result.json``, a saved baseline, a bundle), the folder of a run, a baseline, a
run by its id or the beginning of it. Which runs are removed is said here too; who asks is the CLI's.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from testbed.api.instance import check_name
from testbed.api.run_journal import goes_on
from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.experiment.reading import result_of
from testbed.experiment.result import Result, Series
from testbed.experiment.saving import read_result

BASELINES = ".baselines"  # no cluster can have a name with a dot
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class KeptRun:
    """A run's folder and what its files say at a glance; ``problem``: why they say nothing."""

    folder: Path
    name: str = ""
    runs: int = 0
    variants: int = 1
    verdict: str = ""
    started_at: datetime | None = None
    running: bool = False
    problem: str = ""


@dataclass(frozen=True)
class KeptBaseline:
    """One saved baseline; ``problem``: why its file says nothing."""

    name: str
    path: Path
    result: Result | None
    problem: str = ""


# --- runs


def run_folders(root: Path, cluster: str = "") -> list[Path]:
    """Folders of all finished runs below ``root``, oldest first: of one cluster, or of all. Studies count as one."""
    return _folders(root, cluster, "result.json", "study.json")


def all_folders(root: Path, cluster: str = "") -> list[Path]:
    """The same, with those that have no result: still running, or broken off."""
    return _folders(root, cluster, "result.json", "study.json", "journal.json")


def _folders(root: Path, cluster: str, *files: str) -> list[Path]:
    """Raises: InvalidInput when no cluster can have that name."""
    where = check_name(cluster) if cluster else "*"
    return sorted({path.parent for name in files for path in root.glob(f"{where}/runs/*/{name}")}, key=_written)


def _written(folder: Path) -> float:
    return max((path.stat().st_mtime for name in ("result.json", "study.json", "journal.json")
                if (path := folder / name).exists()), default=0.0)


def glance(folder: Path) -> KeptRun:
    """What a list shows of a run, without reading all of it into its form: files of other versions are listed too."""
    path = next((folder / name for name in ("study.json", "result.json") if (folder / name).exists()), None)
    if path is None:
        journal = _json(folder / "journal.json")
        running = goes_on(journal)
        return KeptRun(folder, str(journal.get("experiment", "")), running=running, verdict="running" if running
                       else "broken off", started_at=_moment(journal.get("startedAt")))
    value = _json(path)
    if not value:
        return KeptRun(folder, problem=f"{path.name} cannot be read")
    variants = value.get("variants")
    runs = len(value.get("runs") or ()) if variants is None else len(value.get("turns") or ())
    return KeptRun(folder, str(value.get("name", "")), runs, 1 if variants is None else len(variants),
                   str(value.get("verdict", "")), _moment(value.get("startedAt")))


def _json(path: Path) -> dict[str, Any]:
    """Empty when it cannot be read."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def find_run(root: Path, text: str, cluster: str = "") -> Path:
    """The folder of a run: a path, an id or its beginning, the newest when ``text`` is empty; ``ID/VARIANT`` is one
    variant of a study. ``cluster``: of its runs only.

    Raises: InvalidInput when there is none, or several.
    """
    if text and any((Path(text) / name).is_file() for name in ("result.json", "study.json")):
        return Path(text)
    known = run_folders(root, cluster)
    if not known:
        raise InvalidInput(no_runs(cluster), hint=how_to_run(cluster))
    run, _, variant = text.partition("/")
    found = _named(known, run, cluster) if run else known[-1]
    if not variant:
        return found
    inside = [path.parent for path in sorted(found.glob("*/result.json")) if path.parent.name.startswith(variant)]
    if len(inside) != 1:
        names = ", ".join(path.parent.name for path in sorted(found.glob("*/result.json"))) or "none"
        raise InvalidInput(f"{len(inside) or 'no'} variants of {found.name} begin with {variant!r}",
                           hint=f"it has: {names}")
    return inside[0]


def no_runs(cluster: str) -> str:
    return f"there are no runs of cluster {cluster!r} yet" if cluster else "there are no runs yet"


def how_to_run(cluster: str) -> str:
    return "make one: testbed run quickstart" + (f" --name {cluster}" if cluster else "")


def find_kept(root: Path, text: str, cluster: str = "") -> Path:
    """The folder of a run below ``root`` by its id or the beginning of it, also of one without a result; never a folder
    that lies elsewhere. Raises: InvalidInput when there is none, or several."""
    return _named(all_folders(root, cluster), text, cluster)


def _named(known: Sequence[Path], text: str, cluster: str) -> Path:
    """Raises: InvalidInput."""
    matching = [folder for folder in known if folder.name == text] or \
        [folder for folder in known if text and folder.name.startswith(text)]
    if len(matching) != 1:
        of, option = (f" of cluster {cluster!r}", f" --name {cluster}") if cluster else ("", "")
        raise InvalidInput(f"{len(matching) or 'no'} runs{of} begin with {text!r}",
                           hint=f"see: testbed runs list{option}")
    return matching[0]


def to_remove(
    runs: Sequence[KeptRun], *, now: datetime, older_than: timedelta | None = None, keep: int | None = None
) -> list[KeptRun]:
    """Runs (oldest first) that are older than that, and all but the newest ``keep``. What still runs is never one."""
    finished = [run for run in runs if not run.running]
    surplus = finished[:max(0, len(finished) - keep)] if keep is not None else []
    old = [run for run in finished if older_than is not None
           and (run.started_at or datetime.fromtimestamp(_written(run.folder), UTC)) < now - older_than]
    return [run for run in finished if run in surplus or run in old]


def remove_run(folder: Path) -> None:
    """Raises: InvalidInput when it still runs; EnvironmentProblem when it cannot be removed."""
    if glance(folder).running:
        raise InvalidInput(f"{folder.name} still runs", hint="end it with Ctrl-C where it runs")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise EnvironmentProblem(f"{folder} cannot be removed: {error.strerror}") from error


# --- baselines


def slim(result: Result) -> Result:
    """A result without what only charts need: a baseline lies in a repository."""
    runs = tuple(run.model_copy(update={"series": Series(), "events": ()}) for run in result.runs)
    return result.model_copy(update={"runs": runs, "comparison": None})


def write_baseline(result: Result, path: Path) -> None:
    """Raises: EnvironmentProblem."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(slim(result).to_json(), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def baseline_path(root: Path, name: str) -> Path:
    """Raises: InvalidInput when it cannot be a name."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot be the name of a baseline",
                           hint="lower-case letters, digits and dashes; or write it to a file: --file PATH")
    return root / BASELINES / f"{name}.json"


def baselines(root: Path) -> list[KeptBaseline]:
    """All that are saved, by name; those of another version too, with what is wrong with them."""
    return [_baseline(path) for path in _saved(root)]


def _baseline(path: Path) -> KeptBaseline:
    try:
        return KeptBaseline(path.stem, path, read_file(path))
    except InvalidInput as error:
        return KeptBaseline(path.stem, path, None, error.message)


def remove_baseline(root: Path, name: str) -> None:
    """Raises: InvalidInput when there is none of this name."""
    path = baseline_path(root, name)
    if not path.exists():
        raise InvalidInput(f"there is no baseline {name!r}", hint=_known(item.stem for item in _saved(root)))
    path.unlink()


def _saved(root: Path) -> list[Path]:
    return sorted((root / BASELINES).glob("*.json"))


def _known(names: Iterable[str]) -> str:
    told = ", ".join(names)
    return f"there are: {told}" if told else "save one: testbed baseline save"


# --- anything that holds a result


def read_file(path: Path) -> Result:
    """A result, saved baseline or bundle. Raises: InvalidInput when it is none of this version."""
    if path.name.endswith((".tar.gz", ".tgz")):
        from testbed.experiment.bundle import read_bundle

        return read_bundle(path)
    try:
        return result_of(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def find_baseline(root: Path, text: str) -> tuple[str, Result]:
    """A baseline by its name, or any file or run that holds a result; and what to call it.

    Raises: InvalidInput.
    """
    if Path(text).is_file():
        return Path(text).name, read_file(Path(text))
    saved = {path.stem: path for path in _saved(root)}
    if text in saved:
        return text, read_file(saved[text])
    if "/" in text or text.endswith((".json", ".gz")):
        if any((Path(text) / name).is_file() for name in ("result.json", "study.json")):
            return Path(text).name, _of_folder(Path(text))
        if text.endswith((".json", ".gz")):
            raise InvalidInput(f"there is no file {text}")
    try:
        folder = find_run(root, text)
    except InvalidInput:
        raise InvalidInput(f"there is neither a file nor a baseline nor a run {text!r}", hint=_known(saved)) from None
    return folder.name, _of_folder(folder)


def _of_folder(folder: Path) -> Result:
    if not (folder / "result.json").exists():
        names = ", ".join(f"{folder.name}/{path.parent.name}" for path in sorted(folder.glob("*/result.json")))
        raise InvalidInput(f"{folder.name} has several variants", hint=f"say which: {names}")
    return read_result(folder)
