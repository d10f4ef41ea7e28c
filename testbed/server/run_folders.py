"""What earlier runs of this cluster have left, at a glance: read from the heads of their files, never written.

A run's folder belongs to its runner, which may be writing it right now, may have been killed, or may be of another
version: what cannot be read is told as a problem of that one run. ``testbed runs`` reads them too
(``experiment/archive.py``, whole results); whether one still goes on is ``api/run_journal``'s for both.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any, TypedDict

from testbed.api.run_journal import goes_on

Json = dict[str, Any]

MAX_RUNS = 200  # the newest are listed
MAX_FILES = 500  # of one run
HEAD_BYTES = 64 * 1024
REPORT = "report.html"
PRIVATE = "manifests"  # a run's inputs as they were, with the Secrets in them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_WHOLE = ("study.json", "result.json")
_JOURNAL = "journal.json"


class RunEntry(TypedDict):
    """``report``: its file, "" where there is none yet. ``variants``: their folders, where there are several."""

    id: str
    experiment: str
    started: str
    verdict: str  # as a result has it; "running", "broken off" of one without
    problem: str  # why nothing is known of it
    running: bool
    report: str
    variants: list[str]


def is_name(text: str) -> bool:
    """Whether a run, or a file in it that is shown, can have that name. None begins with a dot."""
    return text != PRIVATE and _NAME.fullmatch(text) is not None


def head(text: str) -> Json:
    """The first members of a JSON object whose end may be missing: all that are there whole."""
    decoder, found = json.JSONDecoder(), {}
    at = text.find("{") + 1
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        while at:
            key, at = decoder.raw_decode(text, _visible(text, at))
            value, at = decoder.raw_decode(text, _visible(text, _visible(text, at) + 1))  # behind the colon
            at = _visible(text, at)
            if text[at] not in ",}":  # where the text ends there, a number may have gone on
                break
            found[str(key)] = value
            at = at + 1 if text[at] == "," else 0
    return found


def _visible(text: str, at: int) -> int:
    """Where white space ends."""
    while text[at:at + 1].isspace():
        at += 1
    return at


class RunFolders:
    """``root``: the instance's ``runs`` folder. What has not changed since the last time is not read again; who asks
    waits for it, and so does everybody, so of a run that is whole only its folder is looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._newest: list[str] = []  # names of folders, whether there is anything in them yet or not
        self._listed_at: tuple[int, ...] = ()  # what the root was like then
        self._known: dict[str, tuple[tuple[int, ...], RunEntry]] = {}

    def newest(self) -> list[RunEntry]:
        """The newest first."""
        seen = self._known = {name: known for name in self._names() if (known := self._look(name)) is not None}
        return [seen[name][1] for _, name in sorted(((stamp, name) for name, (stamp, _) in seen.items()), reverse=True)]

    def find(self, run: str) -> RunEntry | None:
        """That one run, also one that is no longer listed."""
        if not is_name(run) or (self.root / run).is_symlink():
            return None
        found = self._look(run)
        return found[1] if found is not None else None

    def files(self, run: str) -> list[Json]:
        """Name (with its folder, ``logs/web.log``) and size of each plain file of a run, two folders deep."""
        found: list[Json] = []
        for path in sorted((self.root / run).rglob("*")):
            name = path.relative_to(self.root / run)
            if len(found) >= MAX_FILES:
                break
            if len(name.parts) <= 3 and all(is_name(part) for part in name.parts) and path.is_file() \
                    and not path.is_symlink():
                found.append({"name": name.as_posix(), "bytes": path.stat().st_size})
        return found

    def _names(self) -> list[str]:
        """Of the newest folders. A folder that comes or goes changes its root, so that else nothing is listed anew."""
        try:
            root = self.root.stat()
            listed_at = root.st_mtime_ns, root.st_nlink
            if listed_at != self._listed_at:
                folders = [path for path in self.root.iterdir() if is_name(path.name) and not path.is_symlink()]
                folders.sort(key=_changed, reverse=True)
                self._newest, self._listed_at = [path.name for path in folders[:MAX_RUNS]], listed_at
        except OSError:
            self._newest, self._listed_at = [], ()
        return self._newest

    def _look(self, name: str) -> tuple[tuple[int, ...], RunEntry] | None:
        """Its stamp and entry; None of what is no run's folder. One that runs is always read: its runner may die and
        leave its files as they are."""
        folder, known = self.root / name, self._known.get(name)
        if known is not None and _is_whole(known[1]) and known[0][-1] == _changed(folder):
            return known
        if not (stamp := _stamp(folder)):
            return None
        if known is None or known[0] != stamp or known[1]["running"]:
            known = self._known[name] = stamp, read_entry(folder)
        return known


def _is_whole(entry: RunEntry) -> bool:
    """The report is the last that is written; what replaces a file then changes its folder."""
    return bool(entry["report"]) and not entry["running"]


def read_entry(folder: Path) -> RunEntry:
    """Of a run's folder, as it is."""
    name = next((name for name in (*_WHOLE, _JOURNAL) if (folder / name).is_file()), _JOURNAL)
    try:
        with (folder / name).open(encoding="utf-8", errors="replace") as stream:
            value = head(stream.read(HEAD_BYTES))
    except OSError:
        value = {}
    entry: RunEntry = {
        "id": folder.name, "experiment": str(value.get("name") or value.get("experiment") or ""),
        "started": str(value.get("startedAt") or ""), "verdict": str(value.get("verdict") or ""), "problem": "",
        "running": False, "report": REPORT if (folder / REPORT).is_file() else "",
        "variants": [item["folder"] for item in value.get("variants") or ()
                     if isinstance(item, dict) and is_name(str(item.get("folder") or ""))],
    }
    if not value:
        return {**entry, "problem": f"{name} cannot be read"}
    if name == _JOURNAL:
        running = goes_on(value)
        return {**entry, "running": running, "verdict": "running" if running else "broken off"}
    return entry


def _changed(folder: Path) -> int:
    """When a file in it came or went, ns; 0 where that cannot be told."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _stamp(folder: Path) -> tuple[int, ...]:
    """When its files were last written, and the folder itself; empty of what is no run's folder."""
    try:
        written = [path.stat().st_mtime_ns for name in (*_WHOLE, _JOURNAL) if (path := folder / name).is_file()]
        return (max(written), folder.stat().st_mtime_ns) if written else ()
    except OSError:
        return ()
