"""A netfilter queue by netlink, and the reader that holds its packets back until they are due.

Standard library only. The kernel copies each packet (linux/netfilter/nfnetlink_queue.h); large ones that the network
card would cut come cut already, because we do not say that we can take them whole, and with their checksums made.
"""

import heapq
import os
import select
import socket
import struct
import time

NETLINK_NETFILTER = 12
SUBSYSTEM_QUEUE = 3
PACKET, VERDICT, CONFIG = 0, 1, 2  # enum nfqnl_msg_types
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN = 1, 2, 3
PACKET_HDR, VERDICT_HDR, MARK, PAYLOAD = 1, 2, 3, 10
DROP, REPEAT = 0, 4
BIND, COPY_PACKET = 1, 2
MAX_WAITING = 10000  # packets; the same is told to netem, whose own default is 1000
RECEIVE_BYTES = 1 << 20
BATCH = 64
EARLY_S = 0.00005  # what a select costs
POST_ROUTING = 4  # enum nf_inet_hooks
SO_SNDBUFFORCE = 32


def attribute(kind, data):
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + b"\0" * (-length % 4)


def attributes(data):
    """Kind and value of each."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4:at + length]
        at += (length + 3) & ~3


class Queue:
    """Raises: OSError when another process reads it already, or the kernel has no such queues."""

    def __init__(self, number):
        self.number = number
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((0, 0))
        self._ask(attribute(CFG_CMD, struct.pack("!BxH", BIND, socket.AF_UNSPEC)))
        self._ask(attribute(CFG_PARAMS, struct.pack("!IB", 0xFFFF, COPY_PACKET))
                  + attribute(CFG_QUEUE_MAXLEN, struct.pack("!I", MAX_WAITING)))
        self.socket.setblocking(False)

    def _ask(self, wanted):
        self._send(CONFIG, wanted, flags=5)  # NLM_F_REQUEST | NLM_F_ACK
        answer = self.socket.recv(RECEIVE_BYTES)
        code = struct.unpack_from("=i", answer, 16)[0] if struct.unpack_from("=H", answer, 4)[0] == 2 else 0
        if code:
            raise OSError(-code, f"netfilter queue {self.number}: {os.strerror(-code)}")

    def _send(self, kind, wanted, flags=1):
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, self.number) + wanted
        self.socket.send(struct.pack("=IHHII", 16 + len(body), SUBSYSTEM_QUEUE << 8 | kind, flags, 0, 0) + body)

    def received(self):
        """(id, hook, mark, packet) of what waits in the socket; not all of it when it is very much."""
        for _ in range(BATCH):
            try:
                data = self.socket.recv(RECEIVE_BYTES)
            except OSError:  # nothing more; or ENOBUFS: the kernel could not keep up and dropped some
                return
            at = 0
            while at + 20 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == SUBSYSTEM_QUEUE << 8 | PACKET:
                    yield self._packet(data[at + 20:at + length])
                at += max(16, (length + 3) & ~3)

    @staticmethod
    def _packet(data):
        identity = hook = mark = 0
        payload = b""
        for kind, value in attributes(data):
            if kind == PACKET_HDR:
                identity, _, hook = struct.unpack_from("!IHB", value)
            elif kind == PAYLOAD:
                payload = value
            elif kind == MARK:
                mark = struct.unpack("!I", value)[0]
        return identity, hook, mark, payload

    def drop(self, identity):
        self._send(VERDICT, attribute(VERDICT_HDR, struct.pack("!II", DROP, identity)))

    def let_go(self, identity, payload=b""):
        """Through the table again, past this injection's own rules. ``payload``: what it carries instead."""
        wanted = attribute(VERDICT_HDR, struct.pack("!II", REPEAT, identity))
        self._send(VERDICT, wanted + (attribute(PAYLOAD, payload) if payload else b""))

    def close(self):
        self.socket.close()


class Copies:
    """Sends a packet again, with the mark of the first: past the rules that the first has met already."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
        self.socket.setblocking(False)

    def send(self, packet, mark):
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            self.socket.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        except OSError:
            pass  # a copy that cannot be sent is one that was lost

    def close(self):
        self.socket.close()


class Reader:
    """``fate``: packet_fate.Fate, or None: whatever comes passes.

    What is late on its way out is dropped, and a copy of it is sent when it is due. Were the packet itself held, its
    socket would count it as not sent, and TCP keeps but a millisecond's worth of such packets: a delay would be a
    throttle (net/ipv4/tcp_output.c tcp_small_queue_check; netem lets go of the socket for the same reason).
    """

    def __init__(self, queue, fate):
        self.queue, self.fate, self.copies = queue, fate, Copies()
        self.waiting = []  # (due, number, id or None for a copy, mark, packet or b"" where it is unchanged)
        self.count = 0

    def turn(self, patience_s, wake):
        """Waits for packets, or until the next is due, or ``wake`` becomes readable; at most so long."""
        now = time.monotonic()
        if self.waiting:
            patience_s = min(patience_s, max(0.0, self.waiting[0][0] - now))
        if self.queue.socket in select.select([self.queue.socket, *wake], [], [], patience_s)[0]:
            for packet in self.queue.received():
                self.arrived(*packet)
        self.let_go(time.monotonic() + EARLY_S)

    def pass_all(self):
        """From now on nothing is held back, nor what is."""
        self.fate = None
        self.let_go(float("inf"))

    def let_go(self, until):
        while self.waiting and self.waiting[0][0] <= until:
            _, _, identity, mark, packet = heapq.heappop(self.waiting)
            if identity is None:
                self.copies.send(packet, mark)
            else:
                self.queue.let_go(identity, packet)

    def arrived(self, identity, hook, mark, packet):
        now = time.monotonic()
        if self.fate is None or not packet:
            self.queue.let_go(identity)
            return
        moments = self.fate.of(now, len(packet))
        if not moments or len(self.waiting) >= MAX_WAITING:
            self.queue.drop(identity)
            return
        can_be_sent = packet[0] >> 4 == 4
        stolen = can_be_sent and hook == POST_ROUTING and self.fate.latency_s > 0
        if stolen:
            self.queue.drop(identity)
        changed = self.fate.changed(packet)
        for number, due in enumerate(moments):
            first = number == 0
            if not first and not can_be_sent:
                continue
            what = changed if first else packet
            self.count += 1
            heapq.heappush(self.waiting, (due, self.count, None, mark, what) if stolen or not first else
                           (due, self.count, identity, mark, b"" if changed is packet else changed))

    def close(self):
        self.queue.close()
        self.copies.close()
