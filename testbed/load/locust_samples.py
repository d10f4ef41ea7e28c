"""What our listener in Locust writes, and how it is read: one sample per request, and notes. Lines:
`testbed_listener.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.load.records import FRESH, Outcome, Record

# Names of errors as Locust's clients raise them.
_OUTCOMES = {
    "ok": Outcome.OK, "Unsent": Outcome.UNSENT, "Unanswered": Outcome.UNANSWERED, "HTTPError": Outcome.STATUS,
    "BadStatusCode": Outcome.STATUS, "ConnectionRefusedError": Outcome.REFUSED, "ConnectionResetError": Outcome.RESET,
    "BrokenPipeError": Outcome.RESET, "RemoteDisconnected": Outcome.CLOSED, "HTTPConnectionClosed": Outcome.CLOSED,
    "TimeoutError": Outcome.TIMEOUT, "timeout": Outcome.TIMEOUT, "ReadTimeout": Outcome.TIMEOUT,
    "ConnectTimeout": Outcome.TIMEOUT, "HTTPParseError": Outcome.MALFORMED,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a Locust user. ``error`` empty: it succeeded.

    Attributes:
        at_ns: CLOCK_MONOTONIC when it ended; 0: on another machine's clock.
        latency_s: from its sending; of an open-loop request (``due_ns``) from when it was due.
        number, sent_ns: which arrival it was and when it left, where it was due at a time.
    """

    at_ns: int
    latency_s: float
    error: str
    length: int
    method: str
    name: str
    due_ns: int = 0
    number: int = 0
    sent_ns: int = 0

    @property
    def label(self) -> str:
        return f"{self.method} {self.name}".strip()

    def record(self) -> Record:
        """An open-loop request as the pulse would have recorded it."""
        outcome = _OUTCOMES.get(self.error or "ok", Outcome.UNREACHABLE)
        ended = outcome not in (Outcome.UNSENT, Outcome.UNANSWERED)
        done_ns = self.due_ns + round(self.latency_s * 1e9) if ended else 0
        sent_ns = 0 if outcome is Outcome.UNSENT else self.sent_ns
        return Record(self.number, FRESH, self.due_ns, sent_ns, done_ns, outcome)


@dataclass
class LocustData:
    """What the listener has written so far.

    Attributes:
        users: (at_ns, users). ticks: notes of CPU by the process's name.
        workers: ids of those that came. remote: ids of those whose samples are of another clock.
        alive: how many workers there were, once a second while users ran.
        uncounted: requests and failures that Locust counted at workers without our listener.
    """

    samples: list[Sample] = field(default_factory=list)
    users: list[tuple[int, int]] = field(default_factory=list)
    ticks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)
    remote: list[str] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    uncounted: tuple[int, int] = (0, 0)

    def _note(self, value: dict[str, Any]) -> None:
        match value["kind"]:
            case "users":
                self.users.append((value["at_ns"], value["users"]))
            case "cpu":
                self.ticks.setdefault(value["process"], []).append(value)
            case "worker":
                self.workers.append(value["id"])
            case "sampling":
                if value["remote"]:
                    self.remote.append(value["id"])
            case "workers":
                self.alive.append(value["alive"])
            case "uncounted":
                self.uncounted = value["requests"], value["failures"]

    @property
    def lost(self) -> int:
        """How many workers left while users ran."""
        return max(self.alive) - self.alive[-1] if self.alive else 0

    def take(self, line: str) -> None:
        """One line. Raises: ValueError, KeyError, TypeError when it is none of the listener's."""
        if line.startswith("#"):
            self._note(json.loads(line[1:]))
        else:
            self.samples.append(parse_sample(line))


def parse_sample(line: str) -> Sample:
    """Raises: ValueError."""
    done, milliseconds, outcome, length, method, name, due, number, sent = line.split("\t", 8)
    return Sample(int(done), float(milliseconds) / 1e3, "" if outcome == "ok" else outcome, int(length), method, name,
                  int(due), int(number), int(sent))


def read_samples(path: Path) -> LocustData:
    """What is there, up to the last whole line, without what is not the listener's; nothing when there is no file."""
    data = LocustData()
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return data
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            data.take(line)
        except (ValueError, KeyError, TypeError):
            continue
    return data


@dataclass(frozen=True)
class Failing:
    """When requests of one name failed, CLOCK_MONOTONIC ns; ``longest_s``: the longest stretch without a success."""

    first_ns: int
    last_ns: int
    longest_s: float


def failing(samples: Sequence[Sample]) -> Failing | None:
    """Of requests whose clock is known; None when none of them failed.

    A stretch begins when its first failed request was sent and ends with the next success, or with its last failure
    where none came. Users of a closed loop wait meanwhile, so it is as exact as they are many.
    """
    ordered = sorted((sample for sample in samples if sample.at_ns), key=lambda sample: sample.at_ns)
    failed = [sample for sample in ordered if sample.error]
    if not failed:
        return None
    longest_s, begin_ns = 0.0, 0
    for sample in ordered:
        if sample.error and not begin_ns:
            begin_ns = sample.at_ns - round(sample.latency_s * 1e9)
        if begin_ns:
            longest_s = max(longest_s, (sample.at_ns - begin_ns) / 1e9)
        if not sample.error:
            begin_ns = 0
    return Failing(failed[0].at_ns, failed[-1].at_ns, longest_s)
