"""What must stand before an engine can run in here: mounts that may be written, cgroups, routes.

The agent sees the machine's own Python under ``ROOM`` and, of this node, its processes, cgroups and the engine's data.
"""

import subprocess
from pathlib import Path

ROOM = Path("/machine")  # the agent's root directory; the machine's programs are mounted below it
PODS = "pods"  # the bridge of the node's pods
UPLINK = "eth0"
TABLE = "100"  # routes of what comes from pods
_CGROUPS = Path("/sys/fs/cgroup")


NEIGHBOUR_PROBES = "130"  # one a second; as testbed/network/gateway.py


def be_silent_for_the_dead() -> None:
    """The address of a pod that is gone swallows what is sent to it, as everywhere in the cluster: without this the
    node itself would say "no route" after three questions. Needs the bridge."""
    run("ip", "ntable", "change", "name", "arp_cache", "dev", PODS, "mcast_probes", NEIGHBOUR_PROBES)


def bridge() -> str:
    """Which one it is; empty: there is none."""
    try:
        return Path(f"/sys/class/net/{PODS}/ifindex").read_text().strip()
    except OSError:
        return ""


def run(*argv: str, input: str = "") -> str:
    """Raises: OSError with the program's own words when it fails."""
    done = subprocess.run(argv, input=input, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def prepare_mounts() -> None:
    """Cgroups and kernel settings of this container may be written; the agent's root gets what is this node's own."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in mounts:
        if place == "/proc/sys" or place.startswith(str(_CGROUPS)):
            run("mount", "-o", "remount,bind,rw", place)
    _delegate_cgroups()
    run("mount", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "shm", "/dev/shm")  # emptyDirs of medium Memory
    for name in ("proc", "sys", "dev", "var/lib/docker"):
        inside = ROOM / name
        inside.mkdir(parents=True, exist_ok=True)
        run("mount", "--rbind", f"/{name}", str(inside))
    (ROOM / "tmp").mkdir(exist_ok=True)


def _delegate_cgroups() -> None:
    """Version 2: a group with processes of its own cannot hand its controllers down, so they move into one below."""
    if not (_CGROUPS / "cgroup.controllers").exists():
        return
    own = _CGROUPS / "node"
    own.mkdir(exist_ok=True)
    for pid in (_CGROUPS / "cgroup.procs").read_text().split():
        (own / "cgroup.procs").write_text(pid)
    for controller in (_CGROUPS / "cgroup.controllers").read_text().split():
        try:
            (_CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # one that cannot be handed down is not needed


def set_routes(host: str, gateway: str, cluster: str, pod_range: str, nodes: str = "") -> None:
    """This machine is on the wire, everything else of the cluster is behind the gateway; what comes from a pod goes
    there even when it is for a pod of this node, as on every other node. ``nodes``: range of the nodes' own addresses
    where their engines talk to each other, on the wire. Doing it twice is harmless."""
    commands = (
        *([f"route replace {nodes} dev {UPLINK} scope link"] if nodes else []),
        f"route replace {host} dev {UPLINK} scope link",
        f"route replace {gateway} dev {UPLINK} scope link",
        f"route replace default via {host} dev {UPLINK}",
        f"route replace {cluster} via {gateway} dev {UPLINK}",
        f"route flush {pod_range} dev {UPLINK} proto kernel",
        f"route replace {host} dev {UPLINK} scope link table {TABLE}",
        f"route replace default via {gateway} dev {UPLINK} table {TABLE}",
    )
    run("ip", "-batch", "-", input="\n".join(commands) + "\n")
    if f"iif {PODS}" not in run("ip", "rule"):
        run("ip", "rule", "add", "iif", PODS, "lookup", TABLE)
