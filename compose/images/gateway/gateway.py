"""The gateway: the pods' router, which holds the ClusterIPs and answers DNS. Runs as pid 1 of its container.

It decides nothing. Whoever feeds it sends the *whole* wanted state as one line of JSON over the unix socket
``control.sock``; it is applied in one nftables transaction, only where it differs from what is in force, and answered
with the CLOCK_MONOTONIC nanoseconds of the moment it took effect. Services are translated as kube-proxy's nftables
mode does (kubernetes: pkg/proxy/nftables/proxier.go): a random ready endpoint, refused when there is none, masqueraded
only when the host or the endpoint itself asks. Standard library and python3-nftables only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TABLE = "ip testbed"
MASQUERADE = "0x4000"  # kubernetes: masqueradeBit 14
A, CNAME, SOA, PTR, AAAA, SRV, ANY = 1, 5, 6, 12, 28, 33, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 1, 2, 3
TTL_S = 5  # CoreDNS' kubernetes plugin


class Settings:
    """What does not change while the container lives, from its environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.host = environment["HOST_ADDRESS"]
        self.gateway = environment["GATEWAY_ADDRESS"]
        self.dns = environment["DNS_ADDRESS"]
        self.subnet = environment["SUBNET"]
        self.service_range = environment["SERVICE_RANGE"]
        self.domain = environment.get("CLUSTER_DOMAIN", "cluster.local")
        self.socket = environment.get("CONTROL_SOCKET", "/run/testbed/control.sock")


# --- nftables


def chain_name(service: dict[str, Any]) -> str:
    """A name that stays the same while the service port does: affinity outlives a change of endpoints."""
    identity = f"{service['name']}/{service['address']}/{service['protocol']}/{service['port']}"
    return "svc_" + hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()[:16]


def endpoint_chain(service: dict[str, Any], address: str, port: int) -> str:
    return f"{chain_name(service)}_{address.replace('.', '_')}_{port}"


class Ruleset:
    """Renders whole states and remembers which chains and sets stand, so that those no longer wanted are removed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.chains: dict[str, None] = {}
        self.sets: dict[str, None] = {}
        self._first = True

    def render(self, services: list[dict[str, Any]]) -> tuple[str, dict[str, None], dict[str, None]]:
        """One transaction that makes ``services`` the state in force; and the chains and sets it will have made.

        A service: ``name address protocol port node_port affinity_s endpoints`` (list of ``[address, port]``).
        """
        chains: dict[str, None] = {}
        sets: dict[str, None] = {}
        body: list[str] = []
        by_address: list[str] = []
        by_node_port: list[str] = []
        hairpin: dict[str, None] = {}
        for service in services:
            endpoints = [(str(address), int(port)) for address, port in service["endpoints"]]
            if not endpoints:
                continue
            body += self._service(service, endpoints, chains, sets)
            name = chain_name(service)
            by_address.append(f"{service['address']} . {service['protocol']} . {service['port']} : goto {name}")
            if service.get("node_port"):
                by_node_port.append(f"{service['protocol']} . {service['node_port']} : goto {name}")
            hairpin |= dict.fromkeys(f"{address} . {address}" for address, _ in endpoints)
        addresses = dict.fromkeys(str(service["address"]) for service in services)
        lines = ["add table " + TABLE]
        if self._first:
            lines += ["delete table " + TABLE, "add table " + TABLE]
        else:
            lines += [f"flush table {TABLE}"]
            lines += [f"flush map {TABLE} {name}" for name in ("service_ips", "node_ports")]
            lines += [f"flush set {TABLE} {name}" for name in ("cluster_ips", "hairpin")]
            lines += [f"delete chain {TABLE} {name}" for name in self.chains if name not in chains]
            lines += [f"delete set {TABLE} {name}" for name in self.sets if name not in sets]
        lines += [f"table {TABLE} {{"]
        lines += [
            _elements("map service_ips", "ipv4_addr . inet_proto . inet_service : verdict", ()),
            _elements("map node_ports", "inet_proto . inet_service : verdict", ()),
            _elements("set cluster_ips", "ipv4_addr", addresses),
            _elements("set hairpin", "ipv4_addr . ipv4_addr", hairpin),
        ]
        lines += self._base() + body + ["}"]
        lines += _add_elements("service_ips", by_address) + _add_elements("node_ports", by_node_port)
        return "\n".join(lines) + "\n", chains, sets

    def applied(self, chains: dict[str, None], sets: dict[str, None]) -> None:
        """The transaction of ``render`` is in force."""
        self._first = False
        self.chains, self.sets = chains, sets

    def _base(self) -> list[str]:
        settings = self._settings
        return [
            " chain prerouting { type nat hook prerouting priority dstnat; policy accept;",
            f"  ip daddr {settings.dns} meta l4proto {{ tcp, udp }} th dport 53 dnat to {settings.gateway}",
            f"  ip saddr {settings.host} meta mark set meta mark | {MASQUERADE}",
            "  ip daddr . meta l4proto . th dport vmap @service_ips",
            f"  ip daddr {settings.gateway} meta l4proto . th dport vmap @node_ports",
            " }",
            " chain postrouting { type nat hook postrouting priority srcnat; policy accept;",
            f"  ct status dnat meta mark & {MASQUERADE} != 0 masquerade",
            "  ct status dnat ip saddr . ip daddr @hairpin masquerade",
            # To the outside: where bridged packets pass the host's netfilter (br_netfilter), the host has already
            # seen this flow on its way to us, untranslated, and would not masquerade it any more.
            f"  ip daddr != {settings.subnet} masquerade",
            " }",
            # A destination that is still a Service's own address was translated by nothing: refuse or, when no
            # Service has that address, swallow it.
            " chain forwarding { type filter hook forward priority filter; policy accept;",
            "  ip daddr @cluster_ips goto refuse",
            f"  ip daddr {settings.service_range} drop",
            " }",
            " chain refuse {",
            "  meta l4proto tcp reject with tcp reset",
            "  reject with icmp type port-unreachable",
            " }",
        ]

    def _service(
        self, service: dict[str, Any], endpoints: list[tuple[str, int]], chains: dict[str, None], sets: dict[str, None]
    ) -> list[str]:
        name, protocol, affinity_s = chain_name(service), service["protocol"], int(service.get("affinity_s") or 0)
        chains[name] = None
        if not affinity_s:
            targets = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(endpoints))
            choice = f"numgen random mod {len(endpoints)} map {{ {targets} }}"
            return [f" chain {name} {{ meta l4proto {protocol} dnat ip addr . port to {choice}; }}"]
        lines, keep, pick = [], [], []
        for index, (address, port) in enumerate(endpoints):
            chain = endpoint_chain(service, address, port)
            chains[chain] = sets["aff_" + chain] = None
            lines += [
                f" set aff_{chain} {{ type ipv4_addr; flags dynamic,timeout; timeout {affinity_s}s; }}",
                f" chain {chain} {{ update @aff_{chain} {{ ip saddr }};"
                f" meta l4proto {protocol} dnat to {address}:{port}; }}",
            ]
            keep.append(f"  ip saddr @aff_{chain} goto {chain}")
            pick.append(f"{index} : goto {chain}")
        choice = f"  numgen random mod {len(endpoints)} vmap {{ {', '.join(pick)} }}"
        return [*lines, f" chain {name} {{", *keep, choice, " }"]


def _elements(head: str, kind: str, elements: Any) -> str:
    inside = f" elements = {{ {', '.join(elements)} }};" if elements else ""
    return f" {head} {{ type {kind};{inside} }}"


def _add_elements(name: str, elements: list[str]) -> list[str]:
    return [f"add element {TABLE} {name} {{ {', '.join(elements)} }}"] if elements else []


# --- DNS


class Zone:
    """Names of the cluster's domain. ``srv``: name to ``[port, target]``."""

    def __init__(self, domain: str, records: dict[str, Any] | None = None) -> None:
        records = records or {}
        self.domain = domain
        self.a: dict[str, list[str]] = records.get("a", {})
        self.srv: dict[str, list[list[Any]]] = records.get("srv", {})
        self.cname: dict[str, str] = records.get("cname", {})
        self.ptr: dict[str, str] = records.get("ptr", {})
        # Names that only have something below them exist too: no data, not "no such name".
        self.names = set(self.a) | set(self.srv) | set(self.cname) | {domain}
        for name in tuple(self.names):
            while "." in name:
                name = name.partition(".")[2]
                if not name.endswith(domain):
                    break
                self.names.add(name)

    def owns(self, name: str) -> bool:
        return name == self.domain or name.endswith("." + self.domain) or name in self.ptr

    def answers(self, name: str, kind: int) -> list[tuple[str, int, bytes]]:
        found: list[tuple[str, int, bytes]] = []
        if name in self.cname:
            target = self.cname[name].lower()
            alias = [(name, CNAME, encode_name(target))]
            return alias + (self.answers(target, kind) if target in self.a else [])
        if kind in (A, ANY):
            found += [(name, A, socket.inet_aton(address)) for address in self.a.get(name) or self._pod(name)]
        if kind in (SRV, ANY):
            found += [(name, SRV, struct.pack("!HHH", 0, 100, int(port)) + encode_name(target))
                      for port, target in self.srv.get(name, ())]
        if kind in (PTR, ANY) and name in self.ptr:
            found.append((name, PTR, encode_name(self.ptr[name])))
        return found

    def exists(self, name: str) -> bool:
        return name in self.names or name in self.ptr or bool(self._pod(name))

    def _pod(self, name: str) -> list[str]:
        """``10-1-2-3.default.pod.cluster.local`` is 10.1.2.3 (CoreDNS: ``pods insecure``)."""
        labels = name.removesuffix("." + self.domain).split(".")
        if len(labels) != 3 or labels[2] != "pod":
            return []
        address = labels[0].replace("-", ".")
        try:
            socket.inet_aton(address)
        except OSError:
            return []
        return [address] if address.count(".") == 3 else []


def encode_name(name: str) -> bytes:
    labels = [label.encode("ascii", "replace")[:63] for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def read_question(query: bytes) -> tuple[str, int, int]:
    """Name (lower case, no final dot), type, and where the question ends. Raises: ValueError on a broken packet."""
    if len(query) < 17 or struct.unpack_from("!H", query, 4)[0] != 1:
        raise ValueError("not one question")
    labels, offset = [], 12
    while True:
        length = query[offset]
        offset += 1
        if not length:
            break
        if length > 63 or offset + length + 5 > len(query):
            raise ValueError("broken name")
        labels.append(query[offset:offset + length].decode("ascii", "replace").lower())
        offset += length
    kind, _ = struct.unpack_from("!HH", query, offset)
    return ".".join(labels), kind, offset + 4


def respond(query: bytes, zone: Zone, limit: int, outside: Sequence[bytes] = ()) -> bytes | None:
    """The answer to ``query``, at most ``limit`` bytes; None when the name is not the cluster's.

    ``outside``: addresses of the outside name that the asked name is an alias of.
    """
    try:
        name, kind, end = read_question(query)
    except (ValueError, IndexError, struct.error):
        return query[:2] + struct.pack("!HHHHH", 0x8000 | FORMAT_ERROR, 0, 0, 0, 0)
    if not zone.owns(name):
        return None
    answers = zone.answers(name, kind) + [(zone.cname.get(name, name), A, address) for address in outside]
    code = NO_ERROR if answers or zone.exists(name) else NO_SUCH_NAME
    packed = []
    for owner, record, data in answers:
        owner_name = b"\xc0\x0c" if owner == name else encode_name(owner)
        packed.append(owner_name + struct.pack("!HHIH", record, 1, TTL_S, len(data)) + data)
    authority = b"" if packed else _soa(zone.domain)
    truncated = 0
    while packed and 12 + (end - 12) + sum(map(len, packed)) > limit:
        packed.pop()
        truncated = 0x0200
    flags = 0x8480 | truncated | (struct.unpack_from("!H", query, 2)[0] & 0x0100) | code
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(packed), 1 if authority else 0, 0)
    return head + query[12:end] + b"".join(packed) + authority


def _soa(domain: str) -> bytes:
    """Tells resolvers that "no" may be remembered for TTL_S only."""
    data = encode_name("ns.dns." + domain) + encode_name("hostmaster." + domain)
    data += struct.pack("!IIIII", 1, 7200, 1800, 86400, TTL_S)
    return encode_name(domain) + struct.pack("!HHIH", SOA, 1, TTL_S, len(data)) + data


def outside_alias(query: bytes, zone: Zone) -> str:
    """The outside name whose address is asked for under a name of the cluster (ExternalName); else empty."""
    try:
        name, kind, _ = read_question(query)
    except (ValueError, IndexError, struct.error):
        return ""
    target = zone.cname.get(name, "")
    return target if target and kind in (A, ANY) and target.lower() not in zone.a else ""


def make_query(name: str, kind: int) -> bytes:
    return os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack("!HH", kind, 1)


def addresses_in(answer: bytes) -> list[bytes]:
    """The A records of an answer, whatever their names (the last links of a chain of aliases)."""
    found = []
    try:
        count = struct.unpack_from("!H", answer, 6)[0]
        offset = read_question(answer)[2]
        for _ in range(count):
            while answer[offset] and answer[offset] < 0xC0:
                offset += 1 + answer[offset]
            offset += 2 if answer[offset] else 1
            kind, _, _, length = struct.unpack_from("!HHIH", answer, offset)
            if kind == A and length == 4:
                found.append(answer[offset + 10:offset + 14])
            offset += 10 + length
    except (ValueError, IndexError, struct.error):
        return found
    return found


def failure(query: bytes) -> bytes:
    try:
        end = read_question(query)[2]
    except (ValueError, IndexError, struct.error):
        end = 12
    return query[:2] + struct.pack("!HHHHH", 0x8080 | SERVER_FAILURE, 1 if end > 12 else 0, 0, 0, 0) + query[12:end]


def upstream_servers(text: str) -> list[str]:
    """``nameserver`` lines of a resolv.conf, IPv4 only."""
    words = [line.split() for line in text.splitlines()]
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver" and ":" not in word[1]]


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, answer: asyncio.Future[bytes]) -> None:
        self._query, self._answer = query, answer

    def connection_made(self, transport: Any) -> None:
        transport.sendto(self._query)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[:2] == self._query[:2] and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def ask_upstream(query: bytes, servers: list[str], timeout_s: float = 1.0) -> bytes:
    """The answer of the first upstream server that gives one, else "server failure"."""
    loop = asyncio.get_running_loop()
    for server in servers:
        answer: asyncio.Future[bytes] = loop.create_future()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda answer=answer: _Asking(query, answer), remote_addr=(server, 53)  # type: ignore[misc]
            )
        except OSError:
            continue
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except (OSError, TimeoutError):
            continue
        finally:
            transport.close()
    return failure(query)


class DnsServer(asyncio.DatagramProtocol):
    """UDP and TCP on port 53."""

    def __init__(self, zone: Zone, servers: list[str]) -> None:
        self.zone, self._servers = zone, servers
        self._transport: Any = None
        self._asking: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) < 12:
            return
        answer = None if outside_alias(data, self.zone) else respond(data, self.zone, 512)
        if answer is None:
            task = asyncio.ensure_future(self._forward(data, addr))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        elif self._transport:
            self._transport.sendto(answer, addr)

    async def _forward(self, query: bytes, addr: Any) -> None:
        answer = await self.answer(query, 512)
        if self._transport:
            self._transport.sendto(answer, addr)

    async def answer(self, query: bytes, limit: int) -> bytes:
        """Of the cluster's names at once, of others from upstream, of aliases from both."""
        outside: list[bytes] = []
        if alias := outside_alias(query, self.zone):
            outside = addresses_in(await ask_upstream(make_query(alias, A), self._servers))
        known = respond(query, self.zone, limit, outside)
        return await ask_upstream(query, self._servers) if known is None else known

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(10):
                    size = struct.unpack("!H", await reader.readexactly(2))[0]
                    query = await reader.readexactly(size)
                answer = await self.answer(query, 65535)
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()


# --- control


class Gateway:
    def __init__(self, settings: Settings, apply: Any, dns: DnsServer) -> None:
        self._settings, self._apply, self._dns = settings, apply, dns
        self._ruleset = Ruleset(settings)
        self._services: list[dict[str, Any]] | None = None
        self._records: dict[str, Any] | None = None
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
        if request.get("op") == "program":
            started = time.monotonic_ns()
            changed = self.program(request["services"])
            if request.get("records") != self._records:
                self._records = request.get("records")
                self._dns.zone = Zone(self._settings.domain, self._records)
            self.revision, self.programmed = int(request["revision"]), True
            now = time.monotonic_ns()
            return {"revision": self.revision, "changed": changed, "applied_ns": now, "took_ns": now - started}
        return {"revision": self.revision, "programmed": self.programmed}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = self.handle(json.loads(line))
                except (RuntimeError, ValueError, KeyError, TypeError) as error:
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
