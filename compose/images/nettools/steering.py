"""Which packets of a pod's network namespace come to a fault that stands in their way, and in which order.

Every such fault takes one level of ten. A packet whose mark has the bit of a level has passed that fault and all before
it; the rules of a chain stand in the order of their levels: so several faults on one port add up. A new TCP connection
is *taken* by a fault's queue reader, which marks it with the level, and the nat table sends what is taken to the
fault's proxy. Who is dead takes nothing (``--queue-bypass``): a killed proxy is no outage for those who come after.

A proxy may go on in its client's name: what the server answers is then led back to the proxy, by a mark that the
connection keeps and a route of its own.

Marks: bits 0 to 9, passed; bits 10 to 13, taken, level + 1; bit 14, kept; bit 15, forged (bits 16 to 30 are
packet_rules.py's). Rules stand in the tables raw, mangle and nat and are known by a comment with the injection's id.
Standard library only.
"""

import re
import socket
import struct
import subprocess

import table_lock
from packet_queue import MARK, REPEAT, VERDICT, VERDICT_HDR, Queue, attribute

LEVELS = 10
FIRST_PORT, FIRST_QUEUE = 61400, 30100  # above the ports that sockets get by themselves; queues of nobody else
_TAKEN, _TAKEN_MASK = LEVELS, 0xF << LEVELS
PASSED_ALL = (1 << LEVELS) - 1
KEPT = 1 << 14
FORGED = 1 << 15 | PASSED_ALL
SO_MARK, SO_ORIGINAL_DST, IP_TRANSPARENT = 36, 80, 19
TABLES = "raw", "mangle", "nat"
_FIRST_ROUTES = 6140  # routing tables, and the places of the rules that lead to them
_COMMENT = re.compile(r'--comment "?testbed:([^:" ]+):(\d+)"?')


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
    return [("raw", "OUTPUT", f"-p udp -m udp --sport {port} -m mark --mark {FORGED:#x}", "CT --notrack")]


def tcp_out(port):
    """Of the pod's own processes: connections to a port, wherever."""
    return [("raw", "OUTPUT", f"-p tcp -m tcp --dport {port} --tcp-flags FIN,SYN,RST,ACK SYN"),
            ("nat", "OUTPUT", f"-p tcp -m tcp --dport {port}")]


def tcp_in(port):
    """Connections from outside to a port of the pod."""
    return [("raw", "PREROUTING", f"! -i lo -p tcp -m tcp --dport {port} --tcp-flags FIN,SYN,RST,ACK SYN"),
            ("nat", "PREROUTING", f"-p tcp -m tcp --dport {port}")]


def client_kept(port):
    """Of proxies that go on in their client's name (``marked``): what comes back is theirs. Between two of them the
    address stays the pod's: 127.0.0.1, which REDIRECT makes of it, may not answer to others."""
    bit = f"{KEPT:#x}/{KEPT:#x}"
    return [("nat", "OUTPUT", f"-p tcp -m tcp --dport {port} -m mark --mark {bit}", "DNAT --to-destination :"),
            ("mangle", "OUTPUT", f"-p tcp -m mark --mark {bit} -m conntrack --ctdir ORIGINAL",
             f"CONNMARK --save-mark --nfmask {KEPT:#x} --ctmask {KEPT:#x}"),
            ("mangle", "OUTPUT", f"-p tcp -m connmark --mark {bit} -m conntrack --ctdir REPLY",
             f"MARK --set-xmark {bit}")]


def begin(name, rules, *, queued=True):
    """Takes a level and puts rules into force. Returns the level, its queue, and a listening socket for its proxy.

    Args: name: the injection's id. rules: from ``udp_out``, ``tcp_out``, ``tcp_in`` and others of this module.
        queued: False on a kernel without queues: connections are taken by the nat table alone, also when the proxy is
        dead; the queue is then None.
    Raises: OSError when all levels are taken, the kernel has no such queues, or a rule is refused.
    """
    with table_lock.alone():
        listed = _listed()
        level, listener = _free_level(listed)
        queue = None
        try:
            queue = Steered(level) if queued else None
            _restore(_placed(name, level, rules, listed, queued))
            if any(table == "mangle" for table, *_ in rules):
                routes = str(_FIRST_ROUTES + level.number)
                _run(["ip", "route", "replace", "local", "default", "dev", "lo", "table", routes])
                _run(["ip", "rule", "add", "pref", routes, "fwmark", f"{KEPT:#x}/{KEPT:#x}", "lookup", routes])
        except BaseException:
            listener.close()
            if queue is not None:
                queue.close()
            raise
    return level, queue, listener


def end(name, keep=()):
    """Takes the rules of an injection away, but for those in the tables ``keep``; harmless when there are none.

    Raises: OSError.
    """
    with table_lock.alone():
        mine = {table: [line for line in lines if _owner(line)[0] == name and table not in keep]
                for table, lines in _listed().items()}
        if not any(mine.values()):
            return
        if mine["mangle"]:
            routes = str(_FIRST_ROUTES + _owner(mine["mangle"][0])[1])
            for argv in (["ip", "rule", "del", "pref", routes], ["ip", "route", "flush", "table", routes]):
                subprocess.run(argv, capture_output=True, check=False)  # a killed one may not have come so far
        _restore({table: ["-D" + line[2:] for line in lines] for table, lines in mine.items()})
        for table, lines in _listed().items():
            if mine[table] and not any(line.startswith("-A") or " - [" in line for line in lines):
                # Nobody's any more. Who else uses these tables takes the same lock, or was here before and stays.
                subprocess.run(["nft", "delete", "table", "ip", table], capture_output=True, check=False)


def standing(name):
    """How many rules of an injection there are, and the mark of a packet that meets it and no other fault: that of a
    packet which has passed all others. Raises: OSError."""
    levels = [level for lines in _listed().values() for line in lines for owner, level in [_owner(line)]
              if owner == name]
    return len(levels), PASSED_ALL & ~Level(levels[0]).bit if levels else PASSED_ALL


def meant_for(taken):
    """The address that a connection was made to before it was sent to a proxy. Raises: OSError when it was not."""
    port, address = struct.unpack_from("!2xH4s", taken.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    if port == taken.getsockname()[1]:
        raise OSError("the proxy itself was meant")
    return socket.inet_ntoa(address), port


def marked(mark, client=""):
    """A TCP socket whose packets carry a mark, with the address of ``client``, where given. Raises: OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_MARK, mark | (KEPT if client else 0))
        if client:
            made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            made.bind((client, 0))
    except BaseException:
        made.close()
        raise
    return made


def is_own(address):
    """Whether an address is one of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
        return True


def _owner(rule):
    """The injection and the level of a listed rule; ("", -1) for one of somebody else."""
    found = _COMMENT.search(rule)
    return (found[1], int(found[2])) if found else ("", -1)


def _free_level(listed):
    used = {_owner(line)[1] for lines in listed.values() for line in lines}  # also by those who left rules and are dead
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


def _placed(name, level, rules, listed, queued):
    """Rules with their place in the chain, by table; of several in one place the last comes first."""
    found = {table: [] for table in TABLES}
    fresh = {"raw": f"-m mark --mark 0x0/{_TAKEN_MASK | level.bit:#x}",
             "nat": f"-m mark --mark {level.taken:#x}/{_TAKEN_MASK:#x}" if queued
                    else f"-m mark --mark 0x0/{level.bit:#x}"}
    for table, chain, what, *then in rules:
        if table == "nat":
            what, jump = f"{what} {fresh[table]}", (then or ["REDIRECT --to-ports "])[0] + str(level.port)
        elif then:
            jump = then[0]
        elif not queued:
            continue
        else:
            what, jump = f"{what} {fresh[table]}", f"NFQUEUE --queue-num {level.queue} --queue-bypass"
        comment = f"-m comment --comment testbed:{name}:{level.number}"
        found[table].append(f"-I {chain} {_place(listed[table], chain, level)} {what} {comment} -j {jump}")
    return found


def _place(lines, chain, level):
    """Behind the last rule of ours with a lower level, before all of others."""
    rules = [line for line in lines if line.startswith(f"-A {chain} ")]
    return 1 + max((at + 1 for at, line in enumerate(rules) if 0 <= _owner(line)[1] < level.number), default=0)


def _listed():
    """Lines of iptables-save, by table."""
    found, table = {name: [] for name in TABLES}, ""
    for line in _run(["iptables-save"]).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table in found and line.startswith(("-A", ":")):
            found[table].append(line)
    return found


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
