"""What a stress is: from a fault's fields to stress-ng's arguments, and what must then be seen. Pure.

Fields are Chaos Mesh's (api/v1alpha1/stresschaos_types.go). Two rules are ours: ``size`` is the sum over all workers,
as its documentation says, and units mean what they say (MB is 10^6 bytes, MiB 2^20). A line of stress-ng is never given
to a shell, and only options are allowed that load CPUs and memory, or write files of stress-ng's own, in its own
container. Upstream gives ``memory.options`` to a program of its own; here they are stress-ng's too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faults.protocol import Json
from testbed.errors import Mistake

MAX_WORKERS = 8192  # api/v1alpha1/stresschaos_types.go Stressor
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3})%")
_STRESS_NG_SIZE = re.compile(r"(\d+)([bkmgt]?)", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_COUNT, _NUMBER, _BYTES, _WORD, _FLAG, _TIME = "workers", "number", "bytes", "word", "flag", "time"
_PATTERNS = {
    _COUNT: re.compile(r"\d{1,4}"), _NUMBER: re.compile(r"\d{1,12}"), _BYTES: re.compile(r"\d{1,15}[bkmgtBKMGT%]?"),
    _WORD: re.compile(r"[a-z0-9_,-]{1,64}"), _TIME: re.compile(r"\d{1,9}[smhd]?"),
}
#: stress-ng(1). Left out, among many: what calls sync or drops caches of the whole machine (io, iomix), sockets,
#: signals, devices, paths (temp-path, job), and ``all``, ``class`` and ``sequential``, which run everything.
ALLOWED: Mapping[str, str] = {
    "cpu": _COUNT, "cpu-load": _NUMBER, "cpu-load-slice": _NUMBER, "cpu-method": _WORD, "cpu-ops": _NUMBER,
    "vm": _COUNT, "vm-bytes": _BYTES, "vm-hang": _TIME, "vm-keep": _FLAG, "vm-method": _WORD, "vm-ops": _NUMBER,
    "vm-populate": _FLAG, "vm-locked": _FLAG,
    "hdd": _COUNT, "hdd-bytes": _BYTES, "hdd-opts": _WORD, "hdd-ops": _NUMBER, "hdd-write-size": _BYTES,
    "matrix": _COUNT, "matrix-method": _WORD, "matrix-ops": _NUMBER, "matrix-size": _NUMBER,
    "cache": _COUNT, "cache-ops": _NUMBER, "memcpy": _COUNT, "memcpy-ops": _NUMBER, "qsort": _COUNT,
    "qsort-ops": _NUMBER, "qsort-size": _NUMBER, "bsearch": _COUNT, "bsearch-ops": _NUMBER, "stream": _COUNT,
    "stream-ops": _NUMBER, "memrate": _COUNT, "memrate-bytes": _BYTES, "memrate-ops": _NUMBER,
    "memrate-rd-mbs": _NUMBER, "memrate-wr-mbs": _NUMBER, "switch": _COUNT, "switch-ops": _NUMBER, "pipe": _COUNT,
    "pipe-ops": _NUMBER, "fork": _COUNT, "fork-ops": _NUMBER, "malloc": _COUNT, "malloc-bytes": _BYTES,
    "malloc-ops": _NUMBER, "timeout": _TIME,
}
_SHORT = {"-c": "cpu", "-l": "cpu-load", "-m": "vm", "-d": "hdd", "-C": "cache", "-s": "switch", "-p": "pipe",
          "-f": "fork", "-t": "timeout"}
_BUSY = ("matrix", "cache", "memcpy", "qsort", "bsearch", "stream", "memrate", "switch", "fork")  # a CPU each

_WORKERS: Json = {"type": "integer", "minimum": 1, "maximum": MAX_WORKERS}
_OPTIONS: Json = {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 200},
                  "description": "More options of stress-ng."}
SCHEMA: Json = {
    "type": "object",
    "properties": {
        "cpu": {"type": "object", "required": ["workers"], "description": "Keeps CPUs busy.", "properties": {
            "workers": _WORKERS, "options": _OPTIONS,
            "load": {"type": "integer", "minimum": 0, "maximum": 100,
                     "description": "Percent of one CPU for each worker; default 100."}}},
        "memory": {"type": "object", "required": ["workers"], "description": "Holds memory.", "properties": {
            "workers": _WORKERS, "options": _OPTIONS,
            "size": {"type": "string", "maxLength": 32,
                     "description": "Of all workers together: 256MB, 1GiB, or 50% of what the target may have."},
            "oomScoreAdj": {"type": "integer", "minimum": -1000, "maximum": 1000,
                            "description": "When memory runs out: 1000 kills this stress first, -1000 never."}}},
    },
}


@dataclass(frozen=True)
class Stress:
    """``argv``: options of stress-ng. ``cpus`` are to be busy and ``memory_bytes`` to be held by them."""

    argv: tuple[str, ...]
    cpus: float = 0.0
    memory_bytes: int = 0
    oom_score_adj: int = 0

    def to_json(self) -> Json:
        return {"argv": list(self.argv), "cpus": self.cpus, "memory_bytes": self.memory_bytes,
                "oom_score_adj": self.oom_score_adj}


# --- sizes


def size_bytes(text: str, whole_bytes: int) -> int:
    """``whole_bytes``: what a percentage is of. Raises: ValueError."""
    if found := _PERCENT.fullmatch(text.strip()):
        if int(found[1]) > 100:
            raise ValueError("must be at most 100%")
        return whole_bytes * int(found[1]) // 100
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text[:32]!r} is not a size such as 256MB, 1GiB or 50%")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def is_relative(spec: Mapping[str, Any]) -> bool:
    """Whether the memory that it takes depends on how much there is."""
    if line := spec.get("stressngStressors"):
        return any("%" in word for word in line.split())
    memory = (spec.get("stressors") or {}).get("memory")
    return memory is not None and (not memory.get("size") or memory["size"].strip().endswith("%"))


# --- what is wrong


def mistakes(spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
    """Paths from ``spec``. The schema has been met."""
    if line := spec.get("stressngStressors"):
        return tuple(_mistake(lambda: _checked_line(line), "spec.stressngStressors"))
    stressors = spec.get("stressors") or {}
    cpu, memory = stressors.get("cpu"), stressors.get("memory")
    if not cpu and not memory:
        return (Mistake("name what is to be stressed: cpu, memory", "spec.stressors"),)
    found: list[Mistake] = []
    for name, part in (("cpu", cpu), ("memory", memory)):
        if part:
            found += _mistake(lambda part=part: _checked(part.get("options") or ()), f"spec.stressors.{name}.options")
    if memory and memory.get("size"):
        found += _mistake(lambda: _some_bytes(memory["size"]), "spec.stressors.memory.size")
    return tuple(found)


def _mistake(check: Any, field: str) -> Iterator[Mistake]:
    try:
        check()
    except ValueError as error:
        yield Mistake(str(error), field)


def _some_bytes(text: str) -> None:
    if size_bytes(text, 1 << 40) <= 0:
        raise ValueError("must be more than 0")


def _checked_line(line: str) -> None:
    options = _checked([line])
    if not any(ALLOWED[name] == _COUNT and value != "0" for name, value in options):
        raise ValueError("names no stressor, such as --cpu 2")


# --- arguments


def stress_of(spec: Mapping[str, Any], whole_bytes: int) -> Stress:
    """``whole_bytes``: the memory that the target may have. Raises: ValueError."""
    if line := spec.get("stressngStressors"):
        return _of_options(_checked([line]), whole_bytes, 0)
    stressors = spec.get("stressors") or {}
    options: list[tuple[str, str]] = []
    if cpu := stressors.get("cpu"):
        load = cpu.get("load", 100)
        options += [("cpu", str(cpu["workers"])), ("cpu-load", str(load)), *_checked(cpu.get("options") or ())]
    score = 0
    if memory := stressors.get("memory"):
        size = size_bytes(memory.get("size") or "100%", whole_bytes)
        # Held, not worked on: a worker that hangs keeps its memory and leaves the CPU alone.
        options += [("vm", str(memory["workers"])), ("vm-bytes", str(max(4096, size))), ("vm-keep", ""),
                    ("vm-hang", "0"), *_checked(memory.get("options") or ())]
        score = memory.get("oomScoreAdj", 0)
    return _of_options(options, whole_bytes, score)


def _of_options(options: Sequence[tuple[str, str]], whole_bytes: int, score: int) -> Stress:
    chosen = dict(options)
    workers = {name: int(value) for name, value in chosen.items() if ALLOWED[name] == _COUNT}
    for name, value in list(chosen.items()):
        if ALLOWED[name] == _BYTES and value.endswith("%"):
            chosen[name] = str(max(4096, size_bytes(value, whole_bytes)))
    busy = workers.get("cpu", 0) * int(chosen.get("cpu-load", "100")) / 100
    busy += sum(workers.get(name, 0) for name in _BUSY)
    if "vm-hang" not in chosen:
        busy += workers.get("vm", 0)
    # stress-ng: stress-vm.c divides vm-bytes among the workers.
    memory = _ng_bytes(chosen.get("vm-bytes", "256m")) if workers.get("vm") else 0
    argv = [word for name, value in chosen.items() for word in ((f"--{name}", value) if value else (f"--{name}",))]
    return Stress(tuple(argv), float(busy), memory, score)


def _ng_bytes(text: str) -> int:
    """stress-ng(1): its units are powers of 1024."""
    found = _STRESS_NG_SIZE.fullmatch(text)
    return int(found[1]) * 1024 ** _POWERS[found[2].lower()] if found else 0


def _checked(words: Sequence[str]) -> list[tuple[str, str]]:
    """Options and values. Raises: ValueError for what is not allowed."""
    try:
        tokens = [token for text in words for token in shlex.split(text)]
    except ValueError as error:
        raise ValueError(f"cannot be read: {error}") from error
    found: list[tuple[str, str]] = []
    rest = iter(tokens)
    for token in rest:
        name, equals, value = token.partition("=")
        name = _SHORT.get(name, name.removeprefix("--") if name.startswith("--") else "")
        kind = ALLOWED.get(name)
        if kind is None:
            known = ", ".join(one for one, kind in ALLOWED.items() if kind == _COUNT)
            raise ValueError(f"{token[:60]!r} is not allowed here; allowed are options of: {known}")
        if kind == _FLAG:
            if equals:
                raise ValueError(f"--{name} has no value")
            found.append((name, ""))
            continue
        value = value if equals else next(rest, "")
        _check_value(name, kind, value)
        found.append((name, value))
    return found


def _check_value(name: str, kind: str, value: str) -> None:
    if not _PATTERNS[kind].fullmatch(value):
        raise ValueError(f"--{name} needs a value ({kind}), not {value[:40]!r}")
    if kind == _COUNT and int(value) > MAX_WORKERS:
        raise ValueError(f"--{name}: at most {MAX_WORKERS} workers")
    if name == "cpu-load" and int(value) > 100:
        raise ValueError("--cpu-load: at most 100")
    if value.endswith("%") and int(value[:-1]) > 100:
        raise ValueError(f"--{name}: at most 100%")
