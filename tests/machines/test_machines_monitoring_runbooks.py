"""Links to runbooks open: what a cluster's Prometheus and Grafana are given leads to the page that it serves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from testbed.api.instance import Instance
from testbed.machines import monitoring_plan as plan
from testbed.machines.monitoring_plan import ALERTMANAGER, GRAFANA, PROMETHEUS, Order, Site
from testbed.machines.monitoring_runbooks import one_file
from testbed.machines.monitoring_site import read_boards, read_rules, write
from testbed.resources import board_files, rule_files

INSTANCE = Instance("shop", "7e57c0ffee01", Path("/state/shop"), "10.99.0.0/16", 29990, ())
PAGE = "https://127.0.0.1:29990/testbed/v1/runbooks"
PORTS = {PROMETHEUS: 9090, ALERTMANAGER: 9093, GRAFANA: 3000}


def groups(text: str) -> list[Any]:
    found: list[Any] = YAML(typ="safe").load(text)["groups"]
    return found


def links(text: str) -> dict[str, str]:
    """By alert."""
    return {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups(text) for rule in group["rules"]
            if "alert" in rule}


def test_a_clusters_page_is_where_a_browser_of_this_machine_finds_its_api() -> None:
    assert plan.runbooks(INSTANCE) == PAGE
    assert plan.runbooks(None) == "", "of a cluster that is gone nothing is served"


def test_each_alert_that_a_cluster_is_watched_by_leads_to_its_place_on_the_clusters_page() -> None:
    texts, _ = read_rules([], plan.runbooks(INSTANCE))
    found = {alert: link for text in texts.values() for alert, link in links(text).items()}
    assert found and found == {alert: f"{PAGE}#{alert.lower()}" for alert in found}
    assert len(texts) == len(rule_files())


def test_rules_differ_from_those_shipped_by_their_links_alone() -> None:
    texts, _ = read_rules([], PAGE)
    for path, text in zip(rule_files(), texts.values(), strict=True):
        assert text != path.read_text() and text.replace(PAGE, "docs/runbooks.md") == path.read_text()


def test_rules_of_ones_own_are_left_as_they_are(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up == 0\n        annotations:\n"
                    "          runbook_url: docs/runbooks.md#a\n")
    texts, _ = read_rules([mine], PAGE)
    assert texts[f"{len(rule_files())}-mine.yml"] == mine.read_text()


def test_all_rules_in_one_file_are_all_rules() -> None:
    text = one_file(path.read_text() for path in rule_files())
    assert groups(text) == [group for path in rule_files() for group in groups(path.read_text())]


def test_dashboards_of_a_cluster_link_each_alert_that_they_name() -> None:
    boards = read_boards(PAGE)
    assert set(boards) == {path.name for path in board_files()}
    named = {alert for path in board_files() for alert in re.findall(r"(\w+) \(docs/runbooks\.md#", path.read_text())}
    linked = {(name, target) for text in boards.values() for name, target in re.findall(
        rf"\[(\w+)\]\({re.escape(PAGE)}#(\w+)\)", text)}
    assert named and linked == {(alert, alert.lower()) for alert in named}
    for text in boards.values():
        assert json.loads(text)["uid"] and "docs/runbooks.md" not in text


def test_dashboards_of_a_cluster_that_is_gone_are_those_that_are_shipped() -> None:
    assert read_boards(plan.runbooks(None)) == {path.name: path.read_text() for path in board_files()}


@pytest.mark.parametrize("instance", [INSTANCE, None])
def test_grafana_is_given_the_dashboards_that_were_written(instance: Instance | None, tmp_path: Path) -> None:
    site = Site("shop", tmp_path, (tmp_path.stat().st_uid, tmp_path.stat().st_gid))
    order = Order(site, instance, {part.name: part.image for part in plan.PARTS})
    ports = {part.name: PORTS[part.name] for part in order.parts}
    written = plan.files(instance, ports, {}, read_boards(plan.runbooks(instance)))
    write(site, written, ports, "id")
    grafana = next(spec for spec in plan.specs(order, "id", ports, written) if spec.name.endswith(GRAFANA))
    environment = dict(grafana.env)
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    (mount,) = [mount for mount in grafana.mounts if mount.target == str(home.parent)]
    assert mount.read_only and (Path(mount.source) / home.name).is_file()
    assert {path.name for path in Path(mount.source).iterdir()} == {path.name for path in board_files()}


def test_a_cluster_at_another_port_has_other_links_so_grafana_reads_them_anew() -> None:
    def made_of(page: str) -> str:
        order = Order(Site("shop", Path("/state/shop"), (1, 1)), INSTANCE, {part.name: "i" for part in plan.PARTS})
        written = plan.files(INSTANCE, PORTS, {}, read_boards(page))
        return next(repr(spec.labels) for spec in plan.specs(order, "id", PORTS, written)
                    if spec.name.endswith(GRAFANA))

    assert made_of(PAGE) == made_of(PAGE) != made_of(PAGE.replace("29990", "29991"))
