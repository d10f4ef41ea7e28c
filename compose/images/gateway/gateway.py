"""The gateway: the pods' router, which holds the ClusterIPs and answers DNS. Runs as pid 1 of its container.

It decides nothing. Whoever feeds it sends the *whole* wanted state as one line of JSON over the unix socket
``control.sock``; it is applied in one nftables transaction, only where it differs from what is in force, and answered
with the CLOCK_MONOTONIC nanoseconds of the moment it took effect. Rules are ``rules``, names are ``dns``, HAProxy for
Ingresses is ``ingress``, what is counted of it all ``counts``. Standard library and python3-nftables only.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from counts import Counts
from dns import DnsServer, Zone, upstream_servers
from ingress import Ingress
from rules import Ruleset, Settings


class Gateway:
    def __init__(self, settings: Settings, apply: Any, dns: DnsServer) -> None:
        self._settings, self._apply, self._dns = settings, apply, dns
        self._ruleset = Ruleset(settings)
        self._services: list[dict[str, Any]] | None = None
        self._records: dict[str, Any] | None = None
        self._ingress = Ingress(log)
        self._counts = Counts()
        dns.answered = self._counts.answered
        self.revision = 0
        self.programmed = False

    def program(self, services: list[dict[str, Any]]) -> bool:
        """Brings ``services`` into force; False when they already were. Raises: RuntimeError (nftables' own words)."""
        if services == self._services:
            return False
        text, chains, sets = self._ruleset.render(services)
        self._apply(text)
        self._ruleset.applied(chains, sets)
        self._services = services
        return True

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("op"):
            case "program":
                try:
                    return self._programmed(request)
                except (RuntimeError, ValueError, KeyError, TypeError) as error:
                    self._counts.refused(error)
                    raise
            case "metrics":
                return {"metrics": {**self._counts.json(), "ingress": self._ingress.json(), **self._sizes()}}
        return {"revision": self.revision, "programmed": self.programmed}

    def _programmed(self, request: dict[str, Any]) -> dict[str, Any]:
        started = time.monotonic_ns()
        changed = self.program(request["services"])
        if request.get("records") != self._records:
            self._records = request.get("records")
            self._dns.zone = Zone(self._settings.domain, self._records)
        self.revision, self.programmed = int(request["revision"]), True
        now = time.monotonic_ns()
        self._counts.programmed((now - started) / 1e9, changed=changed)
        return {"revision": self.revision, "changed": changed, "applied_ns": now, "took_ns": now - started}

    def _sizes(self) -> dict[str, Any]:
        services = self._services or []
        return {"service_ports": len(services), "endpoints": sum(len(item["endpoints"]) for item in services)}

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("op"):
            case "ingress":
                return await self._ingress.program(request)
            case "haproxy":
                return {"haproxy": await self._ingress.metrics()}
        return self.handle(request)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = await self._answer(json.loads(line))
                except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                    log(answer["error"])
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def nftables_apply() -> Any:
    """A function that applies one transaction through libnftables."""
    import nftables  # type: ignore[import-not-found]

    library = nftables.Nftables()

    def apply(text: str) -> None:
        code, _, error = library.cmd(text)
        if code:
            raise RuntimeError(f"nftables: {error.strip()}")

    return apply


def log(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def main(settings: Settings, servers: list[str]) -> None:
    """Serves until SIGTERM. ``servers``: where names that are not the cluster's are asked."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    dns = DnsServer(Zone(settings.domain), servers)
    gateway = Gateway(settings, nftables_apply(), dns)
    gateway.program([])
    await loop.create_datagram_endpoint(lambda: dns, local_addr=("0.0.0.0", 53))
    await asyncio.start_server(dns.serve_tcp, "0.0.0.0", 53)
    await asyncio.start_unix_server(gateway.serve, settings.socket, limit=64 << 20)
    log("ready")
    await stop.wait()


if __name__ == "__main__":
    _settings = Settings(dict(os.environ))
    Path(_settings.socket).unlink(missing_ok=True)
    os.umask(0)  # the socket is for a user who need not be root; its directory is that user's alone
    asyncio.run(main(_settings, upstream_servers(Path("/etc/resolv.conf").read_text())))
