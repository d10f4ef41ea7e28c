"""Recording and alerting rules, judged by Prometheus' own tool: each alert has a case that fires and one that does not,
says what it is about, and leads to what is to be done. They ask for nothing that nobody exposes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.boards import FOLDER, ROOT, Json, needs_promtool, promtool
from support.exposed import is_exposed

from testbed.machines.monitoring_config import INHIBITED, OURS
from testbed.resources import rule_files

TESTS = sorted((FOLDER / "prometheus/tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs/runbooks.md"
SEVERITIES = {"critical", "warning", "none"}
LABELS = {"job", "instance", "namespace", "deployment", "statefulset", "service", "node", "pod", "experiment", "target",
          "controller", "part", "process", "fault", "objective"}


@cache
def loaded(file: Path) -> Json:
    value: Json = YAML(typ="safe").load(file.read_text())
    return value


def rules() -> Iterator[Json]:
    for file in rule_files():
        for group in loaded(file)["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
every_alert = pytest.mark.parametrize("name", ALERTS)


def cases() -> Iterator[tuple[str, bool]]:
    """Name of each alert that is tested, and whether that case fires."""
    for file in TESTS:
        for test in loaded(file)["tests"]:
            for case in test.get("alert_rule_test", ()):
                yield case["alertname"], bool(case["exp_alerts"])


def names(expression: str) -> set[str]:
    """Of the series that it asks for."""
    text = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\[\w+\]", "", expression)
    text = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", "", text)
    return set(re.findall(r"\b[a-z_:][\w:]*_[\w:]*\b(?!\s*\()", text)) | set(re.findall(r"\bup\b", text))


@needs_promtool
@pytest.mark.parametrize("file", rule_files(), ids=lambda file: file.stem)
def test_prometheus_understands_the_rules(file: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_do_what_their_cases_say(file: Path) -> None:
    promtool("test", "rules", str(file))


def test_each_file_of_rules_has_its_file_of_cases() -> None:
    assert [file.name for file in rule_files()] == [file.name for file in TESTS]
    for file in TESTS:
        assert loaded(file)["rule_files"] == [f"../rules/{file.name}"]


@every_alert
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    tried = Counter(cases())
    assert tried[name, True] and tried[name, False]


def test_cases_are_about_alerts_that_there_are() -> None:
    assert {name for name, _ in cases()} == set(ALERTS)


@every_alert
def test_an_alert_says_what_it_is_about_and_how_much_it_matters(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in SEVERITIES
    said = rule["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert not said["summary"].endswith(".") and said["description"].endswith(".")
    assert "$labels.instance" in said["summary"] + said["description"], "which cluster?"
    used = set(re.findall(r"\$labels\.(\w+)", said["summary"] + said["description"]))
    assert used <= LABELS | {"container"}, "labels that its series have"


@every_alert
def test_an_alert_leads_to_its_runbook(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
    assert section, "a section of its name"
    assert "**See**" in section[1] and "**Do**" in section[1]
    severity = ALERTS[name]["labels"]["severity"]
    assert section[1].lstrip().startswith(f"*{severity}"), "as grave as the rule says"


def test_runbooks_are_about_alerts_that_there_are_and_lead_nowhere_else() -> None:
    text = RUNBOOKS.read_text()
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == set(ALERTS)
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {name.lower() for name in ALERTS}


def test_only_our_own_job_is_judged() -> None:
    """They may stand in a Prometheus that watches a real cluster, where seconds are too early."""
    for rule in rules():
        for name, matchers in re.findall(r"\b(kube_\w+|container_\w+|up)\b(\{[^}]*\})?", rule["expr"]):
            assert 'job="testbed"' in matchers or 'part' in matchers, f"{name}{matchers}"


def test_every_metric_is_exposed_by_the_control_plane_or_an_agent_and_every_record_made() -> None:
    asked = {name for rule in rules() for name in names(rule["expr"])}
    assert {"kube_deployment_spec_replicas", "testbed_requests_total", "up"} <= asked
    assert {name for name in asked if ":" in name} <= RECORDED
    assert not {name for name in asked - {"up"} if ":" not in name and name not in LABELS and not is_exposed(name)}


def test_what_keeps_other_alerts_quiet_is_an_alert() -> None:
    matchers = [matcher for rule in INHIBITED for matcher in (*rule["source_matchers"], *rule["target_matchers"])]
    assert {re.sub(r"alertname=\"(\w+)\"", r"\1", matcher) for matcher in matchers if matcher != OURS} <= set(ALERTS)
