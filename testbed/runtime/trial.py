"""What this kernel and engine can do, found out by trying it in one-off containers.

Each trial has its own namespaces, no network, and is removed whatever happens. What is not tried yet, or could not be
tried, is unknown and not absent.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from testbed.api import labels
from testbed.errors import EngineError, NoSuchImage
from testbed.runtime.containers import ContainerSpec, Mount
from testbed.runtime.kernel_families import has_family
from testbed.runtime.protocol import Engine

NETTOOLS = "testbed-nettools:1"
DEADLINE_S = 20.0
_LOOK_S = 0.02
_CGROUPS = Path("/sys/fs/cgroup")

# Each prints one JSON object: what worked, by name. They run inside the tools image.
_KERNEL = r"""
import json, subprocess
def works(*commands):
    for command in commands:
        if subprocess.run(command.split(), capture_output=True).returncode:
            return False
    return True
tc = "tc qdisc replace dev lo root "
print(json.dumps({
    "netem": works("ip link set lo up", tc + "netem delay 1ms"),
    "tbf": works(tc + "tbf rate 1mbit burst 32kbit latency 400ms"),
    "htb": works(tc + "handle 1: htb default 1", "tc class add dev lo parent 1: classid 1:1 htb rate 1mbit"),
    "nft": works("nft add table ip trial", "nft add chain ip trial nat { type nat hook prerouting priority 0 ; }",
                 "nft add rule ip trial nat tcp dport 80 dnat to 127.0.0.1:8080"),
    "nfqueue": works("iptables -A OUTPUT -p tcp --dport 9 -j NFQUEUE --queue-num 1 --queue-bypass")
               or works("nft add chain ip trial out { type filter hook output priority 0 ; }",
                        "nft add rule ip trial out tcp dport 9 queue num 1 bypass"),
    "statistic": works("iptables -A OUTPUT -m statistic --mode random --probability 0.5 -j DROP"),
    "reject": works("iptables -A OUTPUT -p tcp --dport 9 -j REJECT --reject-with tcp-reset"),
}))
"""

_FUSE = r"""
import ctypes, json, os
ok = False
try:
    device = os.open("/dev/fuse", os.O_RDWR)
    os.makedirs("/trial", exist_ok=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    ok = ctypes.CDLL(None, use_errno=True).mount(b"trial", b"/trial", b"fuse", 0, options) == 0
except OSError:
    pass
print(json.dumps({"fuse": ok}))
"""

# A process of another user is stopped, and its memory written.
_MEMORY = r"""
import ctypes, json, os, signal
cell = ctypes.create_string_buffer(b"before")
child = os.fork()
if child == 0:
    os.setuid(65534)
    signal.pause()
ok = False
try:
    with open(f"/proc/{child}/mem", "r+b", buffering=0) as memory:
        memory.seek(ctypes.addressof(cell))
        ok = memory.write(b"after.") == 6
        memory.seek(ctypes.addressof(cell))
        ok = ok and memory.read(6) == b"after."
except OSError:
    pass
os.kill(child, signal.SIGKILL)
print(json.dumps({"memory": ok}))
"""

# What an engine inside a container needs: mounts, an overlay on a file system of its own, cgroups.
_NESTED = r"""
import json, os, subprocess
def works(command):
    return subprocess.run(command, shell=False, capture_output=True).returncode == 0
os.makedirs("/trial", exist_ok=True)
ok = works(["mount", "-t", "tmpfs", "tmpfs", "/trial"])
for name in ("lower", "upper", "work", "merged"):
    os.makedirs("/trial/" + name, exist_ok=True)
ok = ok and works(["mount", "-t", "overlay", "overlay", "-o",
                   "lowerdir=/trial/lower,upperdir=/trial/upper,workdir=/trial/work", "/trial/merged"])
print(json.dumps({"nested": ok}))
"""


@dataclass(frozen=True)
class Trial:
    """One program and what it may do. Not ``privileged``: an engine that lacks one capability refuses that whole."""

    answers: tuple[str, ...]
    program: str
    cap_add: tuple[str, ...]
    security_opt: tuple[str, ...] = ("no-new-privileges",)
    devices: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()


_UNCONFINED = ("seccomp=unconfined", "apparmor=unconfined")
TRIALS = (
    Trial(("netem", "tbf", "htb", "nft", "nfqueue", "statistic", "reject"), _KERNEL, ("NET_ADMIN", "NET_RAW")),
    Trial(("fuse",), _FUSE, ("SYS_ADMIN",), _UNCONFINED, devices=("/dev/fuse",)),
    Trial(("memory",), _MEMORY, ("SYS_PTRACE", "SETUID")),
    Trial(("nested",), _NESTED, ("SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD"), _UNCONFINED,
          mounts=(Mount("/sys/fs/cgroup", "/sys/fs/cgroup"),)),
)


@dataclass(frozen=True)
class Ability:
    """``what``: what it is good for. ``mend``: the line that brings it about where it is missing."""

    name: str
    title: str
    what: str
    mend: str


ABILITIES = {item.name: item for item in (
    Ability("netem", "netem", "delays and losses in the kernel", "modprobe sch_netem (without it: NFQUEUE)"),
    Ability("nfqueue", "NFQUEUE", "packets handed to a program", "modprobe nfnetlink_queue xt_NFQUEUE"),
    Ability("statistic", "iptables statistic", "a share of packets dropped", "modprobe xt_statistic"),
    Ability("reject", "iptables REJECT", "connections reset", "modprobe ipt_REJECT"),
    Ability("tbf", "tbf", "a rate in the kernel", "modprobe sch_tbf"),
    Ability("htb", "htb", "a rate for some packets", "modprobe sch_htb"),
    Ability("nft", "nftables", "Services", "modprobe nf_tables nft_nat (Services need it)"),
    Ability("fuse", "FUSE", "file systems of our own in containers", "modprobe fuse"),
    Ability("memory", "memory writing", "the memory of another process written", "allow CAP_SYS_PTRACE in containers"),
    Ability("blkio", "blkio", "cgroups that limit disks", "boot with the cgroup controller io (version 1: blkio)"),
    Ability("nested", "nested engines", "container engines inside containers",
            "allow CAP_SYS_ADMIN in containers, or keep to nodes of kind slice"),
    Ability("ip_vs", "ip_vs", "a swarm's own balancing (platform swarm does without)", "modprobe ip_vs"),
)}


async def abilities(engine: Engine, wanted: Collection[str] = tuple(ABILITIES)) -> dict[str, bool]:
    """Tries what is wanted (and what the same trials answer besides).

    Raises: EngineUnavailable, EngineError when it could not be tried; NoSuchImage where ``testbed setup`` has not been
        run.
    """
    chosen = [trial for trial in TRIALS if set(trial.answers) & set(wanted)]
    found: dict[str, bool] = {}
    for answer in await asyncio.gather(*(_tried(engine, trial) for trial in chosen)):
        found |= answer
    if "blkio" in wanted:
        found["blkio"] = _throttles()
    if "ip_vs" in wanted:
        found["ip_vs"] = has_family("IPVS")
    return found


async def _tried(engine: Engine, trial: Trial) -> dict[str, bool]:
    """A trial that the engine will not even start has found out that it does not work."""
    spec = ContainerSpec(
        name=f"testbed-trial-{secrets.token_hex(6)}", image=NETTOOLS, labels={labels.ROLE: "trial"},
        command=("python3", "-I", "-c", trial.program), cap_add=trial.cap_add, security_opt=trial.security_opt,
        devices=trial.devices, mounts=trial.mounts)
    container = await engine.create(spec)
    try:
        try:
            await engine.start(container)
        except NoSuchImage:
            raise
        except EngineError:
            return dict.fromkeys(trial.answers, False)
        async with asyncio.timeout(DEADLINE_S):
            state = await engine.inspect(container)
            while state.running:
                await asyncio.sleep(_LOOK_S)
                state = await engine.inspect(container)
        printed = b"".join([chunk async for chunk in engine.logs(container)]).decode(errors="replace").strip()
        if state.exit_code:
            raise EngineError(f"a trial container ended with {state.exit_code}", hint="run: testbed setup")
        answer: dict[str, bool] = json.loads(printed.splitlines()[-1])
        return answer
    except TimeoutError as error:
        raise EngineError(f"a trial container did not end within {DEADLINE_S:g} s") from error
    finally:
        await engine.remove(container)


def _throttles() -> bool:
    """Whether cgroups limit what is read from and written to disks."""
    if (_CGROUPS / "blkio" / "blkio.throttle.write_bps_device").exists():
        return True
    try:
        return "io" in (_CGROUPS / "cgroup.controllers").read_text().split()
    except OSError:
        return False
