"""Reads the metrics of autoscalers that are not CPU or memory from a Prometheus that the user names.

Decides which Prometheus: annotation ``testbed.io/prometheus`` of the autoscaler, else of its namespace, holds its URL.
A host written as pods write a Service (``prometheus.monitoring``, ``...svc.cluster.local``) is reached by the Service's
cluster address. What is asked is ``core/promql``, what the answer means is ``core/named_metrics``.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from testbed.api.autoscaling_v2 import Autoscaler, MetricSpec
from testbed.api.core_v1 import Pod
from testbed.api.resources import NAMESPACES, SERVICES
from testbed.controlplane.caches import Caches
from testbed.controlplane.usage import QueryFailed, UsageSource
from testbed.core import promql
from testbed.core.named_metrics import Reading

ANNOTATION = "testbed.io/prometheus"
_NOT_NAMED = f"no Prometheus is named: set the annotation {ANNOTATION}: http://HOST:PORT on the autoscaler or its " \
             "namespace"


async def read_metrics(
    scaler: Autoscaler, pods: Sequence[Pod], caches: Caches, source: UsageSource
) -> tuple[Reading | None, ...]:
    """One reading per metric of the autoscaler; None for those that are resources. It never fails."""
    address = _address(scaler, caches)
    return tuple([await _read(spec, scaler, pods, address, source) for spec in scaler.spec.metrics])


async def _read(
    spec: MetricSpec, scaler: Autoscaler, pods: Sequence[Pod], address: str, source: UsageSource
) -> Reading | None:
    metric = spec.named
    if metric is None:
        return None
    if not address:
        return Reading(failed=_NOT_NAMED)
    try:
        asked = promql.query(spec, metric, scaler.metadata.namespace, (pod.metadata.name for pod in pods))
        found = await source.query(address, asked)
    except (QueryFailed, ValueError) as error:
        return Reading(failed=str(error))
    if not found:
        return Reading(failed=f"{address} has no series for {asked}")
    if spec.type == "Pods":
        return Reading(pods={labels.get("pod", ""): value for labels, value in found})
    return Reading(total=found[0][1])


def _address(scaler: Autoscaler, caches: Caches) -> str:
    namespace = scaler.metadata.namespace
    home = caches.all[NAMESPACES.group_resource].json(namespace) or {"metadata": {}}
    address = scaler.metadata.annotations.get(ANNOTATION) or (home["metadata"].get("annotations") or {}).get(ANNOTATION)
    return _reachable(str(address), namespace, caches) if address else ""


def _reachable(address: str, namespace: str, caches: Caches) -> str:
    """The URL with the cluster address of the Service that its host names, if it names one."""
    try:
        parts = urlsplit(address)
        name, *rest = (parts.hostname or "").split(".")
        place = rest[0] if rest else namespace
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return address
    if len(rest) > 1 and rest[1:] not in (["svc"], ["svc", "cluster", "local"]):
        return address
    service = caches.all[SERVICES.group_resource].json(f"{place}/{name}")
    virtual = ((service or {}).get("spec") or {}).get("clusterIP")
    if not virtual or virtual == "None":
        return address
    return urlunsplit((parts.scheme, f"{virtual}{port}", parts.path, parts.query, ""))
