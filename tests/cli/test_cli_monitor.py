"""What `testbed monitor` prints for people and programs, and which words it refuses, without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.boards import needs_promtool, promtool

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, save_instance
from testbed.cli import monitor
from testbed.machines.monitoring import Running, Seen
from testbed.machines.monitoring_plan import PROMETHEUS, Site
from testbed.machines.monitoring_seen import Alert, ScrapeTarget
from testbed.resources import rule_files
from testbed.runtime.containers import ContainerState

AT = datetime(2026, 1, 1, tzinfo=UTC)
STATE = ContainerState("c", "n", {}, "prom/prometheus:v3.5.0", "i", "running", started_at=AT)
SEEN = Seen((Running(PROMETHEUS, "127.0.0.1:9090", STATE),),
            (ScrapeTarget("agent", "node-1", "u", "down", "refused"), ScrapeTarget("api", "", "v", "up")),
            (Alert("DeploymentDown", "firing", AT, {"deployment": "web"}, "No replica of web is ready"),))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = instance_directory("shop")
    directory.mkdir(parents=True)
    found = Instance("shop", "7e57c0ffee31", directory, "10.99.0.0/16", 29990, ())
    save_instance(found)
    found.token_file.write_text("secret")
    return found


def testbed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "testbed", "monitor", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]


def test_the_configuration_for_ones_own_prometheus_names_files_and_holds_no_secret(instance: Instance) -> None:
    said = testbed("config", "--name", "shop")
    assert said.returncode == 0 and "secret" not in said.stdout
    value = YAML(typ="safe").load(said.stdout)
    (job,) = value["scrape_configs"]
    assert job["authorization"]["credentials_file"] == str(instance.token_file)
    assert job["tls_config"]["ca_file"] == str(instance.ca_certificate)
    assert "127.0.0.1:29990" in job["http_sd_configs"][0]["url"]
    (rules,) = value["rule_files"]
    assert sorted(Path(rules).parent.glob(Path(rules).name)) == rule_files()
    folder = next(line for line in said.stdout.splitlines() if "Grafana" in line).rpartition(": ")[2]
    assert list(Path(folder).glob("*.json"))
    assert "testbed monitor config --alertmanager --name shop" in said.stdout
    assert "testbed monitor config --rules --name shop > " in said.stdout


def test_rules_for_ones_own_prometheus_link_to_the_clusters_runbooks(instance: Instance) -> None:
    said = testbed("config", "--name", "shop", "--rules")
    assert said.returncode == 0
    alerts = [rule for group in YAML(typ="safe").load(said.stdout)["groups"] for rule in group["rules"]
              if "alert" in rule]
    shipped = "".join(path.read_text() for path in rule_files())
    assert [rule["alert"] for rule in alerts] == re.findall(r"- alert: (\w+)", shipped)
    assert {rule["annotations"]["runbook_url"] for rule in alerts} == {
        f"https://127.0.0.1:29990/testbed/v1/runbooks#{rule['alert'].lower()}" for rule in alerts}


@needs_promtool
def test_prometheus_understands_the_rules_in_one_file(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "testbed-rules.yml"
    file.write_text(testbed("config", "--name", "shop", "--rules").stdout)
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))


def test_the_configuration_for_ones_own_alertmanager_tells_the_cluster(instance: Instance) -> None:
    value = YAML(typ="safe").load(testbed("config", "--name", "shop", "--alertmanager").stdout)
    (webhook,) = value["receivers"][0]["webhook_configs"]
    assert webhook["url"] == "https://127.0.0.1:29990/testbed/v1/alerts"


def test_variables_for_compose_are_lines_that_it_reads(instance: Instance) -> None:
    lines = testbed("config", "--name", "shop", "--compose").stdout.splitlines()
    assert dict(line.split("=", 1) for line in lines) == {
        "TESTBED_NAME": "shop", "TESTBED_API_PORT": "29990", "TESTBED_STATE": str(instance.directory),
        "TESTBED_UID": str(instance.directory.stat().st_uid)}


@pytest.mark.parametrize("flag", ["--retention", "--retention-size"])
def test_an_amount_that_prometheus_does_not_know_is_refused_before_anything_is_started(
    flag: str, instance: Instance
) -> None:
    said = testbed("up", "--name", "shop", flag, "plenty")
    assert said.returncode == 2 and f"{flag} 'plenty' is no amount" in said.stderr


@pytest.mark.parametrize("command", ["up", "down", "status", "config"])
def test_a_cluster_that_is_not_there_is_said(command: str, instance: Instance) -> None:
    said = testbed(command, "--name", "absent")
    assert said.returncode == 4 and "cluster 'absent' is not up" in said.stderr and "Traceback" not in said.stderr


def test_status_tells_people_what_runs_what_is_up_and_what_fires(capsys: pytest.CaptureFixture[str]) -> None:
    monitor._print_status(SEEN)
    said = capsys.readouterr().out
    for words in ("http://127.0.0.1:9090", "agent node-1", "refused", "DeploymentDown", "firing", "No replica of web"):
        assert words in said
    monitor._print_status(Seen((), problem="Prometheus does not run"))
    assert "Prometheus does not run" in capsys.readouterr().err


def test_status_tells_programs_the_same() -> None:
    value = monitor._document(Site("shop", Path("/state/shop"), (0, 0)), SEEN)
    assert value["parts"]["prometheus"]["url"] == "http://127.0.0.1:9090"
    assert value["targets"][0] == {"part": "agent", "node": "node-1", "health": "down", "error": "refused", "url": "u"}
    assert value["alerts"][0]["labels"] == {"deployment": "web"} and value["problem"] == ""


def test_up_tells_which_targets_are_down_and_prints_addresses_alone(capsys: pytest.CaptureFixture[str]) -> None:
    monitor._tell_up("shop", SEEN, gone=False)
    said = capsys.readouterr()
    assert said.out.split() == ["prometheus", "http://127.0.0.1:9090"]
    assert "1 of 2 targets are up" in said.err and "agent node-1 is down: refused" in said.err
