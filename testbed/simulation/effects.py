"""Carries out on the simulated world what faults do inside containers (``faults/effects.py``).

Decides how a packet, a name, a request, a file operation, a clock and a cgroup fare while an effect is in force. Which
effects are in force is the holders' affair (``holders.py``). What is left out, in short: a stream is not cut into
segments (a request and an answer are one packet each, lost ones come again after TCP's first timeouts), a rate is no
queue (each packet takes its own time), duplicated and reordered packets change nothing that TCP shows, UDP is DNS only;
a load on CPUs slows an application down only where its container has a limit that the load uses up; and only what runs
in the simulation as a program can feel a clock or a file system: the sample application asks neither.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import posixpath
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from faults.effects import Clock, Disk, Effect, Files, Load, Names, Packets, Peer, Pulls, Requests, Split, left_behind
from testbed.runtime.simulated import SimulatedMachine
from testbed.runtime.simulated_damage import Damage, Echo, Sent
from testbed.runtime.simulated_machine import SimulatedContainer

Kind = TypeVar("Kind", Packets, Names, Requests, Load, Clock, Files, Pulls, Split)

_THROTTLED_S = 0.1  # CFS hands out CPU time once in this period


class Effects(Damage):
    """``host``: this machine's address, as pods see it."""

    def __init__(self, machine: SimulatedMachine, host: str) -> None:
        self._machine, self._host = machine, host
        self._held: dict[str, tuple[Effect, ...]] = {}
        machine.damage = self
        machine.exits.append(self._died)

    # --- what is in force

    def apply(self, injection: str, effects: Sequence[Effect]) -> None:
        self._held[injection] = tuple(effects)

    def lift(self, injection: str) -> None:
        self._held.pop(injection, None)

    def abandon(self, injection: str) -> None:
        """Its holder was killed: what the kernel keeps by itself stays."""
        left = [left_behind(effect) for effect in self._held.pop(injection, ())]
        if kept := tuple(effect for effect in left if effect is not None):
            self._held[injection] = kept

    @property
    def in_force(self) -> dict[str, tuple[Effect, ...]]:
        """By injection."""
        return dict(self._held)

    def _died(self, container: SimulatedContainer, code: int) -> None:
        """Nothing can be left in a container, or in a sandbox's network, that is no more."""
        for injection, effects in list(self._held.items()):
            kept = tuple(effect for effect in effects if not _within(effect, container))
            if kept != effects:
                self._held.pop(injection)
                if kept:
                    self._held[injection] = kept

    def _all(self, kind: type[Kind]) -> Iterator[Kind]:
        for effects in self._held.values():
            for effect in effects:
                if isinstance(effect, kind):
                    yield effect

    # --- packets

    def way(self, client: str, dialed: str, server: str, port: int) -> Way:
        """``client``: empty for this machine. ``dialed``: what the client calls the server."""
        return Way(self, client or self._host, dialed, server, port)

    def crossing(self, way: Way, *, back: bool, bits: int) -> float | None:
        """Seconds that a packet is late; None: it is lost."""
        late_s = 0.0
        if self._split(way, back=back):
            return None
        for effect in self._on(way, back=back):
            one_s = _one_packet(effect, bits, self._machine.draw)
            if one_s is None:
                return None
            late_s += one_s
        return late_s

    def _split(self, way: Way, *, back: bool) -> bool:
        """Whether the gateway drops it: pods of a node and those of others are kept apart."""
        source, goal = (way.server, way.client) if back else (way.client, way.server)
        return any((effect.outgoing and _inside(source, effect) and _beyond(goal, effect))
                   or (effect.incoming and _beyond(source, effect) and _inside(goal, effect))
                   for effect in self._all(Split))

    def _on(self, way: Way, *, back: bool) -> Iterator[Packets]:
        for effect in self._all(Packets):
            sandbox = self._machine.containers.get(effect.sandbox)
            own = sandbox.spec.address if sandbox is not None else ""
            if not own:
                continue
            if own == way.client:
                meant = _meant(effect.peers, way.dialed, way.port) or _meant(effect.peers, way.server, way.port)
                towards = effect.incoming if back else effect.outgoing
            else:
                meant = own == way.server and _meant(effect.peers, way.client, 0)
                towards = effect.outgoing if back else effect.incoming
            if meant and towards:
                yield effect

    def echo(self, client: str, address: str, sent: Sent, draw: random.Random) -> list[Echo]:
        """What a rate makes of them is a queue here: each waits for those before it."""
        server = next((item for item in self._machine.containers.values()
                       if item.spec.address == address and item.running), None)
        if server is None or not server.link_up:
            return [Echo(None)] * sent.count
        way, waits_s = self.way(client, address, address, 0), 0.0
        on_it = (*self._on(way, back=False), *self._on(way, back=True))
        takes_s = sum(sent.size_bytes * 8 / effect.rate for effect in on_it if effect.rate)
        if any(effect.largest and sent.size_bytes > effect.largest for effect in on_it):
            return [Echo(None)] * sent.count
        echoes = []
        for _ in range(sent.count):
            there_s, back_s = way.there(0), way.back(0)
            if there_s is None or back_s is None:
                echoes.append(Echo(None))
                continue
            waits_s = max(0.0, waits_s - sent.gap_s) + takes_s
            doubled = sum(draw.random() < effect.duplicate for effect in on_it if effect.duplicate)
            echoes.append(Echo(draw.uniform(0.00005, 0.0002) + there_s + back_s + waits_s, doubled))
        return echoes

    # --- pulls

    def meet_pull(self, registry: str, reference: str) -> float:
        late_s = 0.0
        for effect in self._all(Pulls):
            if effect.registry == registry:
                if effect.refused:
                    raise ConnectionRefusedError("connection refused")
                if effect.hidden == reference:
                    raise LookupError("manifest unknown")
                late_s += 2 * effect.delay_s  # a handshake and an answer
        return late_s

    # --- names

    def answer_name(self, sandbox: str, name: str) -> str | None:
        for effect in self._all(Names):
            if effect.sandbox == sandbox and (not effect.patterns or _matches(name, effect.patterns)):
                if effect.answer == "error":
                    raise OSError(f"bad address '{name}'")
                return str(ipaddress.IPv4Address(self._machine.draw.randrange(0x01000000, 0xDF000000)))
        return None

    # --- requests

    def requests_on(self, sandbox: str, port: int) -> tuple[Requests, ...]:
        return tuple(one for one in self._all(Requests) if one.sandbox == sandbox and one.port == port)

    # --- clocks, files, load

    def offset_s(self, container: str) -> float:
        return sum(effect.offset_s for effect in self._all(Clock) if effect.container == container)

    def meet_file(self, container: str, path: str, methods: tuple[str, ...]) -> float:
        late_s = 0.0
        for effect in self._all(Files):
            if effect.container != container or not _below(path, effect) or not _asked(methods, effect):
                continue
            if effect.share < 1.0 and self._machine.draw.random() >= effect.share:
                continue
            if effect.errno:
                raise OSError(effect.errno, os.strerror(effect.errno), path)
            late_s += effect.delay_s
        return late_s

    def load_of(self, cgroup: str) -> tuple[float, int]:
        loads = [effect for effect in self._all(Load) if SimulatedMachine.within(effect.cgroup, cgroup)]
        return sum(effect.cpus for effect in loads), sum(effect.memory_bytes for effect in loads)

    def late_answer_s(self, container: SimulatedContainer) -> float:
        """An application whose CPU time is used up by somebody else answers in the next period."""
        limit = container.limits.cpu_quota_us / 100_000
        busy = self.load_of(container.cgroup)[0]
        return self._machine.draw.uniform(0.0, _THROTTLED_S) if limit and busy >= limit else 0.0


@dataclass(frozen=True)
class Way:
    """Of one connection, between two addresses. What lies on it is looked up for each packet."""

    effects: Effects
    client: str
    dialed: str
    server: str
    port: int

    def there(self, bits: int) -> float | None:
        return self.effects.crossing(self, back=False, bits=bits)

    def back(self, bits: int) -> float | None:
        return self.effects.crossing(self, back=True, bits=bits)


def _one_packet(effect: Packets, bits: int, draw: random.Random) -> float | None:
    if effect.drop or draw.random() < effect.loss or draw.random() < effect.corrupt:  # a wrong checksum is a loss
        return None
    if effect.largest and bits > effect.largest * 8:
        return None
    late_s = bits / effect.rate if effect.rate else 0.0
    if effect.latency_s or effect.jitter_s:
        if effect.reorder and draw.random() < effect.reorder:  # tc-netem(8): these are sent at once
            return late_s
        late_s += max(0.0, effect.latency_s + draw.uniform(-effect.jitter_s, effect.jitter_s))
    return late_s


def _inside(address: str, effect: Split) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(effect.inside)


def _beyond(address: str, effect: Split) -> bool:
    found = ipaddress.IPv4Address(address)
    return found in ipaddress.IPv4Network(effect.around) and not any(
        found in ipaddress.IPv4Network(near) for near in (effect.inside, *effect.friends))


def _meant(peers: tuple[Peer, ...], address: str, port: int) -> bool:
    """``port`` 0: unknown, which only a peer with all its ports means."""
    return not peers or any(
        ipaddress.IPv4Address(address) in ipaddress.IPv4Network(peer.cidr, strict=False) and peer.port in (0, port)
        for peer in peers
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name.rstrip("."), pattern.lower().rstrip(".")) for pattern in patterns)


def _below(path: str, effect: Files) -> bool:
    inside = path == effect.path or path.startswith(effect.path.rstrip("/") + "/")
    return inside and (not effect.pattern or fnmatch.fnmatchcase(path, posixpath.join(effect.path, effect.pattern)))


def _asked(methods: tuple[str, ...], effect: Files) -> bool:
    return not effect.methods or any(method in effect.methods for method in methods)


def _within(effect: Effect, container: SimulatedContainer) -> bool:
    match effect:
        case Packets() | Names() | Requests():
            return effect.sandbox == container.id
        case Pulls():
            return effect.registry == container.id
        case Split():
            return effect.gateway == container.id
        case Clock() | Files():
            return effect.container == container.id
        case Load() | Disk():
            return effect.cgroup == container.cgroup
