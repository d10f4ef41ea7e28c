"""What compose.yaml gives to Prometheus and Grafana: a configuration they read, files that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from board_files import FOLDER, ROOT, Json, every_board, needs_promtool, promtool
from ruamel.yaml import YAML


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
    promtool("check", "config", "--syntax-only", str(file))


def test_everything_that_compose_mounts_is_there() -> None:
    composed = YAML(typ="safe").load((ROOT / "compose/compose.yaml").read_text())
    for service in composed["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / "compose" / source).exists(), source


@every_board
def test_grafana_finds_the_data_source_that_dashboards_name(board: Json) -> None:
    provisioned = YAML(typ="safe").load(
        (ROOT / "compose/grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    variable = next(item for item in board["templating"]["list"] if item["name"] == "datasource")
    assert provisioned["uid"] == variable["current"]["value"]
    assert provisioned["type"] == variable["query"]
