"""Resource faults on a real cluster, seen from outside: what the kernel counts in the target's cgroup."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from support import leaks
from support.cluster import Cluster, bring_up_for_test, condition, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.long]  # its faults are in the contract of `make test` too, simulated

ROOT = Path("/sys/fs/cgroup")
MIB = 1 << 20
NODE_MEMORY_MIB = 640
WRITE = """
import mmap, os, time
file = os.open("/tmp/x", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
buffer, begun = mmap.mmap(-1, 65536), time.monotonic()
for number in range(12):
    os.pwritev(file, [buffer], number * 65536)
print(time.monotonic() - begun)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        leaks.STATE_ROOTS.add(home)
        more = ("--node-memory", f"{NODE_MEMORY_MIB}Mi", "--node-cpu", "1", "--node-disk", "200Mi")
        with bring_up_for_test("test_stress", home, *more, nodes=2) as found:
            found.apply("\n---\n".join((web("web", "node-1"), web("other", "node-1"))))
            found.wait_ready("app=web", 1)
            found.wait_ready("app=other", 1)
            yield found


def web(name: str, node: str) -> str:
    """One pod with a memory limit, whose OOM score is a burstable one's."""
    container = {"name": "app", "image": "sample:v1",
                 "resources": {"limits": {"memory": "96Mi"}, "requests": {"memory": "32Mi"}}}
    pod = {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 0,
           "containers": [container]}
    return json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}})


class Injected:
    """A fault that is in effect until the end of the block."""

    def __init__(self, cluster: Cluster, kind: str, name: str, spec: dict[str, Any]) -> None:
        self.cluster, self.kind, self.name = cluster, kind, name
        group = "chaos-mesh.org" if kind == "StressChaos" else "testbed.io"
        self.object = {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name},
                       "spec": {"mode": "one", "duration": "60s", **spec}}

    def __enter__(self) -> Injected:
        self.cluster.apply(json.dumps(self.object))
        wait_for(f"{self.name} to take effect", self._in_effect, timeout_s=30)
        return self

    def _in_effect(self) -> bool:
        found = self.get()
        assert condition(found, "AllInjected") == "True", json.dumps(found.get("status"))
        return True

    def wait_told(self, word: str) -> None:
        wait_for(word, lambda: word in json.dumps(self.get().get("status", {})))

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get(self.kind.lower(), self.name)
        return found

    def __exit__(self, *error: object) -> None:
        self.cluster.testbed("delete", self.kind.lower(), self.name)


def stress(cluster: Cluster, name: str, app: str = "web", **stressors: Any) -> Injected:
    return Injected(cluster, "StressChaos", name, {"selector": {"labelSelectors": {"app": app}},
                                                   "stressors": stressors})


def on_node(cluster: Cluster, name: str, action: str, **fields: Any) -> Injected:
    return Injected(cluster, "NodeChaos", name, on(action, **fields))


def on(action: str, **fields: Any) -> dict[str, Any]:
    return {"selector": {"nodes": ["node-1"]}, "action": action, **fields}


# --- what the kernel says


def container_id(cluster: Cluster, app: str = "web") -> str:
    (pod,) = cluster.pods(f"app={app}")
    return str(pod["status"]["containerStatuses"][0]["containerID"]).removeprefix("docker://")


def pid_of(container: str) -> int:
    client = docker.from_env()
    try:
        return int(client.api.inspect_container(container)["State"]["Pid"])
    finally:
        client.close()


def group_of(pid: int, controller: str) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return ROOT / names.removeprefix("name=") / path.strip("/")
        if (ROOT / "cgroup.controllers").exists() and not names:
            return ROOT / path.strip("/")
    raise AssertionError(f"process {pid} is in no cgroup of {controller}")


def cpu_s(group: Path) -> float:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    return int(dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())["usage_usec"]) / 1e6


def memory(group: Path) -> int:
    version_1 = group / "memory.usage_in_bytes"
    return int((version_1 if version_1.exists() else group / "memory.current").read_text())


def stressed(group: Path) -> list[int]:
    """Processes of stress-ng in a cgroup."""
    found = []
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith("stress-ng"):
                found.append(int(pid))
        except OSError:
            continue
    return found


# --- StressChaos


def test_a_load_counts_in_the_targets_cgroup_and_two_add_up(cluster: Cluster) -> None:
    pid = pid_of(container_id(cluster))
    cpu, ram = group_of(pid, "cpuacct"), group_of(pid, "memory")
    idle_bytes = memory(ram)
    with stress(cluster, "burn", cpu={"workers": 1, "load": 60}):
        with stress(cluster, "hold", memory={"workers": 2, "size": "40MB"}):
            wait_for("40 MB", lambda: memory(ram) - idle_bytes > 38_000_000)
            before, begun = cpu_s(cpu), time.monotonic()
            wait_for("a second of CPU time", lambda: cpu_s(cpu) - before > 0.6, timeout_s=20)
            assert (cpu_s(cpu) - before) / (time.monotonic() - begun) < 0.9
        wait_for("the 40 MB to be given back", lambda: memory(ram) - idle_bytes < 20_000_000)
        assert stressed(cpu)
    assert stressed(cpu) == []


def test_a_restart_of_the_container_cures(cluster: Cluster) -> None:
    first = container_id(cluster)
    with stress(cluster, "burn-2", cpu={"workers": 1, "load": 30}):
        os.kill(pid_of(first), signal.SIGKILL)
        wait_for("another container", lambda: container_id(cluster) != first and cluster.wait_ready("app=web", 1))
        assert stressed(group_of(pid_of(container_id(cluster)), "cpuacct")) == []


@pytest.mark.long
def test_a_killed_holder_takes_its_stress_along(cluster: Cluster) -> None:
    group = group_of(pid_of(container_id(cluster)), "cpuacct")
    with stress(cluster, "burn-3", cpu={"workers": 2, "load": 10}):
        holders = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in stressed(group)}
        (holder,) = holders - set(stressed(group))
        os.kill(holder, signal.SIGKILL)
        wait_for("the stress to end", lambda: not stressed(group), timeout_s=10)


def test_memory_that_runs_out_kills_the_target(cluster: Cluster) -> None:
    first = container_id(cluster)
    with stress(cluster, "oom", memory={"workers": 1, "size": "10GB", "oomScoreAdj": -1000}):  # as cause-pod-oom.yaml
        wait_for("a restart", lambda: container_id(cluster) != first)
        (pod,) = cluster.wait_ready("app=web", 1)
        ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


@pytest.mark.long
def test_a_frozen_targets_stress_can_be_taken_back(cluster: Cluster) -> None:
    group = group_of(pid_of(container_id(cluster)), "cpuacct")
    freeze = Injected(cluster, "FreezeChaos", "ice", {"selector": {"labelSelectors": {"app": "web"}}})
    with stress(cluster, "burn-4", cpu={"workers": 1, "load": 10}):
        freeze.__enter__()
    freeze.__exit__()
    wait_for("the stress to end", lambda: not stressed(group), timeout_s=10)
    cluster.wait_ready("app=web", 1)


# --- nodes


@pytest.mark.long
def test_cpu_pressure_makes_a_nodes_share_a_limit_of_all_on_it(cluster: Cluster) -> None:
    node = group_of(pid_of(container_id(cluster)), "cpu").parent
    quota = node / ("cpu.cfs_quota_us" if (node / "cpu.cfs_quota_us").exists() else "cpu.max")
    free = quota.read_text()
    with on_node(cluster, "busy", "cpu-pressure", stressors={"cpu": {"workers": 2}}):
        assert quota.read_text().split()[0] == "100000"
        before = cpu_s(group_of(pid_of(container_id(cluster)), "cpuacct").parent)
        wait_for("the node to be busy", lambda: cpu_s(
            group_of(pid_of(container_id(cluster)), "cpuacct").parent) - before > 0.3)
    assert quota.read_text() == free


def test_memory_pressure_makes_a_node_evict(cluster: Cluster) -> None:
    def pressure() -> str:
        return condition(cluster.get("node", "node-1"), "MemoryPressure")

    with on_node(cluster, "full", "memory-pressure", stressors={"memory": {"workers": 2, "size": "92%"}}):
        wait_for("MemoryPressure", lambda: pressure() == "True")
        wait_for("an eviction", lambda: any(pod["status"].get("reason") == "Evicted" for pod in cluster.pods()))
    wait_for("the pressure to be over", lambda: pressure() == "False")
    wait_for("ready pods", lambda: cluster.ready_pods("app=web") and cluster.ready_pods("app=other"))


def test_a_slow_disk_is_slow_for_containers_that_start_later_too(cluster: Cluster) -> None:
    """786432 bytes at 1 MB/s are more than half a second; no disk takes that long by itself."""
    parent = f"{cluster.instance.node_cgroup('node-1')}"
    client = docker.from_env()
    try:
        made = client.containers.create("testbed-nettools:1", ["sleep", "60"], cgroup_parent=parent,
                                        labels={"testbed.io/instance": cluster.instance.id})
        try:
            with on_node(cluster, "slow", "slow-disk", writeBytesPerSecond="1MB"):
                made.start()
                wait_for("a slow write", lambda: direct_write_s(made) > 0.5)
            wait_for("a fast write", lambda: direct_write_s(made) < 0.5)
        finally:
            made.remove(force=True)
    finally:
        client.close()


def direct_write_s(container: Any) -> float:
    return float(container.exec_run(["python3", "-c", WRITE]).output)


def test_a_full_disk_makes_a_node_evict(cluster: Cluster) -> None:
    def pressure() -> str:
        return condition(cluster.get("node", "node-1"), "DiskPressure")

    files = cluster.directory / "nodes" / "node-1"
    assert cluster.get("node", "node-1")["status"]["capacity"]["ephemeral-storage"] == "200Mi"
    with on_node(cluster, "filled", "disk-fill", size="95%"):
        (file,) = files.glob("fill-*")
        assert file.stat().st_blocks * 512 >= 190 * MIB
        wait_for("DiskPressure", lambda: pressure() == "True")
        wait_for("its taint", lambda: "node.kubernetes.io/disk-pressure" in {
            taint["key"] for taint in cluster.get("node", "node-1")["spec"].get("taints", ())})
    assert not list(files.glob("fill-*"))
    wait_for("the pressure to be over", lambda: pressure() == "False")


def test_what_does_not_fit_is_refused_in_words(cluster: Cluster) -> None:
    much = {"stressors": {"memory": {"workers": 1, "size": "2GB"}}}
    wrong = [
        (Injected(cluster, "NodeChaos", "too-much", on("memory-pressure", **much)), "has 640 MiB"),
        (Injected(cluster, "NodeChaos", "too-full", on("disk-fill", size="100TB")), "what is free on this machine"),
    ]
    cluster.apply("\n---\n".join(json.dumps(fault.object) for fault, _ in wrong))
    for fault, word in wrong:
        fault.wait_told(word)
        fault.__exit__()
