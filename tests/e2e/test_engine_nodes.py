"""A cluster with a node that has an engine of its own, beside one that is a share of the machine's: the same from
outside, apart inside; and what EngineChaos does to it."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cluster import bring_up_for_test, condition, state_home_for_test, wait_for

import testbed
from testbed.api import labels
from testbed.api.instance import Instance
from testbed.client.sync import Cluster
from testbed.errors import EngineUnavailable
from testbed.runtime.docker import DockerEngine
from testbed.runtime.docker_assets import Deadlines

pytestmark = pytest.mark.engine
Json = dict[str, Any]
OWN, SHARE = "node-1", "node-2"
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {testbed.io/node-kind: engine}
      tolerations: [{operator: Exists}]
      containers:
        - name: web
          image: sample:v1
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 10}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: node-2
  containers: [{name: client, image: "sample:v1"}]
"""
ASK = """
import sys, urllib.request
for url in sys.argv[1:]:
    print(urllib.request.urlopen(url, timeout=5).read().decode())
"""


class World:
    """The cluster, and ``api`` to look at it with."""

    def __init__(self, instance: Instance, api: Cluster) -> None:
        self.instance, self.api = instance, api

    def web(self) -> list[Json]:
        return [pod for pod in self.api.list("pods", label_selector="app=web")
                if not pod["metadata"].get("deletionTimestamp")]

    def wait_ready(self, timeout_s: float = 60) -> None:
        wait_for("two pods are ready", lambda: [condition(pod, "Ready") for pod in self.web()] == ["True"] * 2,
                 timeout_s=timeout_s)

    def restarts(self) -> list[int]:
        return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in self.web()]

    def inject(self, name: str, kind: str, **spec: Any) -> Json:
        """Returns when it is in effect, or refused."""
        group = "chaos-mesh.org" if kind == "TimeChaos" else "testbed.io"
        self.api.create({"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name},
                         "spec": {"mode": "all", "duration": "2m", **spec}})
        return self.api.wait(kind, name, until=lambda obj: (
            condition(obj, "AllInjected") == "True" or condition(obj, "Selected") == "False"))

    def undo(self, name: str, kind: str) -> None:
        self.api.delete(kind, name, wait_s=60)

    def own_engine(self) -> str:
        return f"unix://{self.instance.node_socket(OWN, 'engine')}"

    def pods_on(self, engine: str) -> list[str]:
        """Names of this cluster's pods whose containers run there. Raises: EngineUnavailable."""
        wanted = {labels.INSTANCE: self.instance.id, labels.ROLE: labels.ROLE_CONTAINER}
        found = _asked(engine, lambda one: one.list(wanted, running_only=True))
        return sorted(state.labels[labels.POD_NAME] for state in found)


def _asked(url: str, question: Callable[[DockerEngine], Any]) -> Any:
    async def ask() -> Any:
        engine = DockerEngine(url, Deadlines(call_s=2))
        try:
            return await question(engine)
        finally:
            await engine.close()

    return asyncio.run(ask())


def ask(url: str, timeout_s: float = 5) -> Json:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return dict(json.loads(answer.read()))


def name_of(obj: Json) -> str:
    return str(obj["metadata"]["name"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        state_home_for_test(tmp_path_factory.mktemp("s")) as home,
        bring_up_for_test("engine-nodes", home, "--node-kind", "engine", nodes=1) as cluster,
    ):
        cluster.testbed("node", "add", "--kind", "slice")
        (home / "web.yaml").write_text(WEB)
        with testbed.connect(cluster.name) as api:
            found = World(cluster.instance, api)
            wait_for("the share is ready", lambda: condition(api.get("nodes", SHARE), "Ready") == "True")
            api.apply(home / "web.yaml")
            found.wait_ready(timeout_s=180)  # the image is copied into the node's engine first
            api.wait("pods", "client")
            yield found


def test_its_containers_are_its_own_engines_and_nobody_elses(world: World) -> None:
    assert world.pods_on(world.own_engine()) == sorted(map(name_of, world.web()))
    assert world.pods_on("") == ["client"]
    node = world.api.get("nodes", OWN)
    assert node["metadata"]["labels"]["testbed.io/node-kind"] == "engine"
    assert node["status"]["nodeInfo"]["osImage"] == "testbed engine node"
    assert "testbed.io/node-kind" not in world.api.get("nodes", SHARE)["metadata"]["labels"]


def test_its_agent_runs_inside_with_namespaces_of_its_own(world: World) -> None:
    group = f"{world.instance.node_cgroup(OWN)}/".encode()
    inside = [pid for pid in Path("/proc").iterdir() if pid.name.isdigit()
              and b"testbed.node\0" in _read(pid / "cmdline") and group in _read(pid / "cgroup")]
    assert len(inside) == 1
    for namespace in ("pid", "net", "mnt"):
        assert (inside[0] / "ns" / namespace).stat().st_ino != Path(f"/proc/self/ns/{namespace}").stat().st_ino


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_pods_and_services_are_reached_from_everywhere(world: World) -> None:
    pods = {name_of(pod): pod["status"]["podIP"] for pod in world.web()}
    service = world.api.get("services", "web")["spec"]["clusterIP"]
    assert {ask(f"http://{service}/")["pod"] for _ in range(30)} == set(pods)
    urls = [*(f"http://{address}:8080/" for address in pods.values()), *["http://web/"] * 8]
    for url in urls[:2]:
        assert ask(url)["pod"] in pods
    for asking in ("client", *pods):  # from another node and, through the gateway and back, from the same
        done = world.api.exec(asking, ["python3", "-c", ASK, *urls])
        assert done.exit_code == 0, done
        answers = [json.loads(line)["pod"] for line in done.stdout.decode().splitlines()]
        assert answers[:2] == list(pods), asking
        assert set(answers[2:]) <= set(pods)


def test_a_frozen_engine_is_unknown_and_nothing_is_killed(world: World) -> None:
    before = {name_of(pod): pod["status"]["containerStatuses"][0]["containerID"] for pod in world.web()}
    obj = world.inject("stands", "EngineChaos", action="freeze", selector={"nodes": [OWN]})
    assert condition(obj, "AllInjected") == "True", obj["status"]
    with pytest.raises(EngineUnavailable):
        world.pods_on(world.own_engine())
    for pod in world.web():
        ask(f"http://{pod['status']['podIP']}:8080/")
    world.undo("stands", "EngineChaos")
    assert world.pods_on(world.own_engine()) == sorted(before)
    assert {name_of(pod): pod["status"]["containerStatuses"][0]["containerID"] for pod in world.web()} == before
    assert condition(world.api.get("nodes", OWN), "Ready") == "True"


def test_pods_outlive_a_killed_engine_and_begin_anew_with_the_next(world: World) -> None:
    before = world.restarts()
    obj = world.inject("dies", "EngineChaos", action="kill", selector={"nodes": [OWN]})
    assert condition(obj, "AllInjected") == "True", obj["status"]
    for pod in world.web():
        ask(f"http://{pod['status']['podIP']}:8080/")
    assert world.restarts() == before
    world.undo("dies", "EngineChaos")
    wait_for("its containers begin anew", lambda: all(
        now > then for now, then in zip(world.restarts(), before, strict=True)))
    world.wait_ready()


def test_a_container_inside_is_killed_from_outside_and_no_other(world: World) -> None:
    before = {name_of(pod): pod["status"]["containerStatuses"][0] for pod in world.web()}
    victim, other = sorted(before)
    world.api.create({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": {"name": "crash"},
        "spec": {"action": "container-kill", "mode": "one", "containerNames": ["web"],
                 "selector": {"pods": {"default": [victim]}}}})
    obj = world.api.wait("PodChaos", "crash", until=lambda obj: condition(obj, "AllInjected") == "True")
    assert "has ended" in json.dumps(obj["status"]), obj["status"]

    def started_anew() -> bool:
        now = {name_of(pod): pod["status"]["containerStatuses"][0] for pod in world.web()}
        return (now[victim]["restartCount"] == before[victim]["restartCount"] + 1
                and now[other]["containerID"] == before[other]["containerID"])

    wait_for("the killed one is started anew", started_anew)
    ended = world.api.get("pods", victim)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    world.undo("crash", "PodChaos")
    world.wait_ready()


def test_a_container_inside_is_frozen_from_outside_and_thawed(world: World) -> None:
    victim = world.web()[0]
    identity = victim["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    url = f"http://{victim['status']['podIP']}:8080/"
    obj = world.inject("still", "FreezeChaos", selector={"pods": {"default": [name_of(victim)]}})
    assert condition(obj, "AllInjected") == "True", obj["status"]
    with pytest.raises(TimeoutError):
        ask(url, timeout_s=0.5)
    assert {item for item in frozen_groups(world.instance) if identity in item}
    assert not {item for item in frozen_groups(world.instance) if identity not in item}
    world.undo("still", "FreezeChaos")
    ask(url)
    assert not frozen_groups(world.instance)
    world.wait_ready()


def frozen_groups(instance: Instance) -> set[str]:
    """Cgroups of the node, as the machine's kernel has them."""
    found = set()
    for file in Path("/sys/fs/cgroup").rglob(f"testbed-{instance.id}/{OWN}/**/*"):
        if file.name in ("freezer.self_freezing", "cgroup.freeze") and _read(file).strip() == b"1":
            found.add(str(file.parent))
    return found


@pytest.mark.parametrize(("kind", "spec", "words"), [
    ("TimeChaos", {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}, "timeOffset": "1h"},
     "nodes of kind engine"),
    ("EngineChaos", {"action": "kill", "selector": {"nodes": [SHARE]}}, "share of this machine's"),
])
def test_what_cannot_be_done_there_is_refused_by_a_word(world: World, kind: str, spec: Json, words: str) -> None:
    obj = world.inject("cannot", kind, **spec)
    selected = next(item for item in obj["status"]["conditions"] if item["type"] == "Selected")
    assert (selected["status"], selected["reason"]) == ("False", "Refused")
    assert words in selected["message"]
    world.undo("cannot", kind)


def test_without_power_it_is_silent_and_comes_back_with_its_images(world: World) -> None:
    victim = world.web()[0]["status"]["podIP"]
    obj = world.inject("off", "NodeChaos", action="kill", selector={"nodes": [OWN]})
    assert condition(obj, "AllInjected") == "True", obj["status"]
    with pytest.raises(TimeoutError):
        socket.create_connection((victim, 8080), timeout=1)
    world.undo("off", "NodeChaos")
    wait_for("the image is there still", lambda: _asked(world.own_engine(), lambda one: one.image("sample:v1")))
    world.wait_ready()
    assert world.pods_on(world.own_engine()) == sorted(map(name_of, world.web()))


def test_a_removed_node_leaves_nothing(world: World) -> None:
    from testbed.machines.client import RoomClient

    asyncio.run(RoomClient(world.instance.room_socket).remove_node(OWN))
    assert [name_of(node) for node in world.api.list("nodes")] == [SHARE]
    mine = {labels.INSTANCE: world.instance.id}
    assert _asked("", lambda one: one.volumes(mine)) == ()
    assert {state.labels.get(labels.NODE) for state in _asked("", lambda one: one.list(mine))} <= {None, SHARE}
    assert not world.instance.node_socket(OWN, "engine").exists()
