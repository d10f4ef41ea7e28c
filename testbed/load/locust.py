"""Locust, in processes of its own, with the user's locustfile unchanged.

Locust patches whatever process imports it, so it is only ever a subprocess. Its users wait for their answers: it
gives the realistic load and counts; outages are the pulse's to measure (or a `PulseUser`'s). Raw samples come out
through ``testbed_listener.py``, because Locust rounds its own percentiles. Decides how Locust is started, alone or as a
master of workers, and stopped.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import EnvironmentProblem
from testbed.load.locust_samples import LocustData, read_samples
from testbed.load.locustfiles import LoadFailed, check_locustfile, failure

_LISTENER = Path(__file__).with_name("testbed_listener.py")
_STOP_TIMEOUT_S = 2  # what running tasks get
_END_WITHIN_S = 20.0  # with workers: their tasks end, their last samples come, they leave
_START_WITHIN_S = 20.0
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Workers:
    """Workers that are started by others and join at ``host:port``; how many, and how long they are waited for."""

    expect: int
    host: str = _LOOPBACK
    port: int = 5557
    within_s: float = 60.0

    @property
    def command(self) -> str:
        """What starts one; Locust sends it the locustfile."""
        host = "<this machine>" if self.host in ("*", "0.0.0.0", "::") else self.host
        return f"python -m locust -f - --worker --master-host {host} --master-port {self.port}"


@dataclass(frozen=True)
class Users:
    """How many users, how fast they come (per second), and in which processes: this one alone, ``processes`` local
    workers, or ``workers`` from elsewhere."""

    users: int
    spawn_rate: float
    processes: int | None = None
    workers: Workers | None = None


class LocustProcess:
    """One Locust, with or without workers. ``await start()``, then ``await stop()`` always.

    Args:
        locustfile: the user's file, unchanged; Locust runs in its folder.
        url: base address of what is loaded (``--host``).
        duration_s: 0: until stopped.
        samples: where the raw samples go; Locust's output goes beside it, as ``.log``.
        html: where Locust's own report goes when it ends.
    """

    def __init__(
        self, locustfile: Path, url: str, users: Users, *, samples: Path, html: Path, duration_s: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> None:
        self.locustfile, self.url, self.users = locustfile, url, users
        self.samples, self.html, self.log = samples.resolve(), html.resolve(), samples.resolve().with_suffix(".log")
        self._duration_s, self._tags = duration_s, tags
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[None] | None = None

    def argv(self) -> list[str]:
        argv = [
            sys.executable, "-m", "locust", "-f", f"{_LISTENER},{self.locustfile.resolve()}", "--headless",
            "--host", self.url, "--users", str(self.users.users), "--spawn-rate", f"{self.users.spawn_rate:g}",
            "--html", str(self.html), "--only-summary", "--exit-code-on-error", "0",
            "--stop-timeout", str(_STOP_TIMEOUT_S), "--loglevel", "WARNING", *self._distribution(),
        ]
        if self._duration_s:
            argv += ["--run-time", f"{max(1, round(self._duration_s))}s"]
        if self._tags:
            argv += ["--tags", *self._tags]
        return argv

    def _distribution(self) -> list[str]:
        """How its processes find each other. Never beyond loopback, unless ``workers`` says so."""
        if self.users.processes is not None:
            port = str(_free_port())
            return ["--processes", str(self.users.processes), "--master-bind-host", _LOOPBACK, "--master-bind-port",
                    port, "--master-host", _LOOPBACK, "--master-port", port]
        workers = self.users.workers
        if workers is None:
            return []
        return ["--master", "--master-bind-host", workers.host, "--master-bind-port", str(workers.port),
                "--expect-workers", str(workers.expect),
                "--expect-workers-max-wait", str(max(1, math.ceil(workers.within_s)))]

    async def start(self) -> None:
        """Returns when users are there (or everything has ended well already).

        Raises: InvalidInput (the locustfile cannot be used), LoadFailed, EnvironmentProblem (no workers).
        """
        check_locustfile(self.locustfile)
        self.samples.parent.mkdir(parents=True, exist_ok=True)
        self.samples.unlink(missing_ok=True)
        process = self._spawn()
        self._watch(process)
        within_s = _START_WITHIN_S + (self.users.workers.within_s if self.users.workers else 0.0)
        until = time.monotonic() + within_s
        while not any(users for _, users in self.read().users):
            if process.poll() is not None:
                self._raise_if_failed()
                return
            if time.monotonic() > until:
                await self.stop()
                raise LoadFailed(f"Locust had no users after {within_s:.0f} s", hint=self._last_lines())
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

    def read(self) -> LocustData:
        """All that has come out so far."""
        return read_samples(self.samples)

    @property
    def died(self) -> bool:
        """Whether it has ended by itself, and not well."""
        return self._process is not None and self._process.poll() not in (None, 0)

    async def wait(self) -> None:
        """Until it ends by itself. Raises: LoadFailed when that was not well."""
        if self._ended is not None:
            await asyncio.shield(self._ended)
            self._raise_if_failed()

    async def stop(self) -> LocustData:
        """Lets running tasks end, has the report written (Locust writes it on SIGINT, not on SIGTERM), and returns all
        that came out. May be called again."""
        process = self._process
        if process is not None and self._ended is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(asyncio.shield(self._ended), _END_WITHIN_S)
            except TimeoutError:
                process.kill()
                await asyncio.shield(self._ended)
            process.wait()
        return self.read()

    # --- failures

    def _raise_if_failed(self) -> None:
        assert self._process is not None
        code = self._process.wait()
        if code in (0, -signal.SIGINT):
            return
        log = self.log.read_text(errors="replace")
        workers = self.users.workers
        if workers is not None and "Gave up waiting for workers" in log:
            came = len(set(self.read().workers))
            raise EnvironmentProblem(
                f"{workers.expect} Locust workers were expected at {workers.host}:{workers.port} within "
                f"{workers.within_s:g} s; {came} came", hint=f"start each one with: {workers.command}")
        if "Address already in use" in log:
            where = f"{workers.host}:{workers.port}" if workers else _LOOPBACK
            raise EnvironmentProblem(f"Locust's master cannot listen on {where}: the port is taken",
                                     hint="give another one: load.locust.workers.bind" if workers else "try again")
        raise failure(self.locustfile, code, log)

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip() for line in lines[-3:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
