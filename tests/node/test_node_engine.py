"""The agent on a real engine: what the simulation cannot prove."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from engine_world import engine_world
from node_world import World, pod, until
from prometheus_client.parser import text_string_to_metric_families

from testbed.api.resources import CONFIG_MAPS, PODS, SECRETS
from testbed.node.agent import Agent
from testbed.node.http import KubeletServer

pytestmark = pytest.mark.engine
INSTANCE_ID = "7e570d0de001"
READY = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with engine_world(tmp_path, INSTANCE_ID, "node") as made:
        yield made


def read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def pid_of(w: World, name: str = "app") -> int:
    assert w.agent is not None
    return next(item.state.pid for item in w.agent.view.records.values() if item.name == name and item.running)


async def test_a_crash_is_seen_and_mended_in_the_same_sandbox(w: World) -> None:
    agent = await w.start_agent()
    await w.create(pod("web", container=READY))
    await until(lambda: w.ready("web"), 60)
    uid = (await w.get("web"))["metadata"]["uid"]
    sandbox = agent.view.seen(uid).sandbox
    await until(lambda: agent.view.spare(uid, "app"), what="a spare")
    os.kill(pid_of(w), signal.SIGKILL)

    async def mended() -> bool:
        return (await w.container("web")).get("restartCount") == 1 and await w.ready("web")

    await until(mended, 30)
    assert agent.view.seen(uid).sandbox == sandbox
    assert agent.measures.spares_used == 1
    app = await w.container("web")
    assert app["lastState"]["terminated"]["exitCode"] == 137


async def test_row15_of_security_what_a_container_may(w: World) -> None:
    agent = await w.start_agent()
    await w.create(pod("web", container={"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}))
    await until(lambda: w.ready("web"), 60)
    pid = pid_of(w)
    status = dict(line.split(":\t", 1) for line in read(pid, "status").decode().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapBnd"], 16) & (1 << 21 | 1 << 12 | 1 << 13) == 0  # SYS_ADMIN, NET_ADMIN, NET_RAW
    cgroup = agent.view.newest((await w.get("web"))["metadata"]["uid"], "app")
    assert cgroup is not None
    assert cgroup.cgroup.startswith(f"/testbed-{INSTANCE_ID}/n1/")


async def test_volumes_environment_and_their_updates(w: World) -> None:
    agent = await w.start_agent()
    await w.client.create(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"key": "one"}}, "default")
    await w.client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"pass": "word"}}, "default")
    await w.create(pod("web", spec={"volumes": [
        {"name": "config", "configMap": {"name": "c"}}, {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "work", "emptyDir": {}}, {"name": "fast", "emptyDir": {"medium": "Memory"}},
        {"name": "about", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]}, container={
        "env": [{"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pass"}}}],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "secret", "mountPath": "/secret"},
                         {"name": "work", "mountPath": "/scratch"}, {"name": "fast", "mountPath": "/fast"},
                         {"name": "about", "mountPath": "/about"}],
    }))
    await until(lambda: w.ready("web"), 60)
    uid = (await w.get("web"))["metadata"]["uid"]
    record = agent.view.newest(uid, "app")
    assert record is not None
    assert record.process is not None

    async def shell(text: str) -> str:
        assert record is not None
        assert record.process is not None
        result = await w.host.exec_in_container(record.process, ("sh", "-c", text), timeout_s=10)
        return result.output.decode().strip()

    assert await shell("echo $PASS; cat /config/key /secret/pass /about/name") == "word\nonewordweb"
    assert await shell("echo x > /scratch/f && echo y > /fast/f && cat /scratch/f /fast/f") == "x\ny"
    assert "tmpfs" in await shell("grep ' /fast ' /proc/mounts")
    await w.client.patch(CONFIG_MAPS, "c", {"data": {"key": "two"}}, "default")

    async def updated() -> bool:
        return await shell("cat /config/key") == "two"

    await until(updated)
    await w.client.delete(PODS, "web", "default", grace_period_s=1)
    await until(lambda: not agent.view.records, 30)
    await until(lambda: not (w.facts.memory_directory / uid).exists())
    assert not w.facts.memory_directory.parent.exists()


async def test_row25_an_exec_probe_that_hangs_never_piles_up(w: World) -> None:
    await w.start_agent()
    await w.create(pod("web", container={"readinessProbe": {
        "exec": {"command": ["sleep", "10000"]}, "periodSeconds": 1, "timeoutSeconds": 1,
    }}))
    await until(lambda: _is_running(w), 60)
    unhealthy = await until(lambda: _unhealthy(w, 3), 30)
    assert "timed out" in unhealthy["message"]
    pids = await w.host.pids_in(f"/testbed-{INSTANCE_ID}/n1")
    sleeping = [pid for pid in pids if b"10000" in read(pid, "cmdline")]
    assert len(sleeping) <= 1


ORPHANS = """
import os, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
"""


async def test_row26_a_thousand_orphans_of_exec_probes_leave_no_zombie(w: World) -> None:
    """With the annotation ``testbed.io/init`` an init process reaps what a program without one leaves behind."""
    agent = await w.start_agent()
    await w.create(pod("web", metadata={"annotations": {"testbed.io/init": "true"}}, container={
        "command": ["sleep", "1000"], "readinessProbe": {
            "exec": {"command": ["python3", "-c", ORPHANS, "250"]}, "periodSeconds": 1, "timeoutSeconds": 20,
        },
    }))
    await until(lambda: w.ready("web"), 60)
    await until(lambda: probes_done(agent) >= 4, 30, "1,000 orphans")
    first = pid_of(w)  # process 1 of the container, to which orphans fall
    await until(lambda: not zombies_of(first), 5, "all are reaped")


def probes_done(agent: Agent) -> int:
    return agent.measures.durations[("readiness", "success")].count


def zombies_of(parent: int) -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, found = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        count += state == "Z" and int(found) == parent
    return count


async def test_a_frozen_container_with_an_exec_probe_is_killed_and_mended(w: World) -> None:
    agent = await w.start_agent()
    await w.create(pod("web", container={"livenessProbe": {
        "exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2,
        "terminationGracePeriodSeconds": 1,
    }}))
    await until(lambda: _is_running(w), 60)
    uid = (await w.get("web"))["metadata"]["uid"]
    record = await until(lambda: (found := agent.view.newest(uid, "app")) and found.cgroup and found)
    await w.host.freeze(record.cgroup)

    async def mended() -> bool:
        return (await w.container("web")).get("restartCount") == 1

    await until(mended, 40)


async def test_row13_a_killed_agent_finds_everything_again(w: World) -> None:
    await w.start_agent()
    await w.create(pod("web", container=READY))
    await until(lambda: w.ready("web"), 60)
    before = (await w.container("web"))["containerID"]
    await w.kill_agent()
    await w.start_agent()
    await asyncio.sleep(2.5)
    after = await w.container("web")
    assert (after["containerID"], after["restartCount"], after["ready"]) == (before, 0, True)
    assert not await w.events("ContainerUnready")


async def test_kubelets_http(w: World) -> None:
    agent = await w.start_agent()
    await w.create(pod("web", container={"command": ["sh", "-c", "echo one; echo two; exec sleep 1000"]}))
    await until(lambda: _is_running(w), 60)
    server = KubeletServer(agent, "token", certificate=Path("none"), key=Path("none"), port=0)
    auth = {"Authorization": "Bearer token"}
    async with TestClient(TestServer(server.application())) as http:
        assert (await http.get("/healthz")).status == 200
        for path in ("/metrics", "/stats/summary", "/containerLogs/default/web/app", "/exec/default/web/app"):
            assert (await http.get(path)).status == 401
            assert (await http.get(path, headers={"Authorization": "Bearer wrong"})).status == 401
        logs = "/containerLogs/default/web/app"
        assert await (await http.get(logs, headers=auth)).text() == "one\ntwo\n"
        assert await (await http.get(f"{logs}?tailLines=1", headers=auth)).text() == "two\n"
        assert await (await http.get(f"{logs}?limitBytes=2", headers=auth)).text() == "on"
        assert (await http.get(f"{logs}?previous=true", headers=auth)).status == 400
        assert (await http.get(f"{logs}?tailLines=x", headers=auth)).status == 400
        assert (await http.get("/containerLogs/default/none/app", headers=auth)).status == 404
        text = await (await http.get("/metrics", headers=auth)).text()
        (used,) = (item for family in text_string_to_metric_families(text) for item in family.samples
                   if item.name == "container_cpu_usage_seconds_total")
        assert used.value > 0
        assert used.labels.items() >= {"container": "app", "namespace": "default", "pod": "web", "cpu": "total"}.items()
        assert used.labels["id"].startswith("/testbed-") and used.labels["image"] and used.labels["name"]
        assert "testbed_probe_failures_total" in text
        summary = await (await http.get("/stats/summary", headers=auth)).json()
        assert summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"] > 0
        await _exec_over_websocket(http, auth)


async def _exec_over_websocket(http: TestClient, auth: dict[str, str]) -> None:  # type: ignore[type-arg]
    path = "/exec/default/web/app?command=sh&command=-c&command=cat;echo+err+1>%262;exit+3&stdin=1&stdout=1&stderr=1"
    async with http.ws_connect(path, headers=auth, protocols=("v5.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\x00hello")
        await socket.send_bytes(b"\xff\x00")
        got: dict[int, bytes] = {}
        async for message in socket:
            got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
    assert got[1] == b"hello"
    assert got[2] == b"err\n"
    status = json.loads(got[3])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def _is_running(w: World) -> bool:
    return "running" in ((await w.container("web")).get("state") or {})


async def _unhealthy(w: World, count: int) -> dict[str, object] | None:
    return next((item for item in await w.events("Unhealthy") if item["count"] >= count), None)
