"""Updates under load: an application that drains loses nothing; a broken version stalls without an outage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.cluster import Cluster, wait_for
from support.manifests import web

from testbed.load.records import read

pytestmark = pytest.mark.engine

REQUESTS_PER_S = 100


@pytest.fixture(scope="module", autouse=True)
def workload(cluster: Cluster) -> None:
    cluster.apply(web("web", replicas=4, drain_s=2))
    cluster.wait_ready("app=web", 4)


class Pulse:
    """The open-loop prober as a process, over one block."""

    def __init__(self, cluster: Cluster, service: str, file: Path) -> None:
        self.file = file
        self.argv = [sys.executable, "-m", "testbed.load.pulse", "--url", f"http://{cluster.cluster_ip(service)}/",
                     "--rate", str(REQUESTS_PER_S), "--out", str(file)]

    def __enter__(self) -> Pulse:
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE)
        wait_for("the first requests", lambda: self.file.exists() and self.file.stat().st_size > 2000)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def failures(file: Path) -> tuple[int, int]:
    """(requests, failed requests)"""
    records = read(file).stream()
    return len(records), sum(1 for record in records if not record.ok)


def images(cluster: Cluster) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in cluster.ready_pods("app=web")]


def test_rolling_update_loses_no_request(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "pulse"
    with Pulse(cluster, "web", file):
        cluster.apply(web("web", replicas=4, drain_s=2, image="sample:v2"))
        cluster.testbed("rollout", "status", "web", "--timeout", "90s")
        cluster.wait_ready("app=web", 4)
    assert images(cluster) == ["sample:v2"] * 4
    sent, failed = failures(file)
    assert sent > REQUESTS_PER_S
    assert failed == 0


def test_broken_version_stalls_without_an_outage_and_is_undone(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "pulse"
    with Pulse(cluster, "web", file):
        cluster.apply(web("web", replicas=4, drain_s=2, image="sample:broken"))
        wait_for("a broken pod runs", lambda: "sample:broken" in [
            pod["spec"]["containers"][0]["image"] for pod in cluster.pods("app=web")
            if pod.get("status", {}).get("phase") == "Running"])
        assert "sample:broken" not in images(cluster)
        assert len(images(cluster)) >= 3
        cluster.testbed("rollout", "undo", "web")
        cluster.testbed("rollout", "status", "web", "--timeout", "90s")
        cluster.wait_ready("app=web", 4)
    assert images(cluster) == ["sample:v2"] * 4
    assert failures(file)[1] == 0
