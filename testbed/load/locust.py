"""Locust, in a process of its own, with the user's locustfile unchanged.

Locust patches whatever process imports it, so it is only ever a subprocess. Its users wait for their answers: it
gives the realistic load and counts; outages are the pulse's to measure. Raw samples come out through
``testbed_listener.py``, because Locust rounds its own percentiles. Decides how Locust is started, stopped, and how
its failures are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import EnvironmentProblem, InvalidInput, Mistake, TestbedError
from testbed.load.outage import percentile

_LISTENER = Path(__file__).with_name("testbed_listener.py")
_STOP_TIMEOUT_S = 2  # what running tasks get
_END_WITHIN_S = 10.0
_START_WITHIN_S = 20.0
_OWN_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class LoadFailed(TestbedError):
    """The load generator ended by itself, or could not be started."""

    exit_code = 9


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a Locust user. ``error`` empty: it succeeded. Not measured from a due time: see the module."""

    at_ns: int  # CLOCK_MONOTONIC when it ended
    latency_s: float
    error: str
    length: int
    method: str
    name: str


@dataclass(frozen=True)
class EndpointSummary:
    """Exact figures of one endpoint (or of all, ``name`` ``Aggregated``); percentiles in seconds."""

    method: str
    name: str
    requests: int
    failures: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass
class LocustData:
    """What the listener has written so far. ``users``: (at_ns, users)."""

    samples: list[Sample] = field(default_factory=list)
    users: list[tuple[int, int]] = field(default_factory=list)


def parse_sample(line: str) -> Sample:
    """Raises: ValueError."""
    done, milliseconds, outcome, length, method, name = line.split("\t", 5)
    return Sample(int(done), float(milliseconds) / 1e3, "" if outcome == "ok" else outcome, int(length), method, name)


def read_samples(path: Path) -> LocustData:
    """What is there, up to the last whole line; nothing when there is no file."""
    data = LocustData()
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return data
    for line in text[: text.rfind("\n") + 1].splitlines():
        if line.startswith("#"):
            found = re.search(r'"at_ns": (\d+), "users": (\d+)', line)
            if found:
                data.users.append((int(found.group(1)), int(found.group(2))))
            continue
        with contextlib.suppress(ValueError):
            data.samples.append(parse_sample(line))
    return data


def summarise(samples: Sequence[Sample]) -> tuple[EndpointSummary, ...]:
    """Per endpoint by method and name, and all of them together last."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.method, sample.name), []).append(sample)
    rows = [_summary(method, name, group) for (method, name), group in sorted(groups.items())]
    return (*rows, _summary("", "Aggregated", samples)) if samples else ()


def _summary(method: str, name: str, samples: Sequence[Sample]) -> EndpointSummary:
    times = sorted(sample.latency_s for sample in samples)
    return EndpointSummary(method, name, len(times), sum(bool(sample.error) for sample in samples),
                           percentile(times, 0.5), percentile(times, 0.95), percentile(times, 0.99), times[-1])


class LocustProcess:
    """One Locust process. ``await start()``, then ``await stop()`` always.

    Args:
        locustfile: the user's file, unchanged; Locust runs in its folder.
        url: base address of what is loaded (``--host``).
        spawn_rate: users per second.
        duration_s: 0: until stopped.
        samples: where the raw samples go; Locust's output goes beside it, as ``.log``.
        html: where Locust's own report goes when it ends.
    """

    def __init__(
        self, locustfile: Path, url: str, *, users: int, spawn_rate: float, samples: Path, html: Path,
        duration_s: float = 0.0, tags: tuple[str, ...] = (),
    ) -> None:
        self.locustfile, self.url, self.users, self.spawn_rate = locustfile, url, users, spawn_rate
        self.samples, self.html, self.log = samples.resolve(), html.resolve(), samples.resolve().with_suffix(".log")
        self._duration_s, self._tags = duration_s, tags
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[None] | None = None

    def argv(self) -> list[str]:
        argv = [
            sys.executable, "-m", "locust", "-f", f"{_LISTENER},{self.locustfile.resolve()}", "--headless",
            "--host", self.url, "--users", str(self.users), "--spawn-rate", f"{self.spawn_rate:g}",
            "--html", str(self.html), "--only-summary", "--exit-code-on-error", "0",
            "--stop-timeout", str(_STOP_TIMEOUT_S), "--loglevel", "WARNING",
        ]
        if self._duration_s:
            argv += ["--run-time", f"{max(1, round(self._duration_s))}s"]
        if self._tags:
            argv += ["--tags", *self._tags]
        return argv

    async def start(self) -> None:
        """Returns when users are there (or everything has ended well already).

        Raises: InvalidInput (the locustfile cannot be used), LoadFailed, EnvironmentProblem.
        """
        check_locustfile(self.locustfile)
        self.samples.parent.mkdir(parents=True, exist_ok=True)
        self.samples.unlink(missing_ok=True)
        process = self._spawn()
        self._watch(process)
        until = time.monotonic() + _START_WITHIN_S
        while not any(users for _, users in read_samples(self.samples).users):
            if process.poll() is not None:
                self._raise_if_failed()
                return
            if time.monotonic() > until:
                await self.stop()
                raise LoadFailed(f"Locust had no users after {_START_WITHIN_S:.0f} s", hint=self._last_lines())
            await asyncio.sleep(0.05)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Raises: EnvironmentProblem."""
        environment = os.environ | {"TESTBED_LOCUST_SAMPLES": str(self.samples)}
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    cwd=self.locustfile.resolve().parent, start_new_session=True,
                )
        except OSError as error:
            raise EnvironmentProblem(f"Locust cannot be started: {error}") from error
        return self._process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """A future that is done when the process has ended; without threads."""
        loop = asyncio.get_running_loop()
        handle = os.pidfd_open(process.pid)
        self._ended = loop.create_future()

        def ended() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

        loop.add_reader(handle, ended)

    async def wait(self) -> None:
        """Until it ends by itself. Raises: LoadFailed when that was not well."""
        if self._ended is not None:
            await asyncio.shield(self._ended)
            self._raise_if_failed()

    async def stop(self) -> list[Sample]:
        """Lets running tasks end, has the report written (Locust writes it on SIGINT, not on SIGTERM), and returns all
        samples. May be called again."""
        process = self._process
        if process is not None and self._ended is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(asyncio.shield(self._ended), _END_WITHIN_S)
            except TimeoutError:
                process.kill()
                await asyncio.shield(self._ended)
            process.wait()
        return read_samples(self.samples).samples

    # --- failures

    def _raise_if_failed(self) -> None:
        assert self._process is not None
        code = self._process.wait()
        if code in (0, -signal.SIGINT):
            return
        raise failure(self.locustfile, code, self.log.read_text(errors="replace"))

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip() for line in lines[-3:])


def check_locustfile(file: Path) -> None:
    """Raises: InvalidInput when there is no such file, or Locust could not be given its name."""
    if not file.is_file():
        near = sorted(path.name for path in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise InvalidInput(f"there is no locustfile {file}", hint="here are: " + ", ".join(near[:5]) if near else "")
    if "," in str(file.resolve()):
        raise InvalidInput(f"{file}: Locust cannot load a file with a comma in its path")


def failure(file: Path, code: int, log: str) -> TestbedError:
    """What Locust's output means: the user's file is wrong, or Locust crashed."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    if "No User class found" in log:
        return InvalidInput([Mistake("has no class that is a User (locust.HttpUser)", file=str(file))])
    own = [int(found["line"]) for found in _OWN_LINE.finditer(log) if Path(found["file"]).name == file.name]
    raised = [line for line in lines if re.match(r"\w*(Error|Exception)\b", line)]
    if own and raised:
        return InvalidInput([Mistake(raised[-1], file=str(file), line=own[-1])])
    shown = "\n    ".join(lines[-6:])
    return LoadFailed(f"Locust ended with exit code {code}: {last}", hint=f"its last lines:\n    {shown}")
