"""The cluster's names, and a small DNS server for them; all other names are asked upstream.

Names follow the DNS specification of Kubernetes as CoreDNS serves it (``pods insecure``, TTL 5 s). Which records there
are, the feeder says.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

A, CNAME, SOA, PTR, AAAA, SRV, ANY = 1, 5, 6, 12, 28, 33, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 1, 2, 3
TTL_S = 5  # CoreDNS' kubernetes plugin


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
    """UDP and TCP on port 53. ``answered``: told of each answer, with its transport."""

    def __init__(self, zone: Zone, servers: list[str]) -> None:
        self.zone, self._servers = zone, servers
        self.answered: Callable[[str, bytes], None] = lambda transport, answer: None
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
        else:
            self._send(answer, addr)

    async def _forward(self, query: bytes, addr: Any) -> None:
        self._send(await self.answer(query, 512), addr)

    def _send(self, answer: bytes, addr: Any) -> None:
        self.answered("udp", answer)
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
                self.answered("tcp", answer)
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()
