"""What public dashboards and rules ask of kube-state-metrics is here, under the same names and labels."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from kube_state_metrics import STABLE

from testbed.node.metrics import FAMILIES as AGENT_FAMILIES
from testbed.node.metrics_containers import FAMILIES as CONTAINER_FAMILIES
from testbed.server.metrics_state import STATE_FAMILIES

HERE = {family.name: family for family in (*STATE_FAMILIES, *CONTAINER_FAMILIES, *AGENT_FAMILIES)}
# kubernetes-mixin, August 2026: what its alerts, rules and dashboards for workloads, nodes and containers ask for.
MIXIN = """
container_cpu_cfs_periods_total container_cpu_cfs_throttled_periods_total container_cpu_usage_seconds_total
container_fs_reads_bytes_total container_fs_reads_total container_fs_writes_bytes_total container_fs_writes_total
container_memory_cache container_memory_rss container_memory_swap container_memory_usage_bytes
container_memory_working_set_bytes container_network_receive_bytes_total
container_network_receive_packets_dropped_total container_network_receive_packets_total
container_network_transmit_bytes_total container_network_transmit_packets_dropped_total
container_network_transmit_packets_total kube_node_role kube_pod_status_reason kube_pod_container_status_waiting_reason
kube_pod_container_resource_requests kube_pod_container_resource_limits kube_resourcequota kubelet_evictions
kubelet_node_name kubelet_pleg_relist_duration_seconds kubelet_pleg_relist_interval_seconds
kubelet_pod_worker_duration_seconds kubelet_running_containers kubelet_running_pods
"""


@pytest.mark.parametrize("line", re.sub(r"\\\n", "", STABLE).strip().splitlines())
def test_a_stable_family_of_kube_state_metrics_is_here_with_its_labels(line: str) -> None:
    name, labels = line.split()
    assert sorted(HERE[name].labels) == labels.split(",")
    assert HERE[name].type == ("counter" if name.endswith("_total") else "gauge")


def test_what_kubernetes_mixin_asks_for_is_here() -> None:
    assert set(MIXIN.split()) <= HERE.keys()


def test_no_family_is_declared_twice_and_each_says_what_it_is() -> None:
    assert [name for name, times in Counter(family.name for family in STATE_FAMILIES).items() if times > 1] == []
    for family in HERE.values():
        assert family.text and len(set(family.labels)) == len(family.labels), family.name
