"""What Prometheus, Alertmanager and Grafana are told of one cluster: their configuration, as values. Pure.

Decides what is scraped and how often, where alerts go and what they are judged by. Where the files lie, on which ports
the three listen and that they run is decided in ``monitoring_plan.py`` and done by ``monitoring.py``.

All targets are reached through the cluster's API with its token: `http_sd` names them, so that nodes may come and go,
and builds of Prometheus without Kubernetes discovery (Debian's) follow them as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
JOB = "testbed"
TARGETS_PATH = "/testbed/v1/targets"  # of the API: what there is to scrape, in Prometheus' own form
ALERTS_PATH = "/testbed/v1/alerts"  # of the API: takes what Alertmanager's webhook sends
INTERVAL = "1s"  # an outage of three seconds must be seen
DATA_SOURCE = "prometheus"  # Grafana's uid of it: dashboards name it


@dataclass(frozen=True)
class Access:
    """How the API of a cluster is reached.

    Attributes:
        api: host and port.
        cluster: its name.
        token_file, ca_file: paths, as whoever reads the configuration sees them.
    """

    api: str
    cluster: str
    token_file: str
    ca_file: str

    @property
    def credentials(self) -> Json:
        return {"authorization": {"credentials_file": self.token_file}, "tls_config": {"ca_file": self.ca_file}}


def scrape_job(access: Access) -> Json:
    """One entry of ``scrape_configs``: the API, and through it everything else that has metrics."""
    return {
        "job_name": JOB, "scheme": "https", "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL,
        **access.credentials,
        "http_sd_configs": [{"url": f"https://{access.api}{TARGETS_PATH}", "refresh_interval": INTERVAL,
                             **access.credentials}],
    }


def prometheus_config(access: Access | None, rule_files: Sequence[str], alertmanager: str = "") -> Json:
    """``access=None``: nothing is scraped, what was recorded is only shown. ``alertmanager``: host and port."""
    config: Json = {"global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}}
    if access is None:
        return config
    config |= {"rule_files": list(rule_files), "scrape_configs": [scrape_job(access)]}
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return config


def alertmanager_config(access: Access) -> Json:
    """Every alert, and its end, is told to the cluster's API within a second."""
    return {
        "route": {"receiver": JOB, "group_by": ["..."], "group_wait": "0s", "group_interval": INTERVAL,
                  "repeat_interval": "1h"},
        "receivers": [{"name": JOB, "webhook_configs": [{
            "url": f"https://{access.api}{ALERTS_PATH}", "send_resolved": True, "http_config": access.credentials}]}],
    }


def data_source(prometheus: str) -> Json:
    """Grafana's provisioning of its data source. ``prometheus``: host and port."""
    return {"apiVersion": 1, "datasources": [{
        "name": "Prometheus", "uid": DATA_SOURCE, "type": "prometheus", "access": "proxy",
        "url": f"http://{prometheus}", "isDefault": True, "editable": False,
        "jsonData": {"timeInterval": INTERVAL},  # the scrape interval, from which $__rate_interval follows
    }]}


def dashboard_provider(folder: str) -> Json:
    """Grafana's provisioning of dashboards. ``folder``: as Grafana sees it."""
    return {"apiVersion": 1, "providers": [{
        "name": "testbed", "type": "file", "folder": "Testbed", "allowUiUpdates": False, "disableDeletion": True,
        "options": {"path": folder}}]}


def text(value: Json) -> str:
    """As a file. JSON is YAML too, and both Prometheus and Grafana read YAML."""
    return json.dumps(value, indent=2) + "\n"
