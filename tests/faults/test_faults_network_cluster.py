"""Network faults on a real cluster, measured from inside other pods and from the gateway, by programs that know nothing
of the fault. Each bound is one that a fault which does nothing would miss."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from support.cluster import Cluster, bring_up_for_test, state_home_for_test, wait_for
from support.nettools import load

import testbed
from testbed.api import labels
from testbed.errors import NotFound

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="looks into namespaces and kills holders, which takes root"),
]

LATE_S = 0.06
CONNECT = """
import socket, sys, time
for _ in range(int(sys.argv[3])):
    begun, talk = time.monotonic(), socket.socket()
    talk.settimeout(float(sys.argv[4]))
    try:
        talk.connect((sys.argv[1], int(sys.argv[2])))
        print(time.monotonic() - begun)
    except OSError:
        print("silent")
    talk.close()
"""
KEPT = """
import http.client, sys, time
talk = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
while True:
    begun = time.monotonic()
    talk.request("GET", "/healthz")
    talk.getresponse().read()
    print(time.monotonic() - begun, flush=True)
    if sys.stdin.readline() != "again\\n":
        break
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with state_home_for_test(tmp_path_factory.mktemp("t")) as home, \
            bring_up_for_test("test_network", home, nodes=2) as found:
        found.apply(web("web") + web("db"))
        for app in ("web", "db"):
            found.wait_ready(f"app={app}", 1)
        yield found


def web(name: str) -> str:
    return (f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 1\n"
            f"  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n"
            "    spec:\n      terminationGracePeriodSeconds: 0\n      containers:\n"
            "      - {name: app, image: \"sample:v1\", ports: [{name: http, containerPort: 8080}]}\n---\n"
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
            f"spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]}}\n---\n")


class Injected:
    """A NetworkChaos on ``web`` that is in effect until the end of the block. ``evidence``: what was seen of it."""

    def __init__(self, cluster: Cluster, name: str, action: str, *, duration: str = "60s", **spec: Any) -> None:
        self.client = testbed.connect(cluster.name)
        self.name = name
        self.object = {
            "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": name},
            "spec": {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}, "duration": duration,
                     "action": action, **spec}}
        self.evidence: list[str] = []

    def __enter__(self) -> Injected:
        self.client.create(self.object)
        wait_for(f"{self.name} to take effect", self._in_effect, timeout_s=30, pause_s=0.03)
        return self

    def _in_effect(self) -> bool:
        found = self.client.get("networkchaos", self.name)
        records = found.get("status", {}).get("experiment", {}).get("containerRecords", ())
        self.evidence = [event["message"] for record in records for event in record.get("events", ())
                         if (event["operation"], event["type"]) == ("Apply", "Succeeded")]
        assert records and len(self.evidence) == len(records), json.dumps(found.get("status"))
        return True

    def delete(self) -> None:
        """Returns when it is gone; what is gone already stays so."""
        with contextlib.suppress(NotFound):
            self.client.delete("networkchaos", self.name)
        wait_for(f"{self.name} to be gone", self._gone, timeout_s=30, pause_s=0.03)

    def _gone(self) -> bool:
        try:
            self.client.get("networkchaos", self.name)
        except NotFound:
            return True
        return False

    def __exit__(self, *error: object) -> None:
        self.delete()
        self.client.close()


TO_DB = {"target": {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}}}


def delay(latency: str = "60ms", **more: Any) -> dict[str, Any]:
    return {"delay": {"latency": latency}, **more}


# --- what can be seen


def containers(cluster: Cluster, role: str, **more: str) -> list[str]:
    """Ids of what runs, youngest first."""
    words = [f"label={labels.INSTANCE}={cluster.instance.id}", f"label={labels.ROLE}={role}",
             *(f"label={key}={value}" for key, value in more.items())]
    client = docker.from_env()
    try:
        return [str(found["Id"]) for found in client.api.containers(filters={"label": [
            word.removeprefix("label=") for word in words], "status": "running"})]
    finally:
        client.close()


def inside(container: str, *argv: str) -> str:
    """stdout and stderr of a program in a container."""
    client = docker.from_env()
    try:
        made = client.api.exec_create(container, list(argv))
        return str(client.api.exec_start(made["Id"]).decode())
    finally:
        client.close()


def pod(cluster: Cluster, app: str) -> dict[str, Any]:
    with testbed.connect(cluster.name) as client:
        (found,) = client.list("pods", label_selector=f"app={app}")
        return found


def cluster_ip(cluster: Cluster, service: str) -> str:
    with testbed.connect(cluster.name) as client:
        return str(client.get("services", service)["spec"]["clusterIP"])


def container_of(cluster: Cluster, app: str) -> str:
    uid = pod(cluster, app)["metadata"]["uid"]
    return containers(cluster, labels.ROLE_CONTAINER, **{labels.POD_UID: uid})[0]


def sandbox_of(cluster: Cluster, app: str) -> str:
    uid = pod(cluster, app)["metadata"]["uid"]
    return containers(cluster, labels.ROLE_SANDBOX, **{labels.POD_UID: uid})[0]


def holders(cluster: Cluster) -> list[str]:
    return containers(cluster, labels.ROLE_HOLDER)


def connect_s(cluster: Cluster, app: str, address: str, port: int, count: int = 3, within_s: float = 0.8) -> float:
    """Least time of a handshake from a pod, which crosses the network once each way; infinite: nobody answered."""
    told = inside(container_of(cluster, app), "python3", "-c", CONNECT, address, str(port), str(count), str(within_s))
    times = [float(line) for line in told.split() if line != "silent"]
    return min(times, default=float("inf"))


def paths(cluster: Cluster) -> dict[str, tuple[str, str, int]]:
    """Ways between the two pods: from, address, port."""
    found = {}
    for app, other in (("web", "db"), ("db", "web")):
        found[f"{app} direct"] = (app, pod(cluster, other)["status"]["podIP"], 8080)
        found[f"{app} Service"] = (app, cluster_ip(cluster, other), 80)
    return found


def ping(cluster: Cluster, *options: str) -> str:
    """From the gateway to ``web``."""
    (gateway,) = containers(cluster, labels.ROLE_GATEWAY)
    return inside(gateway, "ping", "-q", *options, pod(cluster, "web")["status"]["podIP"])


def round_trip_ms(cluster: Cluster) -> float:
    found = re.search(r"= ([\d.]+)/", ping(cluster, "-c", "20", "-i", "0.01", "-W", "1"))
    return float(found[1]) if found else float("inf")


def received(cluster: Cluster, count: int = 100) -> int:
    found = re.search(r"(\d+) received", ping(cluster, "-c", str(count), "-i", "0.002", "-W", "0.5"))
    assert found
    return int(found[1])


def rules(cluster: Cluster, app: str = "web") -> list[str]:
    """What stands in a pod's network that could touch packets: own rules, and queueing disciplines."""
    client = docker.from_env()
    try:
        pid = client.api.inspect_container(sandbox_of(cluster, app))["State"]["Pid"]
    finally:
        client.close()
    enter = ["nsenter", "-t", str(pid), "-n"]
    found: list[str] = []
    for argv in (["nft", "-s", "list", "ruleset"], ["tc", "qdisc", "show"]):
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, check=True)
        found += done.stdout.splitlines()
    return found


def as_before(cluster: Cluster, before: list[str]) -> None:
    """The network of ``web``, and no holder container runs: at a deadline, those that clear may be several."""
    wait_for("the pod's network to be as before", lambda: rules(cluster) == before and not holders(cluster))


# --- each action, on all packets that leave the pod


def test_a_delay_is_met_and_leaves_nothing_behind(cluster: Cluster) -> None:
    before = rules(cluster)
    assert round_trip_ms(cluster) < 40
    with Injected(cluster, "late", "delay", **delay()) as fault:
        assert 60 <= round_trip_ms(cluster) < 100
        assert "round trip 6" in fault.evidence[0] and re.search(r"\((NFQUEUE|netem on eth0)\)", fault.evidence[0])
        assert rules(cluster) != before
    assert round_trip_ms(cluster) < 40
    as_before(cluster, before)


def test_a_loss_loses_its_share_and_nothing_else(cluster: Cluster) -> None:
    before = rules(cluster)
    assert received(cluster) == 100
    with Injected(cluster, "holes", "loss", loss={"loss": "40"}):
        assert 35 <= received(cluster) <= 85
    with Injected(cluster, "runs", "loss", loss={"loss": "40", "correlation": "30"}):
        assert 30 <= received(cluster) <= 90
    assert received(cluster) == 100
    as_before(cluster, before)


def test_packets_come_twice_or_damaged(cluster: Cluster) -> None:
    before = rules(cluster)
    with Injected(cluster, "twice", "duplicate", duplicate={"duplicate": "50"}):
        found = re.search(r"\+(\d+) duplicates", ping(cluster, "-c", "100", "-i", "0.002", "-W", "0.5"))
        assert found and 25 <= int(found[1]) <= 75
    with Injected(cluster, "wrong", "corrupt", corrupt={"corrupt": "50"}):
        assert 25 <= received(cluster) <= 75  # the rest came with a wrong checksum
    as_before(cluster, before)


def test_several_effects_of_one_object_add_up(cluster: Cluster) -> None:
    with Injected(cluster, "mixed", "netem", **delay(), loss={"loss": "30"}, rate={"rate": "1mbit"}) as fault:
        assert 45 <= received(cluster) <= 90
        assert round_trip_ms(cluster) >= 60
        assert "lost" in fault.evidence[0] and "round trip" in fault.evidence[0] and "at once" in fault.evidence[0]


def test_a_bandwidth_makes_packets_wait_and_two_share_a_device(cluster: Cluster) -> None:
    before = rules(cluster)
    wide = {"limit": 1_000_000, "buffer": 5000}
    burst = ("-c", "30", "-l", "30", "-s", "1400", "-W", "2")  # 43 kB: 0.3 s at 1 Mbit/s less what passes at once

    def last_ms() -> float:
        found = re.search(r"= [\d.]+/[\d.]+/([\d.]+)/", ping(cluster, *burst))
        assert found
        return float(found[1])

    assert last_ms() < 100
    with Injected(cluster, "narrow", "bandwidth", bandwidth={"rate": "1mbit", **wide}) as narrow:
        assert 240 <= last_ms() < 450
        with Injected(cluster, "narrower", "bandwidth", bandwidth={"rate": "500kbit", **wide}) as narrower:
            assert last_ms() >= 500
            assert "tbf" in narrow.evidence[0] and "NFQUEUE" in narrower.evidence[0]  # the root is one's alone
        assert 240 <= last_ms() < 450
    as_before(cluster, before)


# --- with a target, on the direct path and through a Service


@pytest.mark.parametrize(("direction", "times"), [("to", 1), ("from", 1), ("both", 2)])
def test_with_a_target_each_packet_is_late_once_on_every_path(cluster: Cluster, direction: str, times: int) -> None:
    with Injected(cluster, "between", "delay", **delay(), **TO_DB, direction=direction):
        found = {name: connect_s(cluster, *path) for name, path in paths(cluster).items()}
        assert all(LATE_S * times <= one < LATE_S * (times + 0.9) for one in found.values()), found
        assert round_trip_ms(cluster) < 40  # to anybody else nothing happens
    assert max(connect_s(cluster, *path) for path in paths(cluster).values()) < 0.04


def test_connections_that_stand_are_late_once_as_well(cluster: Cluster) -> None:
    kept = []
    for app, address, port in paths(cluster).values():
        process = subprocess.Popen(["docker", "exec", "-i", container_of(cluster, app), "python3", "-c", KEPT, address,
                                    str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout and float(process.stdout.readline()) < 5
        kept.append(process)
    with Injected(cluster, "between", "delay", **delay(), **TO_DB, direction="both"):
        for process in kept:
            took = [_again(process) for _ in range(3)]
            assert 2 * LATE_S <= min(took) < 2.9 * LATE_S, took
    for process in kept:
        process.communicate("enough\n", timeout=10)


def _again(process: subprocess.Popen[str]) -> float:
    assert process.stdin and process.stdout
    process.stdin.write("again\n")
    process.stdin.flush()
    return float(process.stdout.readline())


@pytest.mark.parametrize("direction", ["to", "from"])
def test_a_partition_from_a_target_cuts_every_path_and_nothing_else(cluster: Cluster, direction: str) -> None:
    before = rules(cluster)
    with Injected(cluster, "apart", "partition", **TO_DB, direction=direction) as fault:
        found = {name: connect_s(cluster, *path, count=1, within_s=0.4) for name, path in paths(cluster).items()}
        assert set(found.values()) == {float("inf")}
        assert received(cluster, 10) == 10
        assert len(fault.evidence) == 2 and all("silence" in words for words in fault.evidence)
    assert max(connect_s(cluster, *path) for path in paths(cluster).values()) < 0.4
    as_before(cluster, before)


def test_a_partition_without_peers_is_silent_to_its_sender_too(cluster: Cluster) -> None:
    with Injected(cluster, "alone", "partition", direction="to"):
        assert received(cluster, 5) == 0
        send = "import socket; print(socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('10.9.9.9', 9)))"
        assert inside(container_of(cluster, "web"), "python3", "-c", send).strip() == "1"  # and no EPERM


def test_peers_outside_may_be_names_and_a_service_is_one(cluster: Cluster) -> None:
    outside = ["db.default.svc.cluster.local:80", "no-such-host.invalid", "198.51.100.0/24"]
    with Injected(cluster, "outside", "partition", externalTargets=outside, direction="to") as fault:
        ways = paths(cluster)
        assert connect_s(cluster, *ways["web Service"], count=1, within_s=0.4) == float("inf")
        assert connect_s(cluster, *ways["web direct"]) < 0.4
        assert "unknown names: no-such-host.invalid" in fault.evidence[0] and "met its rules" in fault.evidence[0]


# --- several at once, and what dies meanwhile


def test_two_faults_on_one_pod_add_up_and_go_in_any_order(cluster: Cluster) -> None:
    before = rules(cluster)
    first, second = (Injected(cluster, name, "delay", **delay()) for name in ("first", "second"))
    with first, second, Injected(cluster, "third", "loss", loss={"loss": "50"}):
        assert 120 <= round_trip_ms(cluster) < 200
        assert 35 <= received(cluster) <= 80  # the loss is met once, whoever lets a packet go
        first.delete()
        assert 60 <= round_trip_ms(cluster) < 110
    as_before(cluster, before)


def test_a_delay_whose_holder_is_killed_is_over_at_once_and_a_partition_at_its_deadline(cluster: Cluster) -> None:
    before, others = rules(cluster), rules(cluster, "db")
    begun = time.monotonic()
    with Injected(cluster, "late", "delay", duration="9s", **delay("200ms")) as late:
        by_queue = "NFQUEUE" in late.evidence[0]
        kill(cluster)
        if by_queue:
            assert round_trip_ms(cluster) < 150
        with Injected(cluster, "apart", "partition", duration="7s", **TO_DB):
            kill(cluster)
            assert connect_s(cluster, *paths(cluster)["web Service"], count=1, within_s=0.4) == float("inf")
            wait_for("both to end", lambda: rules(cluster) == before and rules(cluster, "db") == others, timeout_s=20)
            assert time.monotonic() - begun > 7
            assert connect_s(cluster, *paths(cluster)["web Service"]) < 0.4
    as_before(cluster, before)


def kill(cluster: Cluster) -> None:
    """SIGKILL to all holder containers' processes."""
    client = docker.from_env()
    try:
        for holder in holders(cluster):
            os.kill(client.api.inspect_container(holder)["State"]["Pid"], signal.SIGKILL)
    finally:
        client.close()
    wait_for("the holders to be dead", lambda: not holders(cluster))


def test_a_fault_stays_when_the_pods_container_is_started_again(cluster: Cluster) -> None:
    with Injected(cluster, "late", "delay", **delay()):
        died = container_of(cluster, "web")
        client = docker.from_env()
        try:
            os.kill(client.api.inspect_container(died)["State"]["Pid"], signal.SIGKILL)
        finally:
            client.close()
        wait_for("another container", lambda: container_of(cluster, "web") != died)
        cluster.wait_ready("app=web", 1)
        assert statistics.median(round_trip_ms(cluster) for _ in range(3)) >= 60


def test_what_cannot_be_is_told_and_leaves_nothing(cluster: Cluster) -> None:
    before = rules(cluster)
    with testbed.connect(cluster.name) as client:
        client.create(Injected(cluster, "nowhere", "delay", **delay(), device="net7").object)
        wait_for("the reason to be told", lambda: "the pod has no device net7" in json.dumps(
            client.get("networkchaos", "nowhere")), timeout_s=20)
        client.delete("networkchaos", "nowhere")
    as_before(cluster, before)


def test_tc_understands_what_it_is_told_of_netem() -> None:
    """All of it that can be tried where the kernel has none: tc reads its words before it asks."""
    effect = {"delay": {"latency_s": 0.09, "jitter_s": 0.01, "correlation": 0.25}, "rate": {"bits_per_s": 1_000_000},
              "reorder": {"share": 0.5, "correlation": 0.5, "gap": 5}, "loss": {"share": 0.25, "correlation": 0.25},
              "duplicate": {"share": 0.4, "correlation": 0.1}, "corrupt": {"share": 0.001, "correlation": 0.1}}
    shaping = load("packet_shaping")
    argv = shaping.add("an-injection", "lo", *shaping.discipline(effect))
    done = subprocess.run(["docker", "run", "--rm", "--network", "none", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN",
                           "--label", "testbed.io/test=network", "testbed-nettools:1", *argv],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "qdisc kind is unknown" in done.stderr, done.stderr
