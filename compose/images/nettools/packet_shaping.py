"""What the kernel does itself at a device's root: netem where it has it, tbf for a bandwidth.

The root of a device belongs to one queueing discipline. Where another stands there already (of another injection, or
of the pod's own), or the kernel does not know the kind, the answer is no and the reader does it. A discipline is known
as ours by its handle, which comes from the injection's id.
"""

import json
import subprocess

from packet_queue import MAX_WAITING
from packet_rules import number_of


def handle(identity):
    """A major number from 1 to 0xfffe, as tc prints it."""
    return f"{1 + number_of(identity, 0xFFFD):x}:"


def percent(value):
    return f"{100 * value:.6f}%"


def netem(effect):
    """Arguments of netem, in the order of tc-netem(8)."""
    words = ["limit", str(MAX_WAITING)]
    if delay := effect.get("delay"):
        words += ["delay", f"{delay.get('latency_s', 0.0) * 1e6:.0f}us"]
        if delay.get("jitter_s"):
            words.append(f"{delay['jitter_s'] * 1e6:.0f}us")
            words += [percent(delay["correlation"])] if delay.get("correlation") else []
        if reorder := effect.get("reorder"):
            words += _chance("reorder", reorder) + ["gap", str(max(1, reorder.get("gap", 0)))]
    for name in ("loss", "duplicate", "corrupt"):
        if effect.get(name):
            words += _chance(name, effect[name])
    if rate := effect.get("rate"):
        words += ["rate", f"{rate['bits_per_s']}bit"]
    return words


def _chance(name, wanted):
    more = [percent(wanted["correlation"])] if wanted.get("correlation") else []
    return [name, percent(wanted["share"]), *more]


def tbf(rate):
    """Arguments of tbf (chaos-mesh: pkg/chaosdaemon/tc_server.go convertTbfToArgs)."""
    words = ["rate", f"{rate['bits_per_s']}bit", "burst", str(rate["burst_bytes"]), "limit", str(rate["limit_bytes"])]
    if rate.get("peak_bits_per_s"):
        words += ["peakrate", f"{rate['peak_bits_per_s']}bit", "mtu", str(rate.get("peak_burst_bytes", 0))]
    return words


def discipline(effect):
    """(kind, arguments) that has the whole effect: a bandwidth is tbf's, all else netem's."""
    if effect.get("rate", {}).get("burst_bytes"):
        return "tbf", tbf(effect["rate"])
    return "netem", netem(effect)


def add(identity, device, kind, arguments):
    return ["tc", "qdisc", "add", "dev", device, "root", "handle", handle(identity), kind, *arguments]


def remove(identity, device):
    return ["tc", "qdisc", "del", "dev", device, "root", "handle", handle(identity)]


def shape(identity, device, effect):
    """The kind that holds it now; empty: the kernel does not."""
    kind, arguments = discipline(effect)
    done = subprocess.run(add(identity, device, kind, arguments), capture_output=True, check=False)
    return kind if done.returncode == 0 else ""


def standing(identity):
    """(device, statistics) of the injection's discipline; None when there is none. Raises: OSError."""
    done = subprocess.run(["tc", "-s", "-j", "qdisc", "show"], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
    for found in json.loads(done.stdout or b"[]"):
        if found.get("handle") == handle(identity) and found.get("root"):
            return found["dev"], found
    return None


def clear(identity):
    """Raises: OSError."""
    found = standing(identity)
    if found:
        done = subprocess.run(remove(identity, found[0]), capture_output=True, check=False)
        if done.returncode and standing(identity):
            raise OSError(done.stderr.decode(errors="replace").strip())
