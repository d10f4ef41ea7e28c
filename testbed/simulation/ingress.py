"""The simulated front: what HAProxy in the gateway is to a client, by the same plan.

Hosts, paths, weights, endpoints, no endpoint (503), nobody's request (404), an endpoint that refuses, resets or is
silent (503, 502, 504 after HAProxy's own times). Not simulated: TLS, retries, ejection, breaker, limits; a plan that
asks for them is served without. Which pool has a request is ``core/ingresses``' own ``Route``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from testbed.core.ingresses import DRAWS, RoutingPlan
from testbed.network.ingress_wire import read_routes
from testbed.runtime.simulated_machine import SimulatedMachine
from testbed.simulation.transport import MemoryTransport

Json = dict[str, Any]
Endpoint = tuple[str, int]

CONNECT_S = 5.0  # as HAProxy is configured: compose/images/gateway/ingress_config.py
ANSWER_S = 60.0
HTTP_PORT = 80
RELOAD_S = 0.08
_ANSWERS = {404: "no Ingress has this host and path", 502: "bad answer", 503: "no endpoint", 504: "no answer"}


class SimulatedFront:
    """``plan``: as the feeder sent it; None: there is no Ingress and nothing listens."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine
        self._routes = RoutingPlan()
        self._pools: dict[str, list[Endpoint]] = {}
        self._turn: dict[str, int] = {}
        self.plan: Json | None = None

    def feed(self, message: Json, answer: Callable[[bytes], None]) -> None:
        """Takes what the feeder sends, and answers as the gateway does when it is in force."""
        self._machine.later(RELOAD_S, self._take, message, answer)

    def _take(self, message: Json, answer: Callable[[bytes], None]) -> None:
        changed = self.program(message["plan"])
        now_ns = int(asyncio.get_running_loop().time() * 1e9)
        answer(json.dumps({
            "revision": message["revision"], "how": "reload" if changed else "nothing", "bad_certificates": [],
            "applied_ns": now_ns, "took_ns": int(RELOAD_S * 1e9), "restarts": 0}).encode() + b"\n")

    def program(self, plan: Json | None) -> bool:
        """Whether anything changed."""
        if plan == self.plan:
            return False
        self.plan = plan
        self._routes = read_routes(plan or {})
        self._pools = {
            str(pool["name"]): [(str(one[0]), int(one[1])) for one in pool["endpoints"]]
            for pool in (plan or {}).get("pools", ())
        }
        return True

    def accept(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport | None:
        """None: refused."""
        return None if self.plan is None else _Client(self, protocol)

    def choose(self, host: str, path: str) -> Endpoint | int:
        """The endpoint of a request in turn, or the status that answers it."""
        pool = self._routes.pool_of(host, path, self._machine.draw.randrange(DRAWS))
        if not pool:
            return 404
        endpoints = self._pools.get(pool, [])
        if not endpoints:
            return 503
        turn = self._turn[pool] = self._turn.get(pool, -1) + 1
        return endpoints[turn % len(endpoints)]


class _Client(MemoryTransport):
    """A client's connection: one request after the other, each over a connection of its own to an endpoint."""

    def __init__(self, front: SimulatedFront, protocol: asyncio.BaseProtocol) -> None:
        super().__init__(protocol)
        self._front = front
        self._received = b""
        self._work: asyncio.Task[None] | None = None

    def received(self, data: bytes) -> None:
        self._received += data
        if self._work is None or self._work.done():
            self._work = self._loop.create_task(self._serve())

    def lost(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def _serve(self) -> None:
        while b"\r\n\r\n" in self._received and not self._closed:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            first, *lines = head.decode("latin-1").split("\r\n")
            target = first.split(" ")[1] if first.count(" ") >= 2 else "/"
            fields = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
            found = self._front.choose(fields.get("host", ""), target.partition("?")[0])
            self.deliver(_answer(found) if isinstance(found, int) else await _exchange(found, head + b"\r\n\r\n"))


async def _exchange(endpoint: Endpoint, request: bytes) -> bytes:
    """The endpoint's whole answer, or what HAProxy says instead of it."""
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(*endpoint)
    except (OSError, TimeoutError):
        return _answer(503)
    try:
        writer.write(request)
        async with asyncio.timeout(ANSWER_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + await reader.readexactly(length)
    except TimeoutError:
        return _answer(504)
    except (OSError, asyncio.IncompleteReadError):
        return _answer(502)
    finally:
        writer.transport.abort()


def _answer(status: int) -> bytes:
    body = _ANSWERS[status].encode()
    return f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
