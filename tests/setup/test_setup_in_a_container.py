"""A machine that is itself a container (CI often is): our own processes lie in its cgroup, those of others do not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.runtime import host_acts
from testbed.runtime.host_acts import HostActs, NotOurs

MACHINE, OTHER = "a" * 64, "b" * 64
INSTANCE = "0123456789ab"
NODE = f"/testbed-{INSTANCE}/node-1"


@pytest.fixture
def child() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


@pytest.mark.parametrize(("own", "of_child", "allowed"), [
    ("/", "/", True),
    ("/user.slice/a.scope", "/system.slice/b.service", True),
    (f"/docker/{MACHINE}", f"/docker/{MACHINE}", True),
    (f"/docker/{MACHINE}", f"/docker/{MACHINE}/job", True),
    (f"/system.slice/docker-{MACHINE}.scope", f"/system.slice/docker-{MACHINE}.scope", True),
    (f"/docker/{MACHINE}", f"{NODE}/agent", True),
    ("/", f"{NODE}/{OTHER}", True),
    ("/", f"/docker/{OTHER}", False),
    (f"/docker/{MACHINE}", f"/docker/{OTHER}", False),
    (f"/docker/{MACHINE}", f"/docker/{MACHINE}/docker/{OTHER}", False),
    (f"/docker/{MACHINE}/docker/{OTHER}", f"/docker/{MACHINE}", True),
])
def test_I9_who_may_join_a_nodes_cgroup(
    own: str, of_child: str, allowed: bool, child: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = tmp_path / "freezer" / NODE.strip("/")
    node.mkdir(parents=True)
    where = {os.getpid(): own, child: of_child}
    monkeypatch.setattr(host_acts, "_cgroup_path", lambda pid, _controller: where[pid])
    acts = HostActs(INSTANCE, str(tmp_path))
    if allowed:
        acts.join_cgroup(NODE, child)
        assert (node / "cgroup.procs").read_text() == str(child)
    else:
        with pytest.raises(NotOurs, match=of_child):
            acts.join_cgroup(NODE, child)
        assert not (node / "cgroup.procs").exists()


def test_a_program_that_has_just_begun_may_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line is empty for a moment, as that of the kernel's threads always is."""
    node = tmp_path / "freezer" / NODE.strip("/")
    node.mkdir(parents=True)
    monkeypatch.setattr(host_acts, "_cgroup_path", lambda _pid, _controller: "/")
    acts = HostActs(INSTANCE, str(tmp_path))
    for _ in range(30):
        process = subprocess.Popen(["sleep", "60"])
        try:
            acts.join_cgroup(NODE, process.pid)
        finally:
            process.kill()
            process.wait()


def test_the_kernels_threads_may_not_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kthreadd = 2
    try:
        name = Path(f"/proc/{kthreadd}/comm").read_text().strip()
    except OSError:
        name = ""
    if name != "kthreadd":
        pytest.skip("the kernel's threads are not seen from in here")
    monkeypatch.setattr(host_acts, "_cgroup_path", lambda _pid, _controller: "/")
    with pytest.raises(NotOurs):
        HostActs(INSTANCE, str(tmp_path)).join_cgroup(NODE, kthreadd)
