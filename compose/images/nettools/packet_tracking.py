"""Tells conntrack of the connections that stand already, before rules ask it who serves whom.

conntrack takes the first packet that it sees for a request. For a connection older than the rules that may be an
answer, and client and server would be confused as long as it lives. Here each TCP connection of the namespace is
entered as what it is: it is served here when its local port listens here. Standard library only.
"""

import contextlib
import socket
import struct
from pathlib import Path

from packet_queue import NETLINK_NETFILTER, attribute

SUBSYSTEM_CONNTRACK = 1  # linux/netfilter/nfnetlink_conntrack.h
TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, TIMEOUT = 1, 2, 3, 4, 7
NESTED = 0x8000
KNOWN = 2 | 4 | 8  # IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
ESTABLISHED = 3  # enum tcp_conntrack
LIBERAL = b"\x08\x08"  # IP_CT_TCP_FLAG_BE_LIBERAL: its window is not known here
TABLES = "/proc/net/tcp", "/proc/net/tcp6"
STATE_ESTABLISHED, STATE_LISTEN = "01", "0A"
MAPPED = "0000000000000000FFFF0000"  # ::ffff:0:0/96, as the kernel prints it


def connections(tables):
    """(client, its port, server, its port) of each IPv4 connection, from the texts of /proc/net/tcp and tcp6. Pure."""
    listening, standing = set(), []
    for text in tables:
        for line in text.splitlines()[1:]:
            words = line.split()
            if len(words) < 4:
                continue
            local, remote = _end(words[1]), _end(words[2])
            if words[3] == STATE_LISTEN:
                listening.add(int(words[1].partition(":")[2], 16))
            elif words[3] == STATE_ESTABLISHED and local and remote:
                standing.append((local, remote))
    return [(*remote, *local) if local[1] in listening else (*local, *remote) for local, remote in standing]


def _end(text):
    """Address and port; None for what is not IPv4."""
    address, _, port = text.partition(":")
    if len(address) == 32 and address.startswith(MAPPED):
        address = address[24:]
    if len(address) != 8:
        return None
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def _tuple(source, source_port, target, target_port):
    addresses = attribute(1, socket.inet_aton(source)) + attribute(2, socket.inet_aton(target))
    ports = attribute(1, bytes((socket.IPPROTO_TCP,))) + attribute(2, struct.pack("!H", source_port)) \
        + attribute(3, struct.pack("!H", target_port))
    return attribute(1 | NESTED, addresses) + attribute(2 | NESTED, ports)


def entry(connection, timeout_s):
    """The netlink message that enters one connection."""
    client, client_port, server, server_port = connection
    tcp = attribute(1, bytes((ESTABLISHED,))) + attribute(4, LIBERAL) + attribute(5, LIBERAL)
    body = struct.pack("!BBH", socket.AF_INET, 0, 0) \
        + attribute(TUPLE_ORIG | NESTED, _tuple(client, client_port, server, server_port)) \
        + attribute(TUPLE_REPLY | NESTED, _tuple(server, server_port, client, client_port)) \
        + attribute(STATUS, struct.pack("!I", KNOWN)) \
        + attribute(PROTOINFO | NESTED, attribute(1 | NESTED, tcp)) \
        + attribute(TIMEOUT, struct.pack("!I", timeout_s))
    flags = 0x1 | 0x4 | 0x200 | 0x400  # NLM_F_REQUEST, ACK, EXCL, CREATE: one that is known stays as it is
    return struct.pack("=IHHII", 16 + len(body), SUBSYSTEM_CONNTRACK << 8, flags, 0, 0) + body


def enter_standing(timeout_s):
    """How many were entered. Those that the kernel does not take are left to what conntrack makes of them."""
    tables = []
    for table in TABLES:
        with contextlib.suppress(OSError):
            tables.append(Path(table).read_text())
    entered = 0
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.settimeout(1.0)
        for connection in connections(tables):
            kernel.send(entry(connection, timeout_s))
            answer = kernel.recv(65536)
            entered += struct.unpack_from("=i", answer, 16)[0] == 0
    return entered
