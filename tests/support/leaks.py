"""What a test may leave behind on this machine: nothing. A snapshot of the engine, the cgroups, memory volumes and our
processes.

Clusters that tests make are named ``test-...``, most of them with the token of their session at the end; clusters of
other names, or of another session's token, on the same engine are other people's.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, fields
from pathlib import Path

from testbed.api import labels
from testbed.api.instance import memory_directory

SESSION = secrets.token_hex(2)  # of this process of tests
STATE_ROOTS: set[Path] = set()  # state directories that tests of this session used
INSTANCE_IDS: set[str] = set()  # ids of the clusters they made


@dataclass(frozen=True)
class Footprint:
    """Everything of ours that exists, each as a readable line."""

    containers: frozenset[str]
    networks: frozenset[str]
    volumes: frozenset[str]
    cgroups: frozenset[str]
    memory: frozenset[str]
    processes: frozenset[str]

    def left_since(self, before: Footprint) -> list[str]:
        """What is here now and was not before, one line each."""
        return [f"{kind.name}: {item}" for kind in fields(self)
                for item in sorted(getattr(self, kind.name) - getattr(before, kind.name))]


def footprint() -> Footprint:
    """What exists now."""
    import docker

    client = docker.from_env()
    try:
        containers = frozenset(
            f"{(item.get('Names') or [item['Id']])[0]} ({item['Image']}, {item['State']})"
            for item in client.api.containers(all=True) if not _foreign(item.get("Labels")))
        networks = frozenset(item["Name"] for item in client.api.networks() if not _foreign(item.get("Labels")))
        volumes = frozenset(item["Name"] for item in client.api.volumes()["Volumes"] or []
                            if not _foreign(item.get("Labels")))
    finally:
        client.close()
    return Footprint(containers, networks, volumes, _cgroups(), _memory(), _processes())


def _foreign(found: dict[str, str] | None) -> bool:
    name = (found or {}).get(labels.INSTANCE_NAME)
    if name is None:
        return False
    token = re.search(r"-([0-9a-f]{4})\Z", name)
    return not name.startswith("test-") or (token is not None and token.group(1) != SESSION)


def _cgroups() -> frozenset[str]:
    root = Path("/sys/fs/cgroup")
    places = [root, *(path for path in root.iterdir() if path.is_dir())]
    return frozenset(str(place / f"testbed-{instance}") for place in places for instance in INSTANCE_IDS
                     if (place / f"testbed-{instance}").exists())


def _memory() -> frozenset[str]:
    """Memory volumes of clusters that tests made, and of those whose id begins as tests' made-up ids do."""
    return frozenset(
        str(path) for path in memory_directory("").parent.glob("testbed-*")
        if path.name.removeprefix("testbed-") in INSTANCE_IDS or path.name.startswith("testbed-7e57")
    )


def _processes() -> frozenset[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if any(str(root) in command for root in STATE_ROOTS):
            found.add(f"{path.parent.name} {command[:200]}")
    return frozenset(found)
