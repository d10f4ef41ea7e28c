"""Platform kubernetes against the testbed's own API, with nothing but its kubeconfig; the simulation beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks
from support.cluster import Cluster, bring_up_for_test, run_testbed

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("t")  # a short path: a socket's ends at 107 bytes
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    leaks.STATE_ROOTS.add(home)
    with bring_up_for_test("test_kubernetes", home, nodes=1) as found:
        yield found


def test_a_crash_on_a_cluster_of_a_kubeconfig_and_in_virtual_time(cluster: Cluster, tmp_path: Path) -> None:
    done = run_testbed(
        "run", "crash", "--runs", "1", "--platform", "kubernetes,simulation", "--kubeconfig",
        str(cluster.instance.kubeconfig), "--out", str(tmp_path), check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # a busy machine may miss the example's objectives
    (file,) = tmp_path.glob("*/study.json")
    study = json.loads(file.read_text())
    assert [item["platform"] for item in study["variants"]] == ["kubernetes", "simulation"]
    for item in study["variants"]:
        result = json.loads((file.parent / item["folder"] / "result.json").read_text())
        (disruption,) = result["runs"][0]["disruptions"]
        assert disruption["marks"]["restored"] is not None and item["timing"]
    assert "predicted" in done.stdout
    assert cluster.testbed("get", "deployments", "-o", "name").strip() == ""
