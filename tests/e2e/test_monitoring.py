"""Prometheus and Alertmanager beside a real cluster: every target is up, nobody else reaches them, and they go as they
came. Their images are Debian's where the public ones cannot be had."""

from __future__ import annotations

import json
import shutil
import socket
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, run_testbed

from testbed.api import labels

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]  # the first `up` of a machine builds two images
Json = dict[str, Any]


def monitor(cluster: Cluster, *arguments: str) -> str:
    return cluster.testbed("monitor", *arguments, timeout_s=600)


def status(cluster: Cluster) -> Json:
    found: Json = json.loads(monitor(cluster, "status", "-o", "json"))
    return found


def query(cluster: Cluster, expression: str, at_s: float | None = None) -> list[Json]:
    """An instant query; ``at_s``: unix time, now when absent."""
    words = {"query": expression} | ({"time": str(at_s)} if at_s else {})
    url = status(cluster)["parts"]["prometheus"]["url"]
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode(words)}", timeout=10) as answer:
        found: list[Json] = json.load(answer)["data"]["result"]
    return found


def inspected(cluster: Cluster) -> dict[str, Json]:
    """What the engine says of each container of the stack."""
    import docker

    client = docker.from_env()
    try:
        wanted = [f"{labels.INSTANCE}={cluster.instance.id}", f"{labels.ROLE}={labels.ROLE_MONITORING}"]
        return {item.labels[labels.MONITORING]: {**item.attrs, "log": item.logs().decode()}
                for item in client.containers.list(filters={"label": wanted})}
    finally:
        client.close()


def listeners(port: int) -> set[str]:
    """Addresses on which this machine listens at a port, as /proc/net has them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.add(local.rpartition(":")[0])
    return found


@pytest.fixture(scope="module")
def watched(cluster: Cluster) -> Cluster:
    monitor(cluster, "up")
    return cluster


def test_every_target_is_up_and_of_this_cluster(watched: Cluster) -> None:
    found = status(watched)
    assert found["problem"] == ""
    assert {target["part"] for target in found["targets"]} >= {"api", "agent", "gateway"}
    assert [target["node"] for target in found["targets"] if target["part"] == "agent"] == [
        node.name for node in watched.instance.nodes]
    assert [target for target in found["targets"] if target["health"] != "up"] == []
    values = query(watched, "up")
    assert len(values) == len(found["targets"])
    assert {(value["metric"]["job"], value["metric"]["instance"]) for value in values} == {("testbed", watched.name)}


def test_they_listen_on_this_machine_only(watched: Cluster) -> None:
    for part in status(watched)["parts"].values():
        assert listeners(int(part["url"].rpartition(":")[2])) == {"0100007F"}, part["url"]
    pids = {int(found["State"]["Pid"]) for found in inspected(watched).values()}
    assert pids and not strange_doors(pids), "not on any other port either"


def strange_doors(pids: set[int]) -> set[str]:
    """Listening addresses of these processes that are not this machine's own."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(link.readlink()))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] in ("0A", "07") and f"socket:[{words[9]}]" in sockets and not words[1].startswith("0100007F"):
                found.add(f"{table} {words[1]}")
    return found


def test_the_token_is_in_nothing_that_the_engine_or_a_log_tells(watched: Cluster) -> None:
    token = watched.instance.token_file.read_text().strip()
    assert token and watched.instance.token_file.stat().st_mode & 0o077 == 0
    found = inspected(watched)
    assert set(found) >= {"prometheus", "alertmanager"}
    assert token not in json.dumps(found)


def test_a_second_up_leaves_them_alone(watched: Cluster) -> None:
    before = {part: found["Id"] for part, found in inspected(watched).items()}
    monitor(watched, "up")
    assert {part: found["Id"] for part, found in inspected(watched).items()} == before


def test_a_port_that_is_taken_is_said_and_another_is_offered(watched: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_testbed("monitor", "up", "--port", str(port), TESTBED_NAME=watched.name, check=False)
    assert done.returncode == 4 and f"port {port} is taken" in done.stderr and "--port " in done.stderr
    assert status(watched)["parts"]["prometheus"]["state"] == "running", "what ran goes on"


def test_a_broken_rule_file_is_named_with_its_line(watched: Cluster, tmp_path: Path) -> None:
    rules = tmp_path / "mine.yml"
    rules.write_text('groups:\n- name: mine\n  rules:\n  - alert: Mine\n    expr: "sum("\n')
    done = run_testbed("monitor", "up", "--rules", str(rules), TESTBED_NAME=watched.name, check=False)
    assert done.returncode == 3 and f"{rules}:5:" in done.stderr and "unclosed left parenthesis" in done.stderr
    rules.write_text('groups:\n- name: mine\n  rules:\n  - alert: Mine\n    expr: vector(1)\n')
    monitor(watched, "up", "--rules", str(rules))
    for _ in range(100):
        if "Mine" in {alert["name"] for alert in status(watched)["alerts"]}:
            break
        time.sleep(0.2)
    else:
        raise AssertionError("an alert that always fires did not")
    monitor(watched, "up")


def test_series_are_there_again_when_it_was_taken_away_with_its_data_kept(watched: Cluster) -> None:
    before_s = time.time()
    assert query(watched, "up", before_s)
    monitor(watched, "down", "--keep-data")
    assert inspected(watched) == {}
    monitor(watched, "up")
    assert query(watched, "up", before_s)


def test_down_leaves_nothing(watched: Cluster) -> None:
    monitor(watched, "down")
    assert inspected(watched) == {} and not (watched.directory / "monitoring").exists()
    again = run_testbed("monitor", "down", TESTBED_NAME=watched.name, check=False)
    assert again.returncode == 3 and "is not monitored" in again.stderr


def test_the_series_of_a_cluster_stay_readable_after_it_is_gone(
    state_home: Path, request: pytest.FixtureRequest
) -> None:
    with bring_up_for_test(f"{request.module.__name__}_gone", state_home, nodes=1) as cluster:
        monitor(cluster, "up")
        identity, seen_s = cluster.instance.id, time.time()
    try:
        assert not (cluster.directory / "token").exists(), "only what was recorded is left"
        said = run_testbed("monitor", "up", TESTBED_NAME=cluster.name, timeout_s=600)
        assert "is gone" in said.stderr
        assert {value["metric"]["instance"] for value in query(cluster, "up", seen_s)} == {cluster.name}
        assert query(cluster, "count_over_time(up[1s])") == [], "and nothing new"
        assert identity in (cluster.directory / "monitoring/id").read_text()
    finally:
        run_testbed("monitor", "down", TESTBED_NAME=cluster.name)
        shutil.rmtree(cluster.directory, ignore_errors=True)
