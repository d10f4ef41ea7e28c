"""The committed dashboards are what their source makes, keep to the rules of Grafana's dashboard linter, and every
query and rule is understood by Prometheus' own parser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"
FILES = sorted((FOLDER / "grafana").glob("*.json"))
PROMTOOL = which("promtool") or next((str(path) for path in [ROOT / ".tools/bin/promtool"] if path.exists()), "")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not here: make tools")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL, *arguments], cwd=FOLDER / "prometheus", capture_output=True, text=True,
                          check=False)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text())


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels but rows, those of closed rows included."""
    every = [inner for panel in board["panels"] for inner in [panel, *panel.get("panels", [])]]
    return [panel for panel in every if panel["type"] != "row"]


def expressions(board: dict[str, Any]) -> Iterator[str]:
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in board["annotations"]["list"] if "expr" in annotation)


def test_committed_json_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(FOLDER / "generate.py"), "--check"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


def test_dashboard_cannot_be_edited_and_has_a_stable_identity(board: dict[str, Any]) -> None:
    assert board["editable"] is False
    assert 0 < len(board["uid"]) <= 40
    assert "testbed" in board["tags"]
    assert board["time"] == {"from": "now-15m", "to": "now"}
    assert board["refresh"] == "5s"
    assert board["schemaVersion"] >= 39


def test_variables_are_those_the_linter_wants(board: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["label"] == "Data Source"
    assert [variable["type"] for variable in variables.values()].count("datasource") == 1
    for name in ("job", "instance"):
        assert variables[name]["multi"] and variables[name]["includeAll"]
        assert variables[name]["allValue"] == ".+"
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2, "reloads on time change"
            assert variable["datasource"]["uid"] == "${datasource}"


def test_panels_say_what_they_show(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["title"] and panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit"), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]


def test_queries_select_job_and_instance_everywhere(board: dict[str, Any]) -> None:
    for expression in expressions(board):
        selectors = re.findall(r"\b(?:kube_|container_|testbed_)\w+(\{[^}]*\})?", expression)
        assert selectors, expression
        for selector in selectors:
            assert 'job=~"$job"' in selector and 'instance=~"$instance"' in selector, expression


def test_rates_use_the_rate_interval(board: dict[str, Any]) -> None:
    for expression in expressions(board):
        for function, window in re.findall(r"\b(rate|irate|increase)\([^[]*\[([^]]+)\]", expression):
            assert window == "$__rate_interval" or (function == "increase" and window == "$__range"), expression


def test_fault_windows_are_shown_on_graphs(board: dict[str, Any]) -> None:
    windows = [entry for entry in board["annotations"]["list"] if "testbed_fault_active" in entry["expr"]]
    assert windows and windows[0]["enable"] and windows[0]["step"] == "1s"


def test_every_metric_is_exposed_by_the_api_or_an_agent() -> None:
    """Names are looked for in the source of both exporters; a name that is put together there ends in a brace."""
    sources = [ROOT / name for name in ("testbed/server/metrics.py", "testbed/server/metrics_state.py",
                                        "testbed/server/metrics_storage.py",
                                        "testbed/server/metrics_workloads.py", "testbed/server/metrics_policies.py",
                                        "testbed/node/metrics.py", "testbed/node/measures.py")]
    text = "".join(path.read_text() for path in sources if path.exists())
    exposed = set(re.findall(r'"((?:kube|container|testbed)_\w+)"', text))
    beginnings = tuple(re.findall(r'f"((?:kube|container|testbed)_\w+_)\{', text))
    used = {name for path in FILES for expression in expressions(json.loads(path.read_text()))
            for name in re.findall(r"\b(?:kube|container|testbed)_\w+", expression)}
    used |= set(re.findall(r"\bkube_\w+", (FOLDER / "prometheus/rules.yml").read_text()))
    plain = {name: re.sub(r"_(bucket|sum|count|total)$", "", name) for name in used}
    assert used
    assert not {name for name in used if not {name, plain[name]} & exposed and not name.startswith(beginnings)}


@needs_promtool
def test_every_query_is_promql(board: dict[str, Any], tmp_path: Path) -> None:
    rules = []
    for number, expression in enumerate(expressions(board)):
        plain = expression.replace("$__rate_interval", "5s").replace("$__range", "15m")
        plain = re.sub(r'"\$(job|instance|namespace)"', '".+"', plain)
        rules.append({"record": f"query:{number}", "expr": plain})
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_rules_notice_an_outage_and_its_end() -> None:
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_composed_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    composed = YAML(typ="safe").load((ROOT / "compose/compose.yaml").read_text())
    text = re.sub(r"\$\{TESTBED_API_PORT[^}]*\}", "6443", composed["configs"]["prometheus"]["content"])
    text = re.sub(r"\$\{TESTBED_NAME:-(\w+)\}", r"\1", text).replace("$$", "$")
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("x")
    text = text.replace("/etc/prometheus/rules.yml", str(FOLDER / "prometheus/rules.yml"))
    configuration = YAML(typ="safe").load(text.replace("/testbed/", f"{tmp_path}/"))
    for job in configuration["scrape_configs"]:
        # Debian's build knows no Kubernetes; the rest of such a job is checked all the same.
        for discovery in job.pop("kubernetes_sd_configs", ()):
            assert discovery["role"] == "node" and discovery["api_server"] == "https://127.0.0.1:6443"
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(configuration))
    done = promtool("check", "config", "--syntax-only", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_compose_mounts_is_there() -> None:
    composed = YAML(typ="safe").load((ROOT / "compose/compose.yaml").read_text())
    for service in composed["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / "compose" / source).exists(), source


def test_grafana_finds_the_data_source_that_dashboards_name(board: dict[str, Any]) -> None:
    provisioned = YAML(typ="safe").load(
        (ROOT / "compose/grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    variable = next(item for item in board["templating"]["list"] if item["name"] == "datasource")
    assert provisioned["uid"] == variable["current"]["value"]
    assert provisioned["type"] == variable["query"]
