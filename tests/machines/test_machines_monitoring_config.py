"""What Prometheus and Alertmanager are told, held against their own tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import which

import pytest

from testbed.machines.monitoring_config import (
    INHIBITED,
    Access,
    Json,
    alertmanager_config,
    own_alertmanager,
    own_prometheus,
    prometheus_config,
    text,
)
from testbed.resources import rule_files

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> str:
    own = ROOT / ".tools/bin" / name
    found = which(name) or (str(own) if own.exists() else "")
    if not found:
        pytest.skip(f"{name} is not here: make tools")
    return found


@pytest.fixture
def clusters(tmp_path: Path) -> list[Access]:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("x")
    return [Access(f"127.0.0.1:{port}", name, str(tmp_path / "token"), str(tmp_path / "ca.crt"))
            for port, name in ((6443, "blue"), (6444, "green"))]


def check(program: str, arguments: list[str], config: Json, folder: Path) -> str:
    """What it says. Raises: AssertionError where it does not accept it."""
    file = folder / "config.yml"
    file.write_text(text(config))
    done = subprocess.run([program, *arguments, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("how_many", [0, 1, 2])
def test_prometheus_accepts_its_configuration(clusters: list[Access], how_many: int, tmp_path: Path) -> None:
    config = prometheus_config(clusters[:how_many], [str(file) for file in rule_files()], "127.0.0.1:9093")
    check(tool("promtool"), ["check", "config", "--syntax-only"], config, tmp_path)


def test_a_prometheus_of_ones_own_accepts_what_is_added(clusters: list[Access], tmp_path: Path) -> None:
    own = {"global": {"scrape_interval": "30s"}, **own_prometheus(clusters, [str(file) for file in rule_files()])}
    check(tool("promtool"), ["check", "config", "--syntax-only"], own, tmp_path)


@pytest.mark.parametrize("how_many", [0, 1, 2])
def test_alertmanager_accepts_its_configuration(clusters: list[Access], how_many: int, tmp_path: Path) -> None:
    check(tool("amtool"), ["check-config"], alertmanager_config(clusters[:how_many]), tmp_path)


def test_an_alertmanager_of_ones_own_accepts_what_is_added(clusters: list[Access], tmp_path: Path) -> None:
    added = own_alertmanager(clusters)
    own = {**added, "route": {"receiver": "team", **added["route"]},
           "receivers": [{"name": "team"}, *added["receivers"]]}
    said = check(tool("amtool"), ["check-config"], own, tmp_path)
    assert f"{len(INHIBITED)} inhibit rules" in said, "the same is kept quiet as in ours"
    routed = subprocess.run(
        [tool("amtool"), "config", "routes", "test", f"--config.file={tmp_path / 'config.yml'}", "job=testbed",
         "instance=green", "alertname=DeploymentDown"], capture_output=True, text=True, check=True)
    assert routed.stdout.strip() == "testbed-green"


@pytest.mark.parametrize(("labels", "receiver"), [
    (("job=testbed", "instance=blue"), "testbed-blue"), (("job=testbed", "instance=green"), "testbed-green"),
    (("job=testbed", "instance=red"), "nobody"), (("job=theirs", "instance=blue"), "nobody"),
])
def test_each_cluster_is_told_of_its_own_alerts(
    clusters: list[Access], labels: tuple[str, ...], receiver: str, tmp_path: Path,
) -> None:
    file = tmp_path / "config.yml"
    file.write_text(text(alertmanager_config(clusters)))
    routed = subprocess.run([tool("amtool"), "config", "routes", "test", f"--config.file={file}", *labels],
                            capture_output=True, text=True, check=True)
    assert routed.stdout.strip() == receiver


def test_jobs_of_several_clusters_have_names_of_their_own_and_secrets_stay_in_files(clusters: list[Access]) -> None:
    config = prometheus_config(clusters, [], "127.0.0.1:9093")
    assert [job["job_name"] for job in config["scrape_configs"]] == ["testbed-blue", "testbed-green"]
    for job, access in zip(config["scrape_configs"], clusters, strict=True):
        (discovery,) = job["http_sd_configs"]
        assert discovery["url"] == f"https://{access.api}/testbed/v1/targets"
        assert job["authorization"] == discovery["authorization"] == {
            "type": "Bearer", "credentials_file": access.token_file}
        assert job["tls_config"] == discovery["tls_config"] == {"ca_file": access.ca_file}
        assert job["scrape_interval"] == "1s", "also where the Prometheus' own is longer"
    assert "credentials\"" not in json.dumps([config, alertmanager_config(clusters)])


def test_alerts_of_a_teams_own_are_kept_quiet_by_none_of_ours(clusters: list[Access]) -> None:
    for rule in own_alertmanager(clusters)["inhibit_rules"]:
        assert 'job="testbed"' in rule["source_matchers"] and 'job="testbed"' in rule["target_matchers"]


def test_without_a_cluster_nothing_is_scraped_and_nobody_told() -> None:
    assert "scrape_configs" not in prometheus_config([], ["rules.yml"], "127.0.0.1:9093")
    assert alertmanager_config([])["route"]["routes"] == []
