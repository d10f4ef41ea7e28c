"""Recording and alerting rules, judged by Prometheus' own tool; and that each alert is found on a dashboard."""

from __future__ import annotations

import json
import re

from ruamel.yaml import YAML
from support.boards import FILES, FOLDER, needs_promtool, panels, promtool

RULES, CASES = (sorted((FOLDER / "prometheus" / name).glob("*.yml")) for name in ("rules", "tests"))
ALWAYS_FIRES = "Watchdog"


@needs_promtool
def test_rules_notice_what_they_should_and_nothing_else() -> None:
    promtool("check", "rules", *map(str, RULES))
    promtool("test", "rules", *map(str, CASES))


def test_a_panel_shows_what_an_alert_is_about_and_names_it() -> None:
    rules = [rule for file in RULES for group in YAML(typ="safe").load(file.read_text())["groups"]
             for rule in group["rules"]]
    runbooks = {rule["alert"]: rule["annotations"].get("runbook_url") for rule in rules if "alert" in rule}
    told = [place for file in FILES for panel in panels(json.loads(file.read_text()))
            for place in re.findall(r"(\w+) \((docs/\w+\.md#\w+)\)", panel["description"])]
    assert {alert for alert, _ in told} == runbooks.keys() - {ALWAYS_FIRES}
    assert {place for place in told if runbooks[place[0]] != place[1]} == set()
