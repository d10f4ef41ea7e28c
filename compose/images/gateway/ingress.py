"""HAProxy as the gateway keeps it: started with the first Ingress, reprogrammed, reloaded, started again when it dies.

A change of endpoints only is a few commands on its admin socket; anything else is a new configuration, which is checked
first and then taken over without a lost request: the new worker inherits the listening sockets (master-worker mode,
``expose-fd listeners``), the old one finishes what it has. What is written there is ``ingress_config``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingress_config import ADMIN, CERTIFICATES, METRICS, Slots, changes, fill, render

Json = dict[str, Any]

CONFIG = Path("/run/ingress/haproxy.cfg")
BEGIN_S = 5.0
END_S = 5.0
POLL_S = 0.005
PAUSES_S = (0.0, 0.2, 1.0, 5.0)  # before it is started again, by failures in a row
HEALTHY_S = 10.0
METRICS_QUESTION = b"GET /metrics?no-maint HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "haproxy", "-W", "-q", "-f", str(CONFIG), stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr,
        stderr=sys.stderr)


class Ingress:
    """One HAProxy. ``program`` is called by one feeder at a time, and serialized anyway."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._lock = asyncio.Lock()
        self._slots: Slots = {}
        self._shape = ""
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.restarts = 0
        self._programs: Counter[str] = Counter()

    def json(self) -> Json:
        return {"running": self._process is not None, "restarts": self.restarts, "programs": dict(self._programs)}

    async def metrics(self) -> str | None:
        """What HAProxy's own Prometheus exporter says, without slots that are free; None while it need not run.
        Raises: OSError, ValueError."""
        if self._process is None:
            return None
        return read_http(await asked(METRICS, METRICS_QUESTION))

    async def program(self, request: Json) -> Json:
        """Brings a plan into force; null ends HAProxy. Answers when it is in force. Raises: RuntimeError, ValueError,
        OSError."""
        async with self._lock:
            started, plan = time.monotonic_ns(), request["plan"]
            bad: list[str] = []
            how = "refused"
            try:
                if plan is None:
                    how = await self._stop()
                else:
                    how, bad = await self._apply(plan)
            finally:
                self._programs[how] += 1
            now = time.monotonic_ns()
            return {"revision": int(request["revision"]), "how": how, "bad_certificates": bad, "applied_ns": now,
                    "took_ns": now - started, "restarts": self.restarts}

    async def _apply(self, plan: Json) -> tuple[str, list[str]]:
        lines, bad = write_certificates(plan["certificates"])
        slots = fill(self._slots, plan)
        text, shape = render(plan, slots, lines)
        how = "nothing"
        if self._process is None:
            await self._check(text)
            self._keep(slots, shape, text)
            await self._start()
            how = "start"
        elif shape != self._shape:
            await self._check(text)
            self._keep(slots, shape, text)
            self._process.send_signal(signal.SIGUSR2)
            await self._await_shape()
            how = "reload"
        elif slots != self._slots:
            commands = changes(self._slots, slots, plan)
            self._keep(slots, shape, text)
            if not await command(commands):  # it dies just now, or has another idea of its servers: tell it all
                self._process.send_signal(signal.SIGUSR2)
            how = "runtime"
        return how, bad

    def _keep(self, slots: Slots, shape: str, text: str) -> None:
        """What HAProxy is started with, should it die now."""
        self._slots, self._shape = slots, shape
        CONFIG.write_text(text)

    async def _check(self, text: str) -> None:
        """Raises: RuntimeError with HAProxy's own words."""
        file = CONFIG.with_suffix(".new")
        file.write_text(text)
        process = await asyncio.create_subprocess_exec(
            "haproxy", "-c", "-q", "-f", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError("haproxy: " + " ".join(output.decode("utf-8", "replace").split())[:2000])

    async def _start(self) -> None:
        self._process = await _spawn()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_alive())
        await self._await_shape()

    async def _await_shape(self) -> None:
        """Until the worker with the wanted configuration answers. Raises: RuntimeError."""
        until = time.monotonic() + BEGIN_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if f"description: {self._shape}" in await ask("show info"):
                    return
            await asyncio.sleep(POLL_S)
        raise RuntimeError(f"haproxy did not take its configuration within {BEGIN_S:g} s")

    async def _keep_alive(self) -> None:
        """Its master ends when it or its worker is killed: then both are started again, from the file."""
        failures = 0
        while True:
            process, began = self._process, time.monotonic()
            if process is None:
                return
            await process.wait()
            if self._process is not process:
                continue
            self.restarts += 1
            failures = 0 if time.monotonic() - began > HEALTHY_S else failures + 1
            self._log(f"haproxy ended ({process.returncode}); starting it again")
            await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            if self._process is process:
                self._process = await _spawn()

    async def _stop(self) -> str:
        process, self._process = self._process, None
        self._slots, self._shape = {}, ""
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        if process is None:
            return "nothing"
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
        return "stop"


def write_certificates(certificates: list[Json]) -> tuple[list[str], list[str]]:
    """Writes ``name``, ``hosts``, ``pem`` down; the list's lines, and the names of those that are no certificate with
    its key. The first without hosts is for everyone who has none of his own."""
    import ssl

    folder = Path(CERTIFICATES)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines: list[str] = []
    bad: list[str] = []
    for item in sorted(certificates, key=lambda one: bool(one["hosts"])):
        file = folder / (hashlib.sha1(item["pem"].encode(), usedforsecurity=False).hexdigest()[:20] + ".pem")
        file.touch(mode=0o600)
        file.write_text(item["pem"])
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
        except (ssl.SSLError, OSError):
            bad.append(item["name"])
            file.unlink()
            continue
        lines.append(" ".join([str(file), *item["hosts"]]))
    wanted = {line.split()[0] for line in lines}
    for file in folder.glob("*.pem"):
        if str(file) not in wanted:
            file.unlink()
    (folder / "list").write_text("".join(line + "\n" for line in lines))
    return lines, bad


async def ask(line: str) -> str:
    """One line of commands to the admin socket, and its answer. Raises: OSError."""
    return (await asked(ADMIN, line.encode() + b"\n")).decode("utf-8", "replace")


async def asked(socket: str, question: bytes) -> bytes:
    """All that is answered until the end. Raises: OSError."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(question)
        async with asyncio.timeout(BEGIN_S):
            return await reader.read()
    finally:
        writer.close()


def read_http(answer: bytes) -> str:
    """The body of an HTTP answer that is whole, in pieces or not. Raises: ValueError for any other."""
    head, found, rest = answer.partition(b"\r\n\r\n")
    if not found or head.split()[1:2] != [b"200"]:
        raise ValueError(f"haproxy answered {head.splitlines()[:1]}")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest.decode("utf-8", "replace")
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body.decode("utf-8", "replace")
        body, rest = body + rest[:length], rest[length + 2:]


async def command(commands: list[str]) -> bool:
    """Whether all of them were understood."""
    try:
        answers = [await ask(";".join(commands[start: start + 60])) for start in range(0, len(commands), 60)]
    except OSError:
        return False
    words = ("No such", "Can't find", "Invalid", "Unknown", "Require", "expects", "failed")
    return not any(word in answer for answer in answers for word in words)
