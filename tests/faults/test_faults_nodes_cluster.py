"""Faults of nodes and of the control plane on a real cluster: what breaks, what goes on meanwhile, and that it ends."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, condition, run_testbed, state_home_for_test, wait_for
from support.manifests import web

from testbed.api import labels
from testbed.machines.client import room_status

pytestmark = pytest.mark.engine

Json = dict[str, Any]
TALK = """
import socket, sys
peer = socket.create_connection((sys.argv[1], 8080), 5)
def ask():
    peer.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    try:
        return "answered" if peer.recv(65536) else "closed"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return type(error).__name__
peer.settimeout(5)
print(ask(), flush=True)
sys.stdin.readline()
peer.settimeout(1)
print(ask(), flush=True)
"""
REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)
    print("reached")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("t")
    with state_home_for_test(home), bring_up_for_test("test_faults_nodes", home) as found:
        # Patient probes: what changes readiness here is the cluster, not a machine that is too busy to answer one.
        found.apply(web("web", replicas=5, liveness_failures=30, readiness_failures=30))
        found.wait_ready("app=web", 5)
        for kind in ("nodechaos", "controlplanechaos"):  # served as soon as the chaos daemon has said what they are
            wait_for(kind, lambda kind=kind: found.get(kind)["items"] == [])
        yield found


def inject(cluster: Cluster, kind: str, name: str, spec: str) -> None:
    cluster.apply(f"apiVersion: testbed.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")


def until(cluster: Cluster, kind: str, name: str, what: str) -> Json:
    found: Json = wait_for(f"{name}: {what}", lambda: _when(cluster.get(kind, name), what))
    return found


def _when(obj: Json, what: str) -> Json | None:
    return obj if condition(obj, what) == "True" else None


def moments(obj: Json) -> tuple[float, float]:
    """Seconds at which the injection was in effect, and was undone."""
    (record,) = obj["status"]["experiment"]["containerRecords"]
    done = {event["operation"]: event["monotonicNs"] / 1e9 for event in record["events"]
            if event["type"] == "Succeeded"}
    return done["Apply"], done["Recover"]


def container_of(cluster: Cluster, pod: Json) -> str:
    return str(pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2])


def python_in(container: str, text: str, *arguments: str) -> str:
    """What a Python program prints inside a container."""
    done = subprocess.run(["docker", "exec", container, "python3", "-c", text, *arguments], capture_output=True,
                          text=True, timeout=30, check=False)
    return done.stdout.strip()


@contextmanager
def talk(container: str, address: str) -> Iterator[subprocess.Popen[str]]:
    """An open connection of a container, on which it asks again when told."""
    with subprocess.Popen(["docker", "exec", "-i", container, "python3", "-c", TALK, address], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process


def line_of(process: subprocess.Popen[str], tell: bool = False) -> str:
    assert process.stdin is not None and process.stdout is not None
    if tell:
        process.stdin.write("\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def fetched(address: str, port: int = 80) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Watched:
    """Asks a Service all the time. ``failed``: how many requests were not answered."""

    def __init__(self, address: str) -> None:
        self._address, self._over = address, threading.Event()
        self.asked = self.failed = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            self.asked += 1
            self.failed += not fetched(self._address)


def ready_since(cluster: Cluster) -> dict[str, str]:
    return {pod["metadata"]["name"]: next(item["lastTransitionTime"] for item in pod["status"]["conditions"]
                                          if item["type"] == "Ready") for pod in cluster.pods("app=web")}


def settle(cluster: Cluster) -> None:
    cluster.wait_ready("app=web", cluster.get("deployment", "web")["spec"]["replicas"])


def pod_on(cluster: Cluster, node: str, *, other: bool = False) -> Json:
    return next(pod for pod in cluster.ready_pods("app=web") if (pod["spec"]["nodeName"] != node) == other)


def test_pods_kept_apart_fall_silent_and_reach_everything_else(cluster: Cluster) -> None:
    inside, beyond = pod_on(cluster, "node-1"), pod_on(cluster, "node-1", other=True)
    here, there = container_of(cluster, inside), beyond["status"]["podIP"]
    service = cluster.cluster_ip("web")
    with talk(here, there) as open_before:
        assert line_of(open_before) == "answered"
        inject(cluster, "NodeChaos", "apart", "action: partition, from: nodes, mode: one, duration: 10m, "
                                              "selector: {nodes: [node-1]}")
        told = until(cluster, "nodechaos", "apart", "AllInjected")
        assert "does not reach" in str(told["status"])
        assert line_of(open_before, tell=True) == "silent"
    assert python_in(here, REACH, there, "8080") == "TimeoutError"
    assert python_in(container_of(cluster, beyond), REACH, inside["status"]["podIP"], "8080") == "TimeoutError"
    assert python_in(here, REACH, cluster.instance.dns_address, "53") == "reached"  # the gateway
    assert fetched(inside["status"]["podIP"], 8080) and fetched(service)  # this machine
    assert condition(cluster.get("node", "node-1"), "Ready") == "True"

    cluster.testbed("scale", "deployment", "web", "--replicas", "6")  # the gateway is programmed anew
    cluster.wait_ready("app=web", 6)
    assert python_in(here, REACH, there, "8080") == "TimeoutError"

    subprocess.run(["docker", "kill", cluster.instance.gateway_container], capture_output=True, check=True)
    wait_for("it to be injected into the new gateway", lambda: cluster.get("nodechaos", "apart")["status"][
        "experiment"]["containerRecords"][0]["injectedCount"] == 2)
    assert python_in(here, REACH, there, "8080") == "TimeoutError"
    cluster.testbed("delete", "nodechaos", "apart")
    assert python_in(here, REACH, there, "8080") == "reached"


def test_a_reboot_brings_another_boot_id_and_a_drain_spares_a_cordoned_node(cluster: Cluster) -> None:
    before = cluster.get("node", "node-2")["status"]["nodeInfo"]["bootID"]
    inject(cluster, "NodeChaos", "reboot", "action: reboot, mode: one, selector: {nodes: [node-2]}")
    start_s, end_s = moments(until(cluster, "nodechaos", "reboot", "AllRecovered"))
    assert end_s - start_s > 0.9
    assert cluster.get("node", "node-2")["status"]["nodeInfo"]["bootID"] not in ("", before)

    cluster.testbed("cordon", "node-3")
    for node, name in (("node-2", "free"), ("node-3", "held")):
        inject(cluster, "NodeChaos", name, f"action: drain, mode: one, duration: 10m, selector: {{nodes: [{node}]}}")
        until(cluster, "nodechaos", name, "AllInjected")
        assert cluster.get("node", node)["spec"]["unschedulable"]
        cluster.testbed("delete", "nodechaos", name)
        wait_for(f"{name} to be undone", lambda name=name: name not in [
            item["metadata"]["name"] for item in cluster.get("nodechaos")["items"]])
    assert not cluster.get("node", "node-2")["spec"].get("unschedulable")
    assert cluster.get("node", "node-3")["spec"]["unschedulable"]
    cluster.testbed("uncordon", "node-3")
    settle(cluster)


def test_without_a_control_plane_everything_else_goes_on(cluster: Cluster) -> None:
    before = ready_since(cluster)
    victim = pod_on(cluster, "node-1")
    died = container_of(cluster, victim)
    with Watched(cluster.cluster_ip("web")) as service:
        inject(cluster, "ControlPlaneChaos", "outage", "action: kill, duration: 5s")
        wait_for("the API to be down", lambda: not _api(cluster).running)
        assert run_testbed("get", "nodes", "--name", cluster.name, check=False).returncode != 0
        pid = subprocess.run(["docker", "inspect", "-f", "{{.State.Pid}}", died], capture_output=True, text=True,
                             check=True).stdout
        os.kill(int(pid), signal.SIGKILL)
        wait_for("the agent to start the container again", lambda: _successor(cluster, victim, died))
        assert not _api(cluster).running
        ended = until(cluster, "controlplanechaos", "outage", "AllRecovered")
    start_s, end_s = moments(ended)
    assert 3.5 < end_s - start_s < 10
    assert service.asked > 20
    assert service.failed <= 0.2 * service.asked  # those that met the container that died
    settle(cluster)
    after = ready_since(cluster)
    assert {name for name in before if after[name] != before[name]} <= {victim["metadata"]["name"]}


def test_a_frozen_api_is_thawed_though_room_and_daemon_are_dead(cluster: Cluster) -> None:
    settle(cluster)
    before, service = ready_since(cluster), cluster.cluster_ip("web")
    inject(cluster, "ControlPlaneChaos", "stop", "action: freeze, duration: 4s")
    began = time.monotonic()
    pid = _api(cluster).pid
    wait_for("the API to be frozen", lambda: _stopped(pid))
    status = room_status(cluster.instance.room_socket)
    daemon = next(process.pid for process in status.processes if process.name == "chaos")
    for victim in (status.room_pid, daemon):
        os.kill(victim, signal.SIGKILL)
    assert _stopped(pid) and fetched(service)
    wait_for("the API to go on", lambda: not _stopped(pid), timeout_s=15)
    assert time.monotonic() - began > 3
    run_testbed("up", "--name", cluster.name, check=False)  # the room comes back, and with it the daemon
    until(cluster, "controlplanechaos", "stop", "AllRecovered")
    assert ready_since(cluster) == before, cluster.testbed("events", "--since", "30s", "--timestamps")


def test_a_slow_api_is_late_for_agents(cluster: Cluster) -> None:
    inject(cluster, "ControlPlaneChaos", "slow", "action: slow, latency: 200ms, duration: 3s")
    told = until(cluster, "controlplanechaos", "slow", "AllInjected")
    assert "late by 200 ms" in str(told["status"])
    until(cluster, "controlplanechaos", "slow", "AllRecovered")
    assert not any(node.cable for node in room_status(cluster.instance.room_socket).nodes)


def _api(cluster: Cluster) -> Any:
    return next(process for process in room_status(cluster.instance.room_socket).processes if process.name == "api")


def _stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    waits = Path(f"/proc/{pid}/wchan").read_text() if os.geteuid() == 0 else ""
    return state == "D" or any(word in waits for word in ("frozen", "refrigerator", "freez"))


def _successor(cluster: Cluster, pod: Json, died: str) -> bool:
    """Whether another container of the pod runs."""
    wanted = (f"label={labels.POD_UID}={pod['metadata']['uid']}", f"label={labels.ROLE}={labels.ROLE_CONTAINER}")
    listed = subprocess.run(["docker", "ps", "-q", "--no-trunc", "--filter", wanted[0], "--filter", wanted[1]],
                            capture_output=True, text=True, check=True).stdout.split()
    return any(container != died for container in listed)
