"""A real Prometheus and a real Alertmanager beside a test's cluster, told what ``testbed monitor`` tells its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.prometheus import Prometheus, free_port, running

from testbed.api.instance import Instance
from testbed.machines.monitoring_config import Access, alertmanager_config, prometheus_config, text
from testbed.resources import rule_files


@contextmanager
def watching(instance: Instance, directory: Path) -> Iterator[Prometheus]:
    clusters = [Access(f"127.0.0.1:{instance.api_port}", instance.name, str(instance.token_file),
                       str(instance.ca_certificate))]
    ports = free_port(), free_port()
    (directory / "alertmanager.yml").write_text(text(alertmanager_config(clusters)))
    (directory / "prometheus.yml").write_text(text(prometheus_config(
        clusters, [str(file) for file in rule_files()], f"127.0.0.1:{ports[0]}")))
    with (
        running("alertmanager", directory, ports[0], f"--config.file={directory}/alertmanager.yml",
                f"--storage.path={directory}/alerts", "--cluster.listen-address="),
        running("prometheus", directory, ports[1], f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data") as address,
    ):
        yield Prometheus(address)
