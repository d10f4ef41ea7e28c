"""The committed dashboards are what their source makes, keep to the rules of Grafana's dashboard linter, and every
query is understood by Prometheus' own parser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from board_files import FILES, FOLDER, ROOT, Json, every_board, expressions, needs_promtool, panels, plain, promtool


def test_committed_json_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(FOLDER / "generate.py"), "--check"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


@every_board
def test_dashboard_cannot_be_edited_and_has_a_stable_identity(board: Json) -> None:
    assert board["editable"] is False
    assert 0 < len(board["uid"]) <= 40
    assert "testbed" in board["tags"]
    assert board["time"] == {"from": "now-15m", "to": "now"}
    assert board["refresh"] == "5s"
    assert board["schemaVersion"] >= 39


@every_board
def test_variables_are_those_the_linter_wants(board: Json) -> None:
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


@every_board
def test_panels_say_what_they_show(board: Json) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["title"] and panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit"), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]


@every_board
def test_queries_select_job_and_instance_everywhere(board: Json) -> None:
    for expression in expressions(board):
        selectors = re.findall(r"\b(?:kube_|container_|testbed_)\w+(\{[^}]*\})?", expression)
        assert selectors, expression
        for selector in selectors:
            assert 'job=~"$job"' in selector and 'instance=~"$instance"' in selector, expression


@every_board
def test_rates_use_the_rate_interval(board: Json) -> None:
    for expression in expressions(board):
        for function, window in re.findall(r"\b(rate|irate|increase)\([^[]*\[([^]]+)\]", expression):
            assert window == "$__rate_interval" or (function == "increase" and window == "$__range"), expression


@every_board
def test_fault_windows_are_shown_on_graphs(board: Json) -> None:
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
    bare = {name: re.sub(r"_(bucket|sum|count|total)$", "", name) for name in used}
    assert used
    assert not {name for name in used if not {name, bare[name]} & exposed and not name.startswith(beginnings)}


@every_board
@needs_promtool
def test_every_query_is_promql(board: Json, tmp_path: Path) -> None:
    rules = []
    for number, expression in enumerate(expressions(board)):
        rules.append({"record": f"query:{number}", "expr": plain(expression)})
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(file))
