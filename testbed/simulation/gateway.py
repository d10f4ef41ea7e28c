"""The simulated gateway: takes the feeder's whole states over its socket and says where a Service's address leads.

Speaks the wire form of ``compose/images/gateway`` and means by it what nftables makes of it (``rules.py`` there). Which
endpoints there are is the feeder's affair; which one a connection gets is drawn, or remembered where clients shall come
back to theirs. Names are answered from the same states.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import dataclass
from typing import Any

from testbed.api import labels
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated_exec import run_main
from testbed.runtime.simulated_machine import SimulatedContainer, SimulatedMachine
from testbed.simulation.ingress import SimulatedFront
from testbed.simulation.transport import MemoryTransport

_APPLY_S = (0.001, 0.004)
NOWHERE = ("0.0.0.0", 0)  # what is dropped

Json = dict[str, Any]
Target = tuple[str, int]


@dataclass(frozen=True)
class _Port:
    """One port of a Service at one of its addresses. ``local`` None: clients of all nodes get all endpoints."""

    service: str
    endpoints: tuple[Target, ...]
    affinity_s: float
    local: tuple[tuple[str, tuple[Target, ...]], ...] | None = None
    sources: tuple[str, ...] | None = None


class SimulatedGateway:
    """``services``: (address, port) to the endpoints in force. ``host``: this machine's address; ``pods``: the range
    of all pods."""

    def __init__(self, machine: SimulatedMachine, service_range: str, host: str, address: str, pods: str) -> None:
        self.machine = machine
        self._services, self._host, self._address, self._pods = service_range, host, address, pods
        self._ports: dict[Target, _Port] = {}
        self._remembered: dict[tuple[str, Target, str], float] = {}  # Service's port, endpoint, client: until when
        self._records: Json = {}
        self._own: set[str] = set()  # addresses that it answers for
        self.services: dict[Target, list[Target]] = {}
        self.front = SimulatedFront(machine)

    def accept(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        return _Feed(self, protocol)

    def translate(self, address: str, port: int, source: str = "") -> Target | None:
        """``source``: the client's address, this machine where it is empty. None: refused, since there is no endpoint
        at all; ``NOWHERE``: dropped."""
        found = self._ports.get((address, port))
        if found is None:
            ours = address in self._own or address == self._address or _within(address, self._services)
            return None if ours else (address, port)
        client = source or self._host
        if not found.endpoints:
            return None
        if found.sources is not None and not any(_within(client, item) for item in found.sources):
            return NOWHERE
        endpoints = found.endpoints
        if found.local is not None:
            own = next((mine for where, mine in found.local if _within(client, where)), ())
            if not own and client != self._host and _within(client, self._pods):
                return NOWHERE
            endpoints = own or endpoints
        return self._choose(found, endpoints, client)

    def _choose(self, port: _Port, endpoints: tuple[Target, ...], client: str) -> Target:
        if not port.affinity_s:
            return self.machine.draw.choice(endpoints)
        now = asyncio.get_running_loop().time()
        kept = [one for one in endpoints if self._remembered.get((port.service, one, client), 0.0) > now]
        chosen = kept[0] if kept else self.machine.draw.choice(endpoints)
        self._remembered[port.service, chosen, client] = now + port.affinity_s
        return chosen

    def resolve(self, name: str) -> str:
        """An address of a name of the cluster, written out in full; empty when there is none."""
        name = self._records.get("cname", {}).get(name, name)
        addresses = self._records.get("a", {}).get(name) or ()
        return self.machine.draw.choice(list(addresses)) if addresses else ""

    def program(self, services: list[Json], records: Json | None = None) -> bool:
        """Whether anything changed."""
        ports: dict[Target, _Port] = {}
        for item in services:
            if item["protocol"] == "tcp":
                ports |= self._told(item)
        self._own = {str(item["address"]) for item in services}
        changed = ports != self._ports
        for forgotten in {item.service for item in self._ports.values()} - {item.service for item in ports.values()}:
            self._remembered = {key: until for key, until in self._remembered.items() if key[0] != forgotten}
        self._ports, self._records = ports, records or {}
        self.services = {where: list(port.endpoints) for where, port in ports.items()}
        return changed

    def _told(self, item: Json) -> dict[Target, _Port]:
        affinity_s = float(item.get("affinity_s") or 0)
        name = f"{item['name']}/{item['address']}/{item['port']}/{affinity_s:g}"
        outside = _Port(name, _targets(item["endpoints"]), affinity_s,
                        sources=tuple(item["sources"]) if "sources" in item else None)
        inside = _Port(name, outside.endpoints, affinity_s)
        if "local" in item:
            inside = _Port(name, outside.endpoints, affinity_s,
                           tuple((str(where), _targets(mine)) for where, mine in item["local"]))
        port = int(item["port"])
        found = {(str(one), port): outside for one in item.get("external", ())}
        found[str(item["address"]), port] = inside
        if item.get("node_port"):
            found[self._address, int(item["node_port"])] = _Port(name, outside.endpoints, affinity_s)
        return found

    def apply_s(self) -> float:
        return self.machine.draw.uniform(*_APPLY_S)


def run_gateway_container(machine: SimulatedMachine, instance_id: str, address: str) -> SimulatedContainer:
    """The gateway as the engine shows it: a container from which others are looked at. It has an address, and what it
    does there is ``SimulatedGateway``'s."""
    spec = ContainerSpec(
        name="testbed-simulation-gateway", image="testbed-gateway:1", address=address,
        labels={labels.INSTANCE: instance_id, labels.ROLE: labels.ROLE_GATEWAY},
        command=("sleep", "infinity"), network="testbed-simulation",
    )
    container = SimulatedContainer("9a7e" * 16, spec, machine.images[spec.image].id, machine.clock.now())
    machine.containers[container.id] = container
    machine.run(container, run_main)
    return container


def _targets(endpoints: list[Any]) -> tuple[Target, ...]:
    return tuple((str(address), int(port)) for address, port in endpoints)


def _within(address: str, where: str) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(where, strict=False)


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
        changed = self._gateway.program(message["services"], message.get("records"))
        answer = {"revision": message["revision"], "applied_ns": int(self._loop.time() * 1e9), "changed": changed}
        self.deliver(json.dumps(answer).encode() + b"\n")
