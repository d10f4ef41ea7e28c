"""What Prometheus, Alertmanager and Grafana are told of clusters: their configuration, as values. Pure.

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

from testbed.server.alerts import MAX_ALERTS

Json = dict[str, Any]
JOB = "testbed"
TARGETS_PATH = "/testbed/v1/targets"  # of the API: what there is to scrape (server/targets.py)
ALERTS_PATH = "/testbed/v1/alerts"  # of the API: takes what Alertmanager's webhook sends (server/alerts.py)
INTERVAL = "1s"  # an outage of three seconds must be seen
DATA_SOURCE = "prometheus"  # Grafana's uid of it: dashboards name it
OURS = f'job="{JOB}"'  # the matcher of alerts that our rules make
NOBODY = "nobody"  # Alertmanager's receiver of what is none of ours
# What is told already is not told again in weaker words. By the job, alerts of a team's own stay as they are.
INHIBITED: list[Json] = [
    {"source_matchers": [f'alertname="{stronger}"', OURS], "target_matchers": [f'alertname="{weaker}"', OURS],
     "equal": ["instance", *same]}
    for stronger, weaker, same in (
        ("DeploymentDown", "KubeDeploymentReplicasMismatch", ("namespace", "deployment")),
        ("ErrorBudgetBurnFast", "ErrorBudgetBurnSlow", ("experiment", "target")),
    )
]


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
        """``type`` is the default, but Prometheus 2.42 does not know that in its discovery, and is turned away."""
        return {"authorization": {"type": "Bearer", "credentials_file": self.token_file},
                "tls_config": {"ca_file": self.ca_file}}


def scrape_job(access: Access) -> Json:
    """One entry of ``scrape_configs``: the API, and through it everything else that has metrics. Jobs are told apart by
    name; the label ``job`` that series get is ``testbed`` for all, as discovery says."""
    return {
        "job_name": f"{JOB}-{access.cluster}", "scheme": "https", "scrape_interval": INTERVAL,
        "scrape_timeout": INTERVAL, **access.credentials,
        "http_sd_configs": [{"url": f"https://{access.api}{TARGETS_PATH}", "refresh_interval": INTERVAL,
                             **access.credentials}],
    }


def own_prometheus(clusters: Sequence[Access], rule_files: Sequence[str]) -> Json:
    """What people put into the Prometheus that they have: its other settings stay theirs."""
    return {"rule_files": list(rule_files), "scrape_configs": [scrape_job(access) for access in clusters]}


def prometheus_config(clusters: Sequence[Access], rule_files: Sequence[str], alertmanager: str = "") -> Json:
    """A whole file. No clusters: nothing is scraped, what was recorded is only shown. ``alertmanager``: host and
    port."""
    config: Json = {"global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}}
    if clusters:
        config |= own_prometheus(clusters, rule_files)
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return config


def own_alertmanager(clusters: Sequence[Access]) -> Json:
    """What people put below the route, among the receivers and among the inhibitions of the Alertmanager that they
    have. ``continue``: their own routes see these alerts too."""
    return {"route": {"routes": [{**_route(access), "continue": True} for access in clusters]},
            "receivers": [_receiver(access) for access in clusters], "inhibit_rules": INHIBITED}


def alertmanager_config(clusters: Sequence[Access]) -> Json:
    """A whole file. Each cluster is told of its own alerts, and of their end."""
    return {
        "route": {"receiver": NOBODY, "routes": [_route(access) for access in clusters]},
        "receivers": [{"name": NOBODY}, *(_receiver(access) for access in clusters)],
        "inhibit_rules": INHIBITED,
    }


def _route(access: Access) -> Json:
    """Seconds where a team has half a minute: when the alert arrives is what is measured (the mark ``alerted``)."""
    return {
        "matchers": [f'instance="{access.cluster}"', OURS], "receiver": f"{JOB}-{access.cluster}",
        "group_by": ["alertname", "instance", "namespace"], "group_wait": INTERVAL, "group_interval": INTERVAL,
        "repeat_interval": "5m",
    }


def _receiver(access: Access) -> Json:
    return {"name": f"{JOB}-{access.cluster}", "webhook_configs": [{
        "url": f"https://{access.api}{ALERTS_PATH}", "send_resolved": True, "max_alerts": MAX_ALERTS,
        "http_config": access.credentials}]}


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
