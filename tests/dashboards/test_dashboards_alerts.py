"""Each alert is found on a dashboard: a panel that shows what it is about names it, and where it says what to do."""

from __future__ import annotations

import json
import re

from ruamel.yaml import YAML
from support.boards import FILES, panels

from testbed.resources import rule_files

ALWAYS_FIRES = "Watchdog"


def test_a_panel_shows_what_an_alert_is_about_and_names_it() -> None:
    rules = [rule for file in rule_files() for group in YAML(typ="safe").load(file.read_text())["groups"]
             for rule in group["rules"]]
    runbooks = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    told = [place for file in FILES for panel in panels(json.loads(file.read_text()))
            for place in re.findall(r"(\w+) \((docs/\w+\.md#\w+)\)", panel["description"])]
    assert {alert for alert, _ in told} == runbooks.keys() - {ALWAYS_FIRES}
    assert {place for place in told if runbooks[place[0]] != place[1]} == set()
