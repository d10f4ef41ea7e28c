"""Breaks the packets of the network namespace it runs in, as its plan says.

The plan: ``flows`` (packet_rules.py; a flow may also have ``names``, "host" or "host:port", which are asked for here,
with the pod's own resolver) and ``effect`` (packet_fate.py, or {"drop": true}). What holds it is decided by trying:
the device's own queueing discipline where all outgoing packets of one device are meant (packet_shaping.py), else
iptables rules (packet_rules.py), and a reader of their queue (packet_queue.py) for what rules cannot do. Standard
library only.
"""

import contextlib
import gc
import os
import queue
import socket
import subprocess
import sys
import threading
import time

import packet_rules
import packet_shaping
import table_lock

RESOLVE_WITHIN_S = 2.5


def hold(plan, ready, over):
    identity, effect = plan["id"], plan["effect"]
    flows, unknown = resolved(plan["flows"])
    check_devices(flows)
    if whole_device(flows, effect):
        packet_shaping.clear(identity)
        if kind := packet_shaping.shape(identity, flows[0]["device"], effect):
            ready(f"{kind} on {flows[0]['device']}")
            over.wait()
            clear(plan)
            return
    if any(flow["side"] == "server" for flow in flows):
        from packet_tracking import enter_standing

        enter_standing(int(over.left_s()) + 60 if plan["deadline_ns"] else 86400)
    mine = packet_rules.readers_effect(effect) if flows else {}
    with table_lock.alone():
        lines = saved()
        bit = packet_rules.free_bit(identity, lines)
        reader = reader_of(mine, packet_rules.queue_number(bit)) if mine else None
        restore(packet_rules.removal(identity, lines) + packet_rules.render(identity, flows, effect, bit))
    if reader is not None:
        be_punctual()
    ready(words(flows, effect, mine, unknown))
    if reader is None:
        over.wait()
        clear(plan)
        return
    while not over():
        reader.turn(min(0.25, over.left_s()), [over])
    finish(plan, reader)


def reader_of(effect, number):
    """Imported only where there is work for it: a partition shall not wait."""
    import random

    from packet_fate import Fate
    from packet_queue import Queue, Reader

    return Reader(Queue(number), Fate(effect, random.Random()))


def be_punctual():
    """Before others of this machine, where that is allowed, and without pauses of our own."""
    gc.disable()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def finish(plan, reader):
    """What was held back goes on in its order, and packets pass while the rules are taken away."""
    reader.pass_all()
    failed = queue.SimpleQueue()

    def take_away():
        try:
            clear(plan)
        except OSError as error:
            failed.put(error)

    clearing = threading.Thread(target=take_away)
    clearing.start()
    while clearing.is_alive():
        reader.turn(0.002, [])
    reader.turn(0.0, [])
    reader.close()
    if not failed.empty():
        raise failed.get()


def words(flows, effect, mine, unknown):
    """The mechanism. Names that nobody knows now are left out, and told."""
    how = ["iptables"] if flows and packet_rules.kernels_share(effect) else []
    how += ["NFQUEUE"] if mine else []
    missing = f"; unknown names: {', '.join(unknown)}" if unknown else ""
    return (" and ".join(how) or "no packets are meant") + missing


def whole_device(flows, effect):
    """Whether a queueing discipline at a device's root can be all of it."""
    return (len(flows) == 1 and flows[0]["hook"] == "out" and flows[0]["peers"] is None
            and not flows[0]["side"] and not effect.get("drop"))


def check_devices(flows):
    """Raises: OSError."""
    there = [name for _, name in socket.if_nameindex()]
    for flow in flows:
        if flow["device"] not in there:
            raise OSError(f"the pod has no device {flow['device']}, only {', '.join(there)}")


def resolved(flows):
    """The flows with addresses in place of names, and the names that are not known here.

    Raises: OSError when of a flow with peers nothing is left.
    """
    wanted = sorted({name for flow in flows for name in flow.get("names") or ()})
    addresses = addresses_of({name.rpartition(":")[0] or name for name in wanted}) if wanted else {}
    unknown, found = [], []
    for flow in flows:
        peers = flow["peers"]
        for name in flow.get("names") or ():
            host, _, port = name.rpartition(":") if ":" in name else (name, "", "0")
            if not addresses.get(host):
                unknown.append(name)
            peers = [*(peers or ()), *({"cidr": address, "port": int(port)} for address in addresses.get(host, ()))]
        if flow.get("names") and not peers:
            raise OSError(f"nobody here knows {', '.join(flow['names'])}")
        found.append({**flow, "peers": peers})
    return found, sorted(set(unknown))


def addresses_of(names):
    """IPv4 addresses by name; what is not known in time is missing."""
    answers = queue.SimpleQueue()

    def ask(name):
        found = []
        with contextlib.suppress(OSError, UnicodeError):
            found = sorted({item[4][0] for item in socket.getaddrinfo(name, None, socket.AF_INET)})
        answers.put((name, found))

    for name in names:
        threading.Thread(target=ask, args=(name,), daemon=True).start()
    until, known = time.monotonic() + RESOLVE_WITHIN_S, {}
    while len(known) < len(names) and (left_s := until - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            name, found = answers.get(timeout=left_s)
            known[name] = found
    return known


def saved(*options):
    """The lines of the mangle table. Raises: OSError."""
    return run(["iptables-save", *options, "-t", "mangle"]).splitlines()


def restore(script):
    """Raises: OSError."""
    run(["iptables-restore", "--noflush", "--wait", "5"], script)


def run(argv, script=""):
    done = subprocess.run(argv, input=script.encode(), capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"{argv[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def clear(plan):
    """Takes back whatever is there of this injection. Raises: OSError."""
    packet_shaping.clear(plan["id"])
    with table_lock.alone():
        script = packet_rules.removal(plan["id"], saved())
        if script:
            restore(script)
            if packet_rules.is_empty(saved()):  # nobody's any more; where it is somebody's after all, it stays
                subprocess.run(["nft", "delete", "table", "ip", "mangle"], capture_output=True, check=False)


def counters(question):
    """Look: whether something of injection ``id`` stands, and what its rules have counted before and after ``count``
    datagrams were sent to each of ``to`` ([address, port or 0] each)."""
    before = packet_rules.counted(question["id"], saved("-c"))
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for address, port in question.get("to") or ():
            for _ in range(question.get("count", 1)):
                with contextlib.suppress(OSError):
                    sender.sendto(b"testbed", (address, port or 9))  # 9: discard
                    sent += 1
    after = packet_rules.counted(question["id"], saved("-c"))
    found = packet_shaping.standing(question["id"])
    return {"before": before, "after": after, "sent": sent, "stands": found is not None or packet_rules.stands(
        question["id"], saved())}


if __name__ == "__main__":
    sys.exit("run by hold.py and look.py")
