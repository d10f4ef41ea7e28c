"""Answers DNS questions of a pod's own processes itself, with an error or with a random address.

Datagrams to port 53 come to a queue reader: a question that is meant is answered in the resolver's name and goes no
further, all else passes untouched, in the same packet, to whomever it was sent. No address is translated, so the
connection tracker has nothing to remember, and what it remembers from before changes nothing. TCP connections to port
53 are taken by a proxy that does the same. Killed, it answers nothing any more and every question passes
(``--queue-bypass``).
"""

import asyncio
import random
import socket
import struct
import time
from pathlib import Path

import dns_packet
import steering

PORT = 53
UDP, TCP = 17, 6
MAX_IDLE_S = 30.0
RESOLV = Path("/etc/resolv.conf")


def hold(plan, ready, over):
    asyncio.run(_hold(plan, ready, over))


def clear(plan):
    steering.end(plan["id"])


async def _hold(plan, ready, over):
    steering.end(plan["id"])
    rules = [*steering.udp_out(PORT), *steering.tcp_out(PORT), *steering.forged_from(PORT)]
    level, queue, listener = steering.begin(plan["id"], rules)
    answering = Answering(plan["patterns"], plan["answer"], level)
    loop = asyncio.get_running_loop()
    loop.add_reader(queue.socket, answering.read, queue)
    server = await asyncio.start_server(answering.serve, sock=listener)
    ready(f"questions to port {PORT} are read from netfilter queue {level.queue}, level {level.number}")
    try:
        await over.ended()
    finally:
        steering.end(plan["id"])
        answering.read(queue)
        loop.remove_reader(queue.socket)
        server.close()


class Answering:
    """``answer``: "error" or "random"."""

    def __init__(self, patterns, answer, level):
        self._patterns, self._random_answer, self._level = patterns, answer == "random", level
        self._random = random.Random()
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw.setsockopt(socket.SOL_SOCKET, steering.SO_MARK, steering.FORGED)

    def answer(self, message):
        """Ours to a message, or None when it is not meant."""
        asked = dns_packet.question(message)
        if asked is None or not dns_packet.means(self._patterns, asked.name):
            return None
        return dns_packet.random_address(asked, self._random) if self._random_answer else dns_packet.failure(asked)

    def read(self, queue):
        for identity, _, mark, data in queue.received():
            size = (data[0] & 0xF) * 4 if len(data) >= 20 else 0
            protocol = data[9] if size >= 20 else 0
            if protocol == TCP:
                queue.take(identity, mark)
                continue
            answer = self.answer(data[size + 8:]) if protocol == UDP else None
            if answer is None:
                queue.pass_on(identity, mark)
                continue
            queue.drop(identity)
            self._raw.sendto(_reversed(data, size, answer), (socket.inet_ntoa(data[12:16]), 0))

    async def serve(self, reader, writer):
        """One TCP connection to a resolver: messages with their length before them (RFC 7766)."""
        resolver = None
        try:
            where = steering.meant_for(writer.get_extra_info("socket"))
            while True:
                async with asyncio.timeout(MAX_IDLE_S):
                    message = await _message(reader)
                answer = self.answer(message)
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
                    continue
                if resolver is None:
                    resolver = await self._dial(where, writer)
                resolver.write(struct.pack("!H", len(message)) + message)
                await resolver.drain()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.close()
            if resolver is not None:
                resolver.close()

    async def _dial(self, where, writer):
        """The resolver itself; what it says goes back to the asker, message by message."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, steering.SO_MARK, self._level.passed)
        try:
            await asyncio.get_running_loop().sock_connect(sock, where)
        except OSError:
            sock.close()
            raise
        answers, resolver = await asyncio.open_connection(sock=sock)
        resolver.relay = asyncio.create_task(_relay(answers, writer))  # kept as long as its connection
        return resolver


async def _relay(answers, writer):
    try:
        while True:
            message = await _message(answers)
            writer.write(struct.pack("!H", len(message)) + message)
            await writer.drain()
    except (OSError, EOFError):
        writer.close()


async def _message(reader):
    size = struct.unpack("!H", await reader.readexactly(2))[0]
    return await reader.readexactly(size)


def _reversed(packet, size, answer):
    """The datagram that answers one: from whom it was sent to, IP header included. No UDP checksum (RFC 768)."""
    source, target = packet[12:16], packet[16:20]
    from_port, to_port = struct.unpack_from("!HH", packet, size)
    datagram = struct.pack("!HHHH", to_port, from_port, 8 + len(answer), 0) + answer
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, UDP, 0, target, source)
    return header + datagram


def resolve(question):
    """Asks for a name as a process of the pod would that only injection ``id`` stands in the way of.

    The question: ``{"id", "name", "type": "A" or "AAAA", "within_s"}``; the answer: ``{"code": 0 or the DNS error's
    number, "addresses", "forged": whether it is of this program, "resolver", "ms"}``.

    Raises: OSError when nobody answers.
    """
    lines = RESOLV.read_text().splitlines()
    resolver = next((line.split()[1] for line in lines if line.split()[:1] == ["nameserver"]), "127.0.0.1")
    kind = dns_packet.AAAA if question.get("type") == "AAAA" else dns_packet.A
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.SOL_SOCKET, steering.SO_MARK, steering.standing(question["id"])[1])
        asker.settimeout(question.get("within_s", 1.0))
        asker.connect((resolver, PORT))
        began = time.monotonic()
        asker.send(dns_packet.query(random.randrange(1 << 16), question["name"], kind))
        message = asker.recv(4096)
    code, addresses = dns_packet.read_answer(message)
    return {"code": code, "addresses": addresses, "forged": dns_packet.is_ours(message), "resolver": resolver,
            "ms": (time.monotonic() - began) * 1000}
