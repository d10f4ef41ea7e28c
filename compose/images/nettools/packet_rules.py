"""The iptables rules of one injection, as text. Pure.

Three chains per injection in the mangle table, put in and taken out in one transaction; those of others stand beside
them. ``in`` and ``out`` choose packets by device, peer and side of the connection; ``do`` is what they meet. Partition
and loss without memory are the kernel's; all else is decided by a reader of a netfilter queue with "bypass": when it
dies, however it dies, packets pass. A packet that the reader lets go runs through the table again with this
injection's bit in its mark, so that several injections add up: a plain verdict would skip the others' rules.

A packet is dropped by sending it to a queue that nobody reads. DROP would tell a sender in this namespace: its system
call fails with EPERM and TCP does not count the segment as sent. A wire that loses a packet is silent.

A plan's flow: ``hook`` "in" or "out", ``device``, ``side`` "server" (only packets of connections that this pod
answers; conntrack knows) or "", ``peers`` [{cidr, port}] or null for all.
"""

import re

BITS = range(16, 31)  # of the mark, one for each injection; a mark does not leave the namespace
NOBODY = 65535  # a queue without a reader
HOOKS = {"in": ("PREROUTING", "-i", "-s", "sport"), "out": ("POSTROUTING", "-o", "-d", "dport")}
SERVER = {"in": "ORIGINAL", "out": "REPLY"}  # the direction, as conntrack names it, of what a server gets and sends
IN_KERNEL = "drop", "loss"


def number_of(identity, below=2**61 - 1):
    """An injection as a number; ids are random, and those of one object differ by little."""
    return int.from_bytes(identity.encode(), "big") % below


def chain(identity, part):
    """``part``: "in", "out" or "do". A chain's name has at most 28 characters."""
    return f"TB-{number_of(identity):016x}-{part}"


def chains(identity):
    return [chain(identity, part) for part in ("in", "out", "do")]


def queue_number(bit):
    return 1000 + bit


def kernels_share(effect):
    """Of the packets, how many the kernel itself loses: all of a partition, loss without correlation."""
    if effect.get("drop"):
        return 1.0
    loss = effect.get("loss") or {}
    return 0.0 if loss.get("correlation") or not loss else min(1.0, loss["share"])


def readers_effect(effect):
    """What is left to the reader; empty: it is not needed."""
    if effect.get("drop"):
        return {}
    return {name: value for name, value in effect.items()
            if value and not (name == "loss" and not value.get("correlation"))}


def render(identity, flows, effect, bit):
    """What iptables-restore is told."""
    do = chain(identity, "do")
    head, body = ["*mangle"], []
    used = [hook for hook in HOOKS if any(flow["hook"] == hook for flow in flows)]
    head += [f":{name} - [0:0]" for name in (*(chain(identity, hook) for hook in used), do)]
    for hook in used:
        name, (base, interface, _, _) = chain(identity, hook), HOOKS[hook]
        body.append(f"-A {name} -m mark --mark {1 << bit:#x}/{1 << bit:#x} -j RETURN")
        mine = [flow for flow in flows if flow["hook"] == hook]
        body += [f"-A {name} {interface} {flow['device']}{match} -g {do}" for flow in mine for match in matches(flow)]
        body.append(f"-A {base} -j {name}")
    return "\n".join([*head, *(f"-A {do} {verdict}" for verdict in verdicts(effect, bit)), *body, "COMMIT", ""])


def verdicts(effect, bit):
    share, found = kernels_share(effect), []
    if share >= 1.0:
        return [f"-j NFQUEUE --queue-num {NOBODY}"]
    if share > 0:
        found.append(f"-m statistic --mode random --probability {share:.9f} -j NFQUEUE --queue-num {NOBODY}")
    found.append(f"-j MARK --set-xmark {1 << bit:#x}/{1 << bit:#x}")
    if readers_effect(effect):
        found.append(f"-j NFQUEUE --queue-num {queue_number(bit)} --queue-bypass")
    return found


def matches(flow):
    """A condition for each peer (and protocol, where it has a port), each with a blank before it."""
    side = f" -m conntrack --ctdir {SERVER[flow['hook']]}" if flow["side"] == "server" else ""
    if flow["peers"] is None:
        return [side]
    import ipaddress  # a start without it is sooner

    found = []
    for peer in flow["peers"]:
        words = f" {HOOKS[flow['hook']][2]} {ipaddress.ip_network(peer['cidr'], strict=False)}"
        if peer.get("port"):
            port = f"--{HOOKS[flow['hook']][3]} {int(peer['port'])}"
            found += [f"{words} -p {protocol}{side} -m {protocol} {port}" for protocol in ("tcp", "udp")]
        else:
            found.append(words + side)
    return list(dict.fromkeys(found))


def free_bit(identity, lines):
    """One that no other injection has. Raises: OSError when there is none. ``lines``: of iptables-save."""
    mine = chains(identity)
    taken = {int(mark, 16) for line in lines if not any(name in line for name in mine)
             for mark in re.findall(r"-A TB-\S+ -m mark --mark (0x[0-9a-f]+)/\1 -j RETURN", line)}
    for bit in BITS:
        if 1 << bit not in taken:
            return bit
    raise OSError(f"a pod takes at most {len(BITS)} faults of its packets at once")


def removal(identity, lines):
    """What takes the chains away again, in one transaction; empty when there are none."""
    mine = chains(identity)
    jumps = [f"-D{line[2:]}" for line in lines if line.startswith("-A") and line.split()[-1] in mine
             and line.split()[1] not in mine]
    there = [name for name in mine if any(line.startswith(f":{name} ") for line in lines)]
    if not there:
        return ""
    return "\n".join(["*mangle", *jumps, *(f"-F {name}" for name in there), *(f"-X {name}" for name in there),
                      "COMMIT", ""])


def stands(identity, lines):
    return any(line.startswith(f":{name} ") for line in lines for name in chains(identity))


def is_empty(lines):
    """Whether the table holds neither rules nor chains of anybody."""
    return not any(line.startswith("-A") or (line.startswith(":") and line.split()[1] == "-") for line in lines)


def counted(identity, lines):
    """Packets that met the injection, and those of them that the kernel lost. ``lines``: of iptables-save -c."""
    met = lost = 0
    mine = chains(identity)
    for line in lines:
        found = re.match(r"\[(\d+):\d+\] -A (\S+) (.*)", line)
        if not found or found[2] not in mine:
            continue
        if found[3].endswith(f"-g {mine[2]}"):
            met += int(found[1])
        elif found[2] == mine[2] and f"--queue-num {NOBODY}" in found[3]:
            lost += int(found[1])
    return {"met": met, "lost": lost}
