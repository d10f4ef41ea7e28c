"""Crash of a container to its replacement running: ours, `docker run --restart always`, and the engine's own floor.

All three are taken in turn in one loop, with one instrument: the engine's `start` event against the moment of the act.
The back-off of both supervisors is reset before each sample: ours by taking another pod, Docker's by letting the
container run for more than ten seconds (moby: restartmanager.go).
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import docker

from benchmarks.cluster import BenchCluster, deployment
from benchmarks.rows import Row, spread
from testbed.api import labels

SAMPLES = 15
DOCKER_RESET_S = 10.5
LABEL = "testbed.bench"


@dataclass
class Starts:
    """Moments (ns of wall time, the engine's own stamps) of `start` events by a key."""

    moments: dict[str, int] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def follow(self, events: Any) -> None:
        for event in events:
            attributes = event["Actor"]["Attributes"]
            key = attributes.get(labels.POD_NAME) if attributes.get(labels.ROLE) == labels.ROLE_CONTAINER \
                else attributes.get("name", "")
            with self.changed:
                self.moments[str(key)] = int(event["timeNano"])
                self.changed.notify_all()

    def after(self, key: str, moment: int) -> float:
        """Milliseconds from ``moment`` to the next start of ``key``."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.moments.get(key, 0) > moment, timeout=30):
                raise SystemExit(f"{key} was not started again")
            return (self.moments[key] - moment) / 1e6


def measure(cluster: BenchCluster) -> list[Row]:
    client = docker.from_env()
    cluster.apply(deployment("crash", SAMPLES))
    pods = [pod["metadata"]["name"] for pod in cluster.wait_ready(SAMPLES)]
    stream = client.api.events(filters={"event": "start"}, decode=True)
    starts = Starts()
    follower = threading.Thread(target=starts.follow, args=(stream,), daemon=True)
    follower.start()
    made: list[Any] = []
    try:
        peer = client.containers.run("sample:v1", detach=True, name="testbed-bench-peer", labels={LABEL: "1"},
                                     restart_policy={"Name": "always"})
        made.append(peer)
        sandbox = client.containers.run("testbed-pause:1", detach=True, name="testbed-bench-sandbox",
                                        labels={LABEL: "1"})
        made.append(sandbox)
        ours, theirs, floor = [], [], []
        for index, pod in enumerate(pods):
            ours.append(_kill(starts, _pid(client, pod), pod))
            floor.append(_floor(client, starts, index, str(sandbox.id)))
            time.sleep(DOCKER_RESET_S)
            peer.reload()
            theirs.append(_kill(starts, peer.attrs["State"]["Pid"], "testbed-bench-peer"))
    finally:
        for container in made:
            container.remove(force=True)
        stream.close()
    cluster.testbed("delete", "deploy/crash", "svc/crash")
    median = statistics.median
    note = f"ours {spread(ours)} ms; docker {spread(theirs)} ms; floor {spread(floor)} ms"
    return [
        Row("crash -> replacement running / docker --restart always", median(ours) / median(theirs), 0.40, "", note),
        Row("the same / the engine's floor (start joined to a sandbox)", median(ours) / median(floor), 1.5, ""),
    ]


def _pid(client: Any, pod: str) -> int:
    filters = {"label": [f"{labels.POD_NAME}={pod}", f"{labels.ROLE}={labels.ROLE_CONTAINER}"], "status": "running"}
    found = client.api.containers(filters=filters)
    return int(client.api.inspect_container(found[0]["Id"])["State"]["Pid"])


def _kill(starts: Starts, pid: int, key: str) -> float:
    moment = time.time_ns()
    os.kill(pid, signal.SIGKILL)
    return starts.after(key, moment)


def _floor(client: Any, starts: Starts, index: int, sandbox: str) -> float:
    name = f"testbed-bench-floor-{index}"
    host = client.api.create_host_config(network_mode=f"container:{sandbox}")
    made = client.api.create_container("sample:v1", name=name, host_config=host, labels={LABEL: "1"})
    try:
        moment = time.time_ns()
        client.api.start(made["Id"])
        return starts.after(name, moment)
    finally:
        client.api.remove_container(made["Id"], force=True)
