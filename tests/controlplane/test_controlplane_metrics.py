"""/metrics of the control plane: names that others' dashboards know, true numbers, and promtool's approval."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from controlplane_world import World, virtual, world
from prometheus_client.parser import text_string_to_metric_families

from testbed.server.metrics import Exposition
from testbed.server.request_counts import RequestCounts

STABLE = [
    "kube_pod_info", "kube_pod_status_phase", "kube_pod_status_ready",
    "kube_pod_container_status_restarts_total", "kube_pod_container_status_ready",
    "kube_pod_container_status_waiting_reason", "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas", "kube_deployment_status_replicas_ready",
    "kube_deployment_status_replicas_available", "kube_deployment_status_replicas_unavailable",
    "kube_deployment_status_replicas_updated", "kube_deployment_status_observed_generation",
    "kube_deployment_metadata_generation", "kube_replicaset_spec_replicas", "kube_replicaset_status_replicas",
    "kube_replicaset_status_ready_replicas", "kube_node_info", "kube_node_status_condition",
    "kube_node_spec_unschedulable", "kube_endpointslice_endpoints", "testbed_build_info",
    "testbed_fault_active", "testbed_faults_total", "testbed_reconcile_duration_seconds",
    "testbed_workqueue_depth", "testbed_endpoints",
]


def scrape(w: World) -> tuple[str, dict[str, list[tuple[dict[str, str], float]]]]:
    body, _ = Exposition(w.registry, w.control_plane, RequestCounts())()
    text = body.decode()
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return text, samples


@virtual
async def test_names_and_numbers() -> None:
    async with world() as w:
        await w.create_service()
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        text, samples = scrape(w)
        for name in STABLE:
            assert f"# HELP {name} " in text, name
        web = {"namespace": "default", "deployment": "web"}
        assert samples["kube_deployment_status_replicas_ready"] == [(web, 3.0)]
        assert sum(value for labels, value in samples["kube_pod_status_phase"] if labels["phase"] == "Running") == 3
        ready = [value for labels, value in samples["kube_node_status_condition"]
                 if labels["condition"] == "Ready" and labels["status"] == "true"]
        assert ready == [1.0, 1.0, 1.0]
        assert ({"state": "ready"}, 3.0) in samples["testbed_endpoints"]
        assert len(samples["kube_endpointslice_endpoints"]) == 3
        assert ({"controller": "replicaset-controller"}, 0.0) in samples["testbed_workqueue_depth"]
        counts = dict((labels["controller"], value)
                      for labels, value in samples["testbed_reconcile_duration_seconds_count"])
        assert counts["replicaset-controller"] > 0


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    texts: list[str] = []

    @virtual
    async def scraped() -> None:
        async with world() as w:
            await w.create_service()
            await w.apply_deployment(replicas=2)
            await w.until(w.complete)
            texts.append(scrape(w)[0])

    scraped()
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=texts[0], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
