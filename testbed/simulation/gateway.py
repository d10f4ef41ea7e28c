"""The simulated gateway: takes the feeder's whole states over its socket and says where a Service's address leads.

Speaks the wire form of ``compose/images/gateway``. Which endpoints there are is the feeder's affair; which one a
connection gets is drawn, as nftables' ``numgen random`` does.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from testbed.runtime.simulated_machine import SimulatedMachine
from testbed.simulation.ingress import SimulatedFront
from testbed.simulation.transport import MemoryTransport

_APPLY_S = (0.001, 0.004)

Json = dict[str, Any]


class SimulatedGateway:
    """``services``: (address, port) to the endpoints in force."""

    def __init__(self, machine: SimulatedMachine, service_prefix: str) -> None:
        self.machine = machine
        self._prefix = service_prefix
        self.services: dict[tuple[str, int], list[tuple[str, int]]] = {}
        self.programmed = 0
        self.front = SimulatedFront(machine)

    def accept(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        return _Feed(self, protocol)

    def translate(self, address: str, port: int) -> tuple[str, int] | None:
        """None: a Service without an endpoint, which is refused."""
        endpoints = self.services.get((address, port))
        if endpoints is None:
            return None if address.startswith(self._prefix) else (address, port)
        return self.machine.draw.choice(endpoints) if endpoints else None

    def program(self, services: list[Json]) -> bool:
        """Whether anything changed."""
        fresh = {
            (str(item["address"]), int(item["port"])): [(str(one[0]), int(one[1])) for one in item["endpoints"]]
            for item in services if item["protocol"] == "tcp"
        }
        changed = fresh != self.services
        self.services = fresh
        self.programmed += 1
        return changed

    def apply_s(self) -> float:
        return self.machine.draw.uniform(*_APPLY_S)


class _Feed(MemoryTransport):
    def __init__(self, gateway: SimulatedGateway, protocol: asyncio.BaseProtocol) -> None:
        super().__init__(protocol)
        self._gateway = gateway
        self._buffer = b""

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for message in map(json.loads, lines):
            if message["op"] == "ingress":
                self._gateway.front.feed(message, self.deliver)
            else:
                self._gateway.machine.later(self._gateway.apply_s(), self._apply, message)

    def _apply(self, message: Json) -> None:
        changed = self._gateway.program(message["services"])
        answer = {"revision": message["revision"], "applied_ns": int(self._loop.time() * 1e9), "changed": changed}
        self.deliver(json.dumps(answer).encode() + b"\n")
