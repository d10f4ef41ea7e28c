"""What compose.yaml gives to Prometheus and Grafana: a configuration they read, files that are there."""

from __future__ import annotations

from ruamel.yaml import YAML
from support.boards import ROOT, Json, every_board

from testbed.machines.monitoring_config import Access, alertmanager_config, prometheus_config


def test_composed_programs_are_told_what_everybody_elses_are() -> None:
    """One place makes configurations; what stands in the file is what it makes, with compose's variables as values."""
    composed = YAML(typ="safe").load((ROOT / "compose/compose.yaml").read_text())
    clusters = [Access("127.0.0.1:${TESTBED_API_PORT:-unset}", "${TESTBED_NAME:-default}",
                       "/testbed/token", "/testbed/ca.crt")]
    alertmanager = "127.0.0.1:9093" if "alertmanager" in composed["services"] else ""
    made = {"prometheus": prometheus_config(clusters, ["/etc/prometheus/rules/*.yml"], alertmanager)}
    if alertmanager:
        made["alertmanager"] = alertmanager_config(clusters)
    written = {name: YAML(typ="safe").load(config["content"]) for name, config in composed["configs"].items()}
    assert written == made


def test_everything_that_compose_mounts_is_there() -> None:
    composed = YAML(typ="safe").load((ROOT / "compose/compose.yaml").read_text())
    for service in composed["services"].values():
        for volume in service.get("volumes", ()):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / "compose" / source).exists(), source


@every_board
def test_grafana_finds_the_data_source_that_dashboards_name(board: Json) -> None:
    provisioned = YAML(typ="safe").load(
        (ROOT / "compose/grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    variable = next(item for item in board["templating"]["list"] if item["name"] == "datasource")
    assert provisioned["uid"] == variable["current"]["value"]
    assert provisioned["type"] == variable["query"]
