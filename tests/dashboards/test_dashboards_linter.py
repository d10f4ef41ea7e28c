"""Rules of Grafana's dashboard linter (grafana/dashboard-linter, lint/rule_*.go, 2026-06-18, with --strict).

template-datasource-rule, template-job-rule, template-instance-rule, template-on-time-change-reload-rule:
    test_variables
template-label-promql-rule: test_values_of_variables_are_asked_for_in_a_way_that_grafana_knows, and
    test_every_query_is_promql for what stands in it
panel-datasource-rule: test_everything_asks_the_chosen_data_source
panel-title-description-rule, panel-units-rule, panel-no-targets-rule: test_panels_say_what_they_show
target-promql-rule: test_every_query_is_promql
target-rate-interval-rule: test_rates_use_the_rate_interval
target-job-rule, target-instance-rule: test_every_selector_has_the_chosen_job_and_instance
target-counter-agg-rule: test_counters_are_seen_by_their_growth
uneditable-dashboard: test_a_dashboard_cannot_be_edited
target-logql-rule, target-logql-auto-rule: nothing of ours asks Loki, which test_variables holds

Ours are stricter where that costs nothing: they hold for every kind of panel, for annotations and for variables, and a
counter must grow even where the linter's own check of its name is defeated by the braces behind it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.boards import (
    Json,
    annotations,
    every_board,
    expressions,
    naked,
    needs_promtool,
    panels,
    plain,
    promtool,
    selectors,
    variables,
)

UNITS = {"short", "percentunit", "s", "bytes", "Bps", "pps", "reqps", "ops"}  # all of them in the linter's list
EVERY = ("=~", "$job"), ("=~", "$instance")
CUMULATIVE = {"testbed_runs_total"}  # shown as it is: how many runs have ended so far


@every_board
def test_a_dashboard_cannot_be_edited(board: Json) -> None:
    assert board["editable"] is False


@every_board
def test_variables(board: Json) -> None:
    (source,) = [item for item in board["templating"]["list"] if item["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")
    named = {variable["name"]: variable for variable in variables(board)}
    assert named["job"]["label"] == "Job" and named["instance"]["label"] == "Instance"
    for variable in named.values():
        assert variable["multi"] and variable["includeAll"] and variable["allValue"] == ".+"
        assert variable["refresh"] == 2, "reloads on time change"


@every_board
def test_values_of_variables_are_asked_for_in_a_way_that_grafana_knows(board: Json) -> None:
    for variable in variables(board):
        assert variable["query"].startswith("label_values(") and variable["definition"] == variable["query"]


@every_board
def test_everything_asks_the_chosen_data_source(board: Json) -> None:
    asking = [*panels(board), *annotations(board), *variables(board),
              *(target for panel in panels(board) for target in panel["targets"])]
    assert {(item["datasource"]["type"], item["datasource"]["uid"]) for item in asking} == {
        ("prometheus", "${datasource}")}


@every_board
def test_panels_say_what_they_show(board: Json) -> None:
    for panel in panels(board):
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]


@every_board
def test_every_selector_has_the_chosen_job_and_instance(board: Json) -> None:
    for who, expression in expressions(board):
        assert not naked(expression), f"{who}: {naked(expression)}"
        assert selectors(expression), who
        for selector in selectors(expression):
            if who in ("variable job", "variable instance"):  # these are what the others follow
                continue
            assert (selector.matchers.get("job"), selector.matchers.get("instance")) == EVERY, f"{who}: {expression}"


@every_board
def test_rates_use_the_rate_interval(board: Json) -> None:
    for who, expression in expressions(board):
        for selector in selectors(expression):
            if selector.window:
                assert selector.wrapped_in in ("rate", "increase"), f"{who}: {expression}"
                whole = selector.wrapped_in == "increase" and selector.window == "$__range"
                assert selector.window == "$__rate_interval" or whole, f"{who}: {expression}"


@every_board
def test_counters_are_seen_by_their_growth(board: Json) -> None:
    for who, expression in expressions(board):
        for selector in selectors(expression):
            for metric in selector.metrics:
                if metric.endswith("_total") and metric not in CUMULATIVE:
                    grows = selector.window or re.search(r" offset \$__(range|interval) or ", expression)
                    assert grows, f"{who}: {expression}"


@every_board
@needs_promtool
def test_every_query_is_promql(board: Json, tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": plain(expression)}
             for number, (_, expression) in enumerate(expressions(board))]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(file))
