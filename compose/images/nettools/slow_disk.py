"""Limits what a node's containers read from and write to disks, in the node's cgroup, which is mounted at /instance.

Plan: ``group`` (the node's, below /instance), ``devices`` (more of them, "major:minor"), ``limits`` (rbps, wbps, riops,
wiops, those that are wanted). Throttled is the disk of the engine's data, on which this container's own /etc/hostname
lies. cgroup v1 does not pass these limits on to groups below, so each container's group gets them, later ones too;
version 2 has one line for the node. Where a stricter limit stands already, by another fault, it stays.

``timed({"wbps": bytes, "riops": count, ...})`` tells how many seconds direct transfers take, for each kind asked.
"""

import contextlib
import mmap
import os
import time
from pathlib import Path

INSTANCE, DATA = Path("/instance"), Path("/tmp/slow_disk.data")
V1 = {"rbps": "blkio.throttle.read_bps_device", "wbps": "blkio.throttle.write_bps_device",
      "riops": "blkio.throttle.read_iops_device", "wiops": "blkio.throttle.write_iops_device"}
AGAIN_S = 0.2  # a container that starts meanwhile is free for so long
BLOCK, LARGE = 4096, 65536


def hold(plan, ready, over):
    devices = devices_of(plan)
    most = max((int(value * 0.5) for kind, value in plan["limits"].items() if kind == "rbps"), default=0)
    write_direct(max(most, BLOCK * int(plan["limits"].get("riops", 0) * 0.5), LARGE), LARGE)
    try:
        slow(plan, devices)
        version = "io.max" if unified(plan) else "blkio.throttle of each container"
        ready(f"{version}, device {', '.join(devices)}: " + ", ".join(f"{k} {v}" for k, v in plan["limits"].items()))
        while not over():
            over.wait(AGAIN_S)
            if not over():
                slow(plan, devices)
    finally:
        clear(plan)


def clear(plan):
    try:
        devices = devices_of(plan)
    except OSError:
        return  # then nothing was limited
    for device in devices:
        for group in groups(plan):
            for kind, value in plan["limits"].items():
                with contextlib.suppress(FileNotFoundError):
                    if limit_of(group, kind, device) == value:
                        set_limit(group, kind, device, None)


def devices_of(plan):
    own = Path("/etc/hostname").stat().st_dev
    named = [f"{os.major(own)}:{os.minor(own)}", *plan.get("devices", ())]
    return sorted({whole_disk(name) for name in named})


def whole_disk(name):
    if name.startswith("0:"):
        raise OSError(f"what lies on device {name} has no disk of its own that could be slowed down")
    place = Path("/sys/dev/block", name)
    if (place / "partition").exists():
        return (place.resolve().parent / "dev").read_text().strip()
    return name


def unified(plan):
    return (INSTANCE / plan["group"] / "cgroup.controllers").exists()


def groups(plan):
    top = INSTANCE / plan["group"]
    if unified(plan):
        return [top]
    return [Path(path) for path, _, _ in os.walk(top) if Path(path) != top]


def slow(plan, devices):
    for group in groups(plan):
        for device in devices:
            for kind, value in plan["limits"].items():
                with contextlib.suppress(FileNotFoundError):
                    now = limit_of(group, kind, device)
                    if now is None or now > value:
                        set_limit(group, kind, device, value)


def limit_of(group, kind, device):
    if (group / V1[kind]).exists():
        lines = dict(line.split() for line in (group / V1[kind]).read_text().splitlines())
        return int(lines[device]) if device in lines else None
    for line in (group / "io.max").read_text().splitlines():
        name, *pairs = line.split()
        found = dict(pair.split("=") for pair in pairs).get(kind, "max")
        if name == device and found != "max":
            return int(found)
    return None


def set_limit(group, kind, device, value):
    """None lifts it."""
    if (group / V1[kind]).exists():
        (group / V1[kind]).write_text(f"{device} {value or 0}")
    else:
        (group / "io.max").write_text(f"{device} {kind}={value or 'max'}")


# --- looking


def timed(question):
    took = {}
    for kind, amount in question.items():
        begun = time.monotonic()
        if kind == "wbps":
            write_direct(amount, LARGE)
        elif kind == "wiops":
            write_direct(amount * BLOCK, BLOCK)
        elif kind == "rbps":
            read_direct(amount, LARGE)
        else:
            read_direct(amount * BLOCK, BLOCK)
        took[kind] = time.monotonic() - begun
    return took


def write_direct(size, block):
    buffer = mmap.mmap(-1, block)  # direct transfers need aligned memory
    file = os.open(DATA, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    try:
        for offset in range(0, max(size, block), block):
            os.pwritev(file, [buffer], offset)
    finally:
        os.close(file)


def read_direct(size, block):
    buffer = mmap.mmap(-1, block)
    file = os.open(DATA, os.O_RDONLY | os.O_DIRECT)
    try:
        for offset in range(0, max(size, block), block):
            os.preadv(file, [buffer], offset)
    finally:
        os.close(file)
