"""TimeChaos, NodeChaos ``clock`` and IOChaos on a real cluster, seen by applications: who is hit, who is not, and what
is left when it is over, or when its holder was killed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from support import leaks
from support.cluster import bring_up_for_test, condition, wait_for

import testbed
from testbed.client.sync import Cluster
from testbed.errors import NotFound

pytestmark = [pytest.mark.engine, pytest.mark.long]  # its faults are in the contract of `make test` too, simulated

TORTURE = (Path(__file__).parent / "volume_torture.py").read_text()
GROUPS = {"TimeChaos": "chaos-mesh.org", "IOChaos": "chaos-mesh.org", "NodeChaos": "testbed.io"}
ROOM_S = 5.0  # between two machines' worth of clocks on one machine; far less than any offset here
# What this program of the container's image sees of its main process: sha256 of the vdso.
VDSO = """
import hashlib
begin, end = next(line.split()[0].split("-") for line in open("/proc/1/maps") if line.endswith("[vdso]\\n"))
memory = open("/proc/1/mem", "rb")
memory.seek(int(begin, 16))
print(hashlib.sha256(memory.read(int(end, 16) - int(begin, 16))).hexdigest())
"""
TIMED = """
import os, sys, time
begun = time.monotonic()
try:
    open(sys.argv[1], "a").close()
    print(0, time.monotonic() - begun)
except OSError as error:
    print(error.errno, time.monotonic() - begun)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Pods ``web`` (on node-1, containers ``app`` and ``side`` with one volume) and ``other`` (on node-2)."""
    home = tmp_path_factory.mktemp("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        leaks.STATE_ROOTS.add(home)
        with bring_up_for_test("test_clocks", home, nodes=2) as found, testbed.connect(found.name) as client:
            client.apply([pod("web", "node-1"), pod("other", "node-2")])
            for name in ("web", "other"):
                client.wait("pods", name)
            yield client


def pod(name: str, node: str) -> dict[str, Any]:
    def container(number: int) -> dict[str, Any]:
        port = 8080 + number
        return {"name": ("app", "side")[number], "image": "sample:v1",
                "env": [{"name": "PORT", "value": str(port)}, {"name": "GRPC_PORT", "value": "0"}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": port}, "periodSeconds": 1},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}

    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 0,
                 "containers": [container(0), container(1)], "volumes": [{"name": "data", "emptyDir": {}}]}}


class Injected:
    """A fault that is in effect until the end of the block. ``undo``: earlier."""

    def __init__(self, cluster: Cluster, kind: str, name: str, **spec: Any) -> None:
        self.cluster, self.kind, self.name = cluster, kind, name
        self.object = {"apiVersion": f"{GROUPS[kind]}/v1alpha1", "kind": kind, "metadata": {"name": name},
                       "spec": {"mode": "one", "duration": "60s", "selector": {"labelSelectors": {"app": "web"}},
                                **spec}}

    def __enter__(self) -> Injected:
        self.cluster.apply(self.object)
        self.cluster.wait(self.kind, self.name, until=_concluded, timeout_s=30)
        assert condition(self.get(), "AllInjected") == "True", self.events()
        return self

    def get(self) -> dict[str, Any]:
        return self.cluster.get(self.kind, self.name)

    def events(self) -> list[dict[str, Any]]:
        records = self.get()["status"]["experiment"]["containerRecords"]
        return [event for record in records for event in record["events"]]

    def evidence(self) -> str:
        return str(self.events()[-1]["message"])

    def undo(self) -> None:
        with contextlib.suppress(NotFound):
            self.cluster.delete(self.kind, self.name, wait_s=30)

    def __exit__(self, *error: object) -> None:
        self.undo()


def _concluded(obj: dict[str, Any]) -> bool:
    records = obj.get("status", {}).get("experiment", {}).get("containerRecords", [])
    return condition(obj, "AllInjected") == "True" or any(
        event["type"] == "Failed" for record in records for event in record.get("events", []))


def kill_holder(cluster: Cluster) -> None:
    """SIGKILL to the one holder that there is; returns when it is dead."""
    client = docker.from_env()
    try:
        pod = cluster.get("pods", "web")
        (own,) = client.containers.list(filters={"label": [f"io.kubernetes.pod.uid={pod['metadata']['uid']}",
                                                           "io.kubernetes.container.name=app"]})
        instance = own.labels["testbed.io/instance"]
        wanted = {"label": [f"testbed.io/instance={instance}", "testbed.io/role=holder"]}
        (holder,) = client.containers.list(filters=wanted)
        holder.kill("SIGKILL")
        holder.wait()
    finally:
        client.close()


def off_s(cluster: Cluster, name: str, container: str = "app", clock: str = "realtime_ns") -> float:
    """How far an application's clock is from this process's."""
    address = cluster.get("pods", name)["status"]["podIP"]
    port = {"app": 8080, "side": 8081}[container]
    seen = requests.get(f"http://{address}:{port}/time", timeout=10).json()[clock]
    own = time.time_ns() if clock == "realtime_ns" else time.monotonic_ns()
    return float(seen - own) / 1e9


def near(offset_s: float) -> Any:
    return pytest.approx(offset_s, abs=ROOM_S)


def in_container(cluster: Cluster, program: str, *arguments: str, container: str = "app") -> str:
    done = cluster.exec("web", ["python3", "-", *arguments], container=container, stdin=program.encode())
    assert done.exit_code == 0, done
    return done.stdout.decode().strip()


def opened(cluster: Cluster, path: str, container: str = "app") -> tuple[int, float]:
    """(errno or 0, seconds) of opening a file to append to it."""
    number, took_s = in_container(cluster, TIMED, path, container=container).split()
    return int(number), float(took_s)


def mounts(cluster: Cluster) -> str:
    return in_container(cluster, "print(open('/proc/1/mountinfo').read())")


def test_a_containers_clock_is_off_and_nobody_elses(cluster: Cluster) -> None:
    before = in_container(cluster, VDSO)
    with Injected(cluster, "TimeChaos", "shift", timeOffset="-10m100ns") as fault:
        assert "CLOCK_REALTIME is -599.99" in fault.evidence() or "CLOCK_REALTIME is -600.0" in fault.evidence()
        assert off_s(cluster, "web") == near(-600)
        assert off_s(cluster, "web", clock="monotonic_ns") == near(0)
        assert off_s(cluster, "web", "side") == near(0)
        assert off_s(cluster, "other") == near(0)
        started = "import time; time.sleep(0.3); print(time.time())"  # a process that was not there
        assert float(in_container(cluster, started)) - time.time() == near(-600)
        assert in_container(cluster, VDSO) != before
    assert off_s(cluster, "web") == near(0)
    assert in_container(cluster, VDSO) == before


def test_offsets_add_up_and_are_taken_back_in_any_order(cluster: Cluster) -> None:
    with (Injected(cluster, "TimeChaos", "first", timeOffset="1h") as first,
          Injected(cluster, "TimeChaos", "second", timeOffset="-20m",
                   clockIds=["CLOCK_REALTIME", "CLOCK_MONOTONIC"])):
        assert off_s(cluster, "web") == near(2400)
        assert off_s(cluster, "web", clock="monotonic_ns") == near(-1200)
        first.undo()
        assert off_s(cluster, "web") == near(-1200)
    assert off_s(cluster, "web") == near(0)


def test_a_clock_is_put_right_although_its_holder_was_killed(cluster: Cluster) -> None:
    before = in_container(cluster, VDSO)
    with Injected(cluster, "TimeChaos", "shift", timeOffset="1h"):
        kill_holder(cluster)
        assert off_s(cluster, "web") == near(3600)
    assert off_s(cluster, "web") == near(0)
    assert in_container(cluster, VDSO) == before


def test_a_nodes_clock_is_off_in_all_its_containers_and_its_agent(cluster: Cluster) -> None:
    with Injected(cluster, "NodeChaos", "late", action="clock", timeOffset="1h"):
        assert [off_s(cluster, "web", name) for name in ("app", "side")] == [near(3600), near(3600)]
        assert off_s(cluster, "other") == near(0)
        lease = wait_for("the agent to tell its own time", lambda: next(
            (item for item in cluster.list("leases", "kube-node-lease")
             if item["metadata"]["name"] == "node-1" and item["spec"]["renewTime"] > stamp(1800)), None))
        assert lease["spec"]["renewTime"] < stamp(5400)
    assert [off_s(cluster, "web", name) for name in ("app", "side")] == [near(0), near(0)]


def stamp(offset_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + offset_s))


def test_a_volumes_files_fail_for_one_container_and_the_mounts_are_as_before(cluster: Cluster) -> None:
    before = mounts(cluster)
    with Injected(cluster, "IOChaos", "broken", action="fault", errno=28, volumePath="/data", path="/data/**/*.log",
                  methods=["open", "create"]) as fault:
        assert "nothing there could be tried" in fault.evidence() or "ENOSPC" in fault.evidence()
        assert opened(cluster, "/data/a.log")[0] == 28
        assert opened(cluster, "/data/a.txt")[0] == 0
        assert opened(cluster, "/data/a.log", "side")[0] == 0
        assert opened(cluster, "/tmp/a.log")[0] == 0
    assert opened(cluster, "/data/a.log")[0] == 0
    assert mounts(cluster) == before


def test_a_volumes_files_are_late(cluster: Cluster) -> None:
    with Injected(cluster, "IOChaos", "slow", action="latency", delay="1s", volumePath="/data",
                  methods=["open", "create"]) as fault:
        assert "takes 1" in fault.evidence()
        number, took_s = opened(cluster, "/data/slow")
        assert number == 0
        assert took_s >= 1
        assert opened(cluster, "/data/slow", "side")[1] < 1
    assert opened(cluster, "/data/slow")[1] < 1


def test_a_dead_mount_is_taken_away(cluster: Cluster) -> None:
    before = mounts(cluster)
    with Injected(cluster, "IOChaos", "broken", action="fault", errno=5, volumePath="/data"):
        kill_holder(cluster)
        assert opened(cluster, "/data/x")[0] == 107  # ENOTCONN
    assert opened(cluster, "/data/x")[0] == 0
    assert mounts(cluster) == before


WRITER = """
import mmap, os, time
os.makedirs("/data/room", exist_ok=True)
os.chdir("/data/room")
with open("journal", "a+") as file:
    file.write("begun\\n" * 1000)
    file.flush()
    shared, folder = mmap.mmap(file.fileno(), 0), os.open("/data/room", os.O_RDONLY)
    print("ready", flush=True)
    while not os.path.exists("/tmp/enough"):
        time.sleep(0.01)
    shared[0:5] = b"ended"
    file.write("the end\\n")
    file.flush()
    print(open("journal").read(5), open("journal").readlines()[-1].strip(), os.listdir(folder))
"""


LINKED = """
import os
for act in (os.symlink, os.link):
    try:
        act("/data/room/journal", f"/data/{act.__name__}")
        print(0, end=" ")
    except OSError as error:
        print(error.errno, end=" ")
"""


def test_files_that_are_open_when_it_ends_go_on(cluster: Cluster) -> None:
    client = docker.from_env()
    try:
        pod_uid = cluster.get("pods", "web")["metadata"]["uid"]
        (app,) = client.containers.list(filters={"label": [f"io.kubernetes.pod.uid={pod_uid}",
                                                           "io.kubernetes.container.name=app"]})
        with (Injected(cluster, "IOChaos", "below", action="fault", errno=28, volumePath="/data",
                       methods=["symlink"]) as below,
              Injected(cluster, "IOChaos", "above", action="fault", errno=5, volumePath="/data", methods=["link"])):
            writer = client.api.exec_create(app.id, ["python3", "-c", WRITER])["Id"]
            output = client.api.exec_start(writer, stream=True)
            assert next(output) == b"ready\n"
            assert in_container(cluster, LINKED) == "28 5"
            below.undo()
            assert in_container(cluster, LINKED) == "0 5"
        in_container(cluster, "open('/tmp/enough', 'w')")
        assert b"".join(output).decode().strip() == "ended the end ['journal']"
        assert client.api.exec_inspect(writer)["ExitCode"] == 0
    finally:
        client.close()


def test_all_else_of_a_volume_is_as_without_the_fault(cluster: Cluster) -> None:
    plain = json.loads(in_container(cluster, TORTURE, "/data"))
    with Injected(cluster, "IOChaos", "elsewhere", action="fault", errno=5, volumePath="/data", path="/data/not-this"):
        served = json.loads(in_container(cluster, TORTURE, "/data"))
    assert served == plain
    assert len(plain) == 26


def test_a_container_without_the_volume_is_refused(cluster: Cluster) -> None:
    fault = Injected(cluster, "IOChaos", "nowhere", action="fault", errno=5, volumePath="/nowhere")
    cluster.apply(fault.object)
    cluster.wait("IOChaos", "nowhere", until=_concluded, timeout_s=30)
    assert "default/web/app has no volume mounted at /nowhere" in fault.evidence()
    fault.undo()
