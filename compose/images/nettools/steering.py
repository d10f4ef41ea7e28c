"""Which packets of a pod's network namespace come to a fault that stands in their way, and in which order.

Every such fault takes one level of ten. A packet whose mark has the bit of a level has passed that fault and all before
it; the rules of a chain stand in the order of their levels: so several faults on one port add up. A new TCP connection
is *taken* by a fault's queue reader, which marks it with the level, and the nat table sends what is taken to the
fault's proxy. Who is dead takes nothing (``--queue-bypass``): a killed proxy is no outage for those who come after.

Marks: bits 0 to 9, passed; bits 10 to 13, taken, level + 1; bit 15, forged (bits 16 to 30 are packet_rules.py's).
Rules stand in the tables raw and nat and are known by a comment with the injection's id. Standard library only.
"""

import re
import socket
import struct
import subprocess
import time
from contextlib import contextmanager

from packet_queue import MARK, REPEAT, VERDICT, VERDICT_HDR, Queue, attribute

LEVELS = 10
FIRST_PORT, FIRST_QUEUE = 61400, 30100  # above the ports that sockets get by themselves; queues of nobody else
_TAKEN, _TAKEN_MASK = LEVELS, 0xF << LEVELS
PASSED_ALL = (1 << LEVELS) - 1
FORGED = 1 << 15 | PASSED_ALL
SO_MARK, SO_ORIGINAL_DST = 36, 80
TABLES = "raw", "nat"
_COMMENT = re.compile(r'--comment "?testbed:([^:" ]+):(\d+)"?')
_LOCK_WITHIN_S = 5.0


class Level:
    """A fault's place among those of a pod. ``port``: of its proxy; ``queue``: the number of its queue; ``passed``:
    the mark of what the fault itself sends on."""

    def __init__(self, number):
        self.number = number
        self.port, self.queue = FIRST_PORT + number, FIRST_QUEUE + number
        self.bit = 1 << number
        self.passed = (1 << number + 1) - 1
        self.taken = number + 1 << _TAKEN


class Steered(Queue):
    """The queue of a level's packets."""

    def __init__(self, level):
        super().__init__(level.queue)
        self._level = level

    def take(self, identity, mark):
        """Sends a new connection to the level's proxy."""
        self._repeat(identity, mark & ~_TAKEN_MASK | self._level.taken)

    def pass_on(self, identity, mark):
        """Lets a packet go on, to the faults after this one."""
        self._repeat(identity, mark | self._level.bit)

    def _repeat(self, identity, mark):
        self._send(VERDICT, attribute(VERDICT_HDR, struct.pack("!II", REPEAT, identity))
                   + attribute(MARK, struct.pack("!I", mark)))


def udp_out(port):
    """Of the pod's own processes: every datagram to a port."""
    return [("raw", "OUTPUT", f"-p udp -m udp --dport {port}")]


def forged_from(port):
    """Datagrams that a fault sends in the name of a server to whom a client's never came. The connection tracker may
    not see them: it may know the client's flow, and would give the answer another port to tell the two apart."""
    return [("raw", "OUTPUT", f"-p udp -m udp --sport {port}", f"-m mark --mark {FORGED:#x}", "-j CT --notrack")]


def tcp_out(port):
    """Of the pod's own processes: connections to a port, wherever."""
    return [("raw", "OUTPUT", f"-p tcp -m tcp --dport {port} --tcp-flags FIN,SYN,RST,ACK SYN"),
            ("nat", "OUTPUT", f"-p tcp -m tcp --dport {port}")]


def tcp_in(port):
    """Connections from outside to a port of the pod."""
    return [("raw", "PREROUTING", f"! -i lo -p tcp -m tcp --dport {port} --tcp-flags FIN,SYN,RST,ACK SYN"),
            ("nat", "PREROUTING", f"-p tcp -m tcp --dport {port}")]


def begin(name, rules):
    """Takes a level and puts rules into force. Returns the level, its queue, and a listening socket for its proxy.

    Args: name: the injection's id. rules: from ``udp_out``, ``tcp_out``, ``tcp_in``.
    Raises: OSError when all levels are taken, the kernel has no such queues, or a rule is refused.
    """
    with _alone():
        level, listener = _free_level()
        try:
            queue = Steered(level)
            _restore(_placed(name, level, rules))
        except BaseException:
            listener.close()
            raise
    return level, queue, listener


def end(name):
    """Takes the rules of an injection away; harmless when there are none. Raises: OSError."""
    with _alone():
        mine = {table: ["-D" + line[2:] for line in _listed(table) if _owner(line)[0] == name] for table in TABLES}
        _restore(mine)
        for table in TABLES:
            if mine[table] and not any(line.startswith(("-A", "-N")) for line in _listed(table)):
                # Nobody's any more; where it is somebody's after all, it stays.
                subprocess.run(["nft", "delete", "table", "ip", table], capture_output=True, check=False)


def standing(name):
    """How many rules of an injection there are, and the mark of a packet that meets it and no other fault: that of a
    packet which has passed all others. Raises: OSError."""
    levels = [level for table in TABLES for line in _listed(table) for owner, level in [_owner(line)] if owner == name]
    return len(levels), PASSED_ALL & ~Level(levels[0]).bit if levels else PASSED_ALL


def meant_for(taken):
    """The address that a connection was made to before it was sent to a proxy. Raises: OSError when it was not."""
    port, address = struct.unpack_from("!2xH4s", taken.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    return socket.inet_ntoa(address), port


def marked(mark):
    """A TCP socket whose packets carry a mark. Raises: OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    return made


@contextmanager
def _alone():
    """One at a time in this network namespace: a name that only one socket of it can have, freed by its death."""
    until = time.monotonic() + _LOCK_WITHIN_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while True:
            try:
                lock.bind("\0testbed-steering")
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
        yield


def _owner(rule):
    """The injection and the level of a listed rule; ("", -1) for one of somebody else."""
    found = _COMMENT.search(rule)
    return (found[1], int(found[2])) if found else ("", -1)


def _free_level():
    used = {_owner(line)[1] for table in TABLES for line in _listed(table)}  # also by those who left rules and are dead
    for number in range(LEVELS):
        if number in used:
            continue
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", FIRST_PORT + number))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        return Level(number), listener
    raise OSError(f"{LEVELS} faults stand in the way of this pod's packets already")


def _placed(name, level, rules):
    """Rules with their place in the chain, by table."""
    found = {table: [] for table in TABLES}
    for table, chain, what, *own in rules:
        if own:
            fresh, then = own
        elif table == "raw":
            fresh = f"-m mark --mark 0x0/{_TAKEN_MASK | level.bit:#x}"
            then = f"-j NFQUEUE --queue-num {level.queue} --queue-bypass"
        else:
            fresh = f"-m mark --mark {level.taken:#x}/{_TAKEN_MASK:#x}"
            then = f"-j REDIRECT --to-ports {level.port}"
        comment = f"-m comment --comment testbed:{name}:{level.number}"
        found[table].append(f"-I {chain} {_place(table, chain, level)} {what} {fresh} {comment} {then}")
    return found


def _place(table, chain, level):
    """Behind the last rule of ours with a lower level, before all of others."""
    rules = [line for line in _listed(table) if line.startswith(f"-A {chain} ")]
    return 1 + max((at + 1 for at, line in enumerate(rules) if 0 <= _owner(line)[1] < level.number), default=0)


def _listed(table):
    return _run(["iptables", "-w", "5", "-t", table, "-S"]).splitlines()


def _restore(by_table):
    text = "".join(f"*{table}\n" + "".join(line + "\n" for line in lines) + "COMMIT\n"
                   for table, lines in by_table.items() if lines)
    if text:
        _run(["iptables-restore", "-w", "5", "--noflush"], text)


def _run(argv, text=""):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise OSError(f"{argv[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout
