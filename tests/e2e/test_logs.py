"""Logs on a real cluster: of many containers, through restarts and the API's death; of our own processes, about one pod
from the fault to the recovery, and without a secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cluster import Cluster, condition, wait_for
from support.manifests import pod_chaos

pytestmark = pytest.mark.engine

# Each life of a container has a name of its own and counts its lines.
CHATTER = ("import itertools, time, uuid; life = uuid.uuid4().hex[:8]; "
           "[(print(life, number, flush=True), time.sleep(0.02)) for number in itertools.count()]")
WORKLOAD = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: chatter}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: chatter}}}}
  template:
    metadata: {{labels: {{app: chatter}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {{name: web, image: "sample:v1", command: [python3, -u, -c, {json.dumps(CHATTER)}]}}
        - {{name: side, image: "sample:v1", command: [python3, -u, -c, {json.dumps(CHATTER)}]}}
"""


@pytest.fixture(scope="module", autouse=True)
def workload(cluster: Cluster) -> None:
    cluster.apply(WORKLOAD)
    cluster.wait_ready("app=chatter", 2)
    wait_for("podchaos", lambda: cluster.get("podchaos")["items"] == [])  # served once the chaos daemon has said so


@contextmanager
def followed(cluster: Cluster, file: Path, *arguments: str) -> Iterator[None]:
    """``testbed logs ... -f`` while the body runs; what it prints is in ``file``."""
    with file.open("wb") as out, subprocess.Popen(
            [sys.executable, "-m", "testbed", "logs", *arguments, "-f", "--name", cluster.name], stdout=out,
            stderr=subprocess.PIPE) as process:
        try:
            wait_for("the first line", lambda: file.stat().st_size)
            yield
            time.sleep(2)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130, process.stderr.read() if process.stderr else ""


def lives(text: str) -> dict[tuple[str, str], dict[str, list[int]]]:
    """By pod and container: the numbers of the lines of each of its lives, in the order of their telling."""
    found: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in text.splitlines():
        prefix, _, said = line.partition(" | ")
        pod, container = prefix.split()
        life, number = said.split()
        found[pod, container][life].append(int(number))
    return found


def api_pid(cluster: Cluster) -> int:
    status = json.loads(cluster.testbed("status", "-o", "json"))[cluster.name]
    return next(int(item["pid"]) for item in status["processes"] if item["name"] == "api")


def test_many_containers_are_merged_in_the_order_of_their_times(cluster: Cluster) -> None:
    text = cluster.testbed("logs", "-l", "app=chatter", "--all", "--timestamps")
    moments = [line.partition(" | ")[2].split()[0] for line in text.splitlines()]
    assert len(moments) > 20 and moments == sorted(moments)
    told = lives("\n".join(" | ".join((line.partition(" | ")[0], line.partition(" | ")[2].partition(" ")[2]))
                           for line in text.splitlines()))
    names = {pod["metadata"]["name"] for pod in cluster.ready_pods("app=chatter")}
    assert set(told) == {(pod, container) for pod in names for container in ("web", "side")}
    assert all(numbers == list(range(len(numbers))) for own in told.values() for numbers in own.values())
    assert len(cluster.testbed("logs", "-l", "app=chatter").splitlines()) == 20  # as kubectl: 10 of each
    assert len(cluster.testbed("logs", "deploy/chatter", "--all", "--max-lines", "7").splitlines()) == 7


def test_following_goes_on_through_a_crash_a_new_pod_and_the_death_of_the_api(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "followed"
    first, second = (pod["metadata"]["name"] for pod in cluster.ready_pods("app=chatter"))
    with followed(cluster, file, "-l", "app=chatter", "--all"):
        cluster.apply(pod_chaos("crash", "container-kill", "chatter"))
        wait_for("a restart", lambda: any(item["restartCount"] for pod in cluster.pods("app=chatter")
                                          for item in pod["status"].get("containerStatuses", [])))
        pid = api_pid(cluster)
        os.kill(pid, signal.SIGKILL)
        wait_for("a new API", lambda: api_pid(cluster) not in (0, pid))
        wait_for("the nodes", lambda: all(condition(node, "Ready") == "True" for node in cluster.get("nodes")["items"]))
        cluster.testbed("delete", "pod", first)
        names = {pod["metadata"]["name"] for pod in cluster.wait_ready("app=chatter", 2)}
        time.sleep(2)
    told = lives(file.read_text())
    assert {pod for pod, _ in told} >= {first, second} | names
    assert any(len(own) == 2 for own in told.values())  # the one that crashed
    for own in told.values():
        for numbers in own.values():
            assert numbers == list(range(len(numbers))), "a line is missing or was told twice"


def test_our_own_processes_tell_one_story_about_a_victim_and_no_secret(cluster: Cluster) -> None:
    cluster.apply(pod_chaos("story", "container-kill", "chatter"))
    told = wait_for("the crash", lambda: next(iter(cluster.get("podchaos", "story").get("status", {}).get(
        "experiment", {}).get("containerRecords", [])), None))
    victim = told["id"].split("/")[1]
    cluster.wait_ready("app=chatter", 2)

    def story() -> list[dict[str, str]]:
        text = cluster.testbed("logs", "--system", "--json", "--about", "PodChaos/story")
        lines = [json.loads(line) for line in text.splitlines()]
        return lines if any("Started container" in line["message"] for line in lines) else []

    lines = wait_for("the story", story)
    assert [line["ns"] for line in lines] == sorted(line["ns"] for line in lines)
    assert {line["process"].partition("/")[0] for line in lines} >= {"chaos", "agent"}
    said = [line["message"] for line in lines]
    begun, died, started = (next(number for number, text in enumerate(said) if word in text)
                            for word in ("is to hit", "ContainerDied", "Started container"))
    assert begun < died < started
    assert {line.get("pod", f"default/{victim}") for line in lines} == {f"default/{victim}"}
    assert victim in cluster.testbed("logs", "--system", "--about", victim)
    events = cluster.testbed("events", "--about", "PodChaos/story")
    assert all(word in events for word in ("Started", "ContainerDied", "Applied", "ContainerReady")), events

    secrets = [(cluster.directory / name).read_text().strip() for name in ("token", "agent-token")]
    for log in (cluster.directory / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log.name
        assert log.name.startswith("engine-") or all(json.loads(line)["message"] for line in text.splitlines())
