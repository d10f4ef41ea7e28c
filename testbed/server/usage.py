"""Group metrics.k8s.io, version v1beta1: what nodes and pods use, read from the agents' ``/stats/summary``.

Read only, and stored nowhere. A node whose agent does not answer is left out with its pods, as metrics-server does.
Source: kubernetes staging metrics/pkg/apis/metrics/v1beta1/types.go; sigs.k8s.io/metrics-server pkg/api.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from testbed.api.meta import parse_time
from testbed.api.resources import NODES, PODS
from testbed.controlplane.usage import Sample
from testbed.core.pod_metrics import PodUsage
from testbed.errors import ApiError, MethodNotAllowed, NotFound
from testbed.server import prometheus
from testbed.server.agents import FRESH_S, Agents
from testbed.server.paths import Target
from testbed.server.registry import Registry

Json = dict[str, Any]
GROUP, VERSION = "metrics.k8s.io", "v1beta1"
_log = logging.getLogger(__name__)


class Usages:
    """``agents`` None: nothing is measured."""

    def __init__(self, registry: Registry, agents: Agents | None) -> None:
        self._registry, self._agents = registry, agents

    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        found: dict[str, PodUsage] = {}
        for summary in (await self._summaries()).values():
            for pod in summary.get("pods", ()):
                containers = [item for item in pod.get("containers", ()) if "cpu" in item and "memory" in item]
                if pod["podRef"]["namespace"] == namespace and containers:
                    found[pod["podRef"]["name"]] = PodUsage(
                        parse_time(containers[0]["cpu"]["time"]), FRESH_S,
                        {item["name"]: {"cpu": Decimal(item["cpu"]["usageNanoCores"]) / 10**9,
                                        "memory": Decimal(item["memory"]["workingSetBytes"])} for item in containers})
        return found

    async def query(self, address: str, promql: str) -> Sequence[Sample]:
        return await prometheus.query(address, promql)

    async def answer(self, method: str, target: Target, label_selector: str, field_selector: str) -> Json:
        """One NodeMetrics or PodMetrics, or a list of them.

        Raises: NotFound, MethodNotAllowed.
        """
        make: Callable[[Json, dict[str, Json]], Json | None] | None = {"nodes": _node, "pods": _pod}.get(target.plural)
        if make is None or target.version != VERSION or target.subresource:
            raise NotFound("the server could not find the requested resource")
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        resource = NODES if target.plural == "nodes" else PODS
        listing = self._registry.list(resource, target.namespace or None, label_selector=label_selector,
                                      field_selector=field_selector)
        summaries = await self._summaries()
        items = [item for stored in listing.items if not target.name or stored.name == target.name
                 if (item := make(stored.value, summaries)) is not None]
        kind = "NodeMetrics" if target.plural == "nodes" else "PodMetrics"
        if target.name:
            if not items:
                raise NotFound(f'{target.plural}.{GROUP} "{target.name}" not found',
                               details={"name": target.name, "group": GROUP, "kind": target.plural})
            return {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", **items[0]}
        return {"kind": f"{kind}List", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}

    async def _summaries(self) -> dict[str, Json]:
        if self._agents is None:
            return {}
        names = [item.name for item in self._registry.list(NODES).items]
        found = await asyncio.gather(*(self._summary(self._agents, name) for name in names))
        return {name: summary for name, summary in zip(names, found, strict=True) if summary is not None}

    async def _summary(self, agents: Agents, node: str) -> Json | None:
        try:
            return await agents.summary(node)
        except ApiError as error:
            _log.debug("node %s is not measured: %s", node, error.message)
            return None


def _node(node: Json, summaries: dict[str, Json]) -> Json | None:
    summary = summaries.get(node["metadata"]["name"], {}).get("node")
    return _measured(node, summary["cpu"]["time"], {"usage": _usage(summary)}) if summary else None


def _pod(pod: Json, summaries: dict[str, Json]) -> Json | None:
    if (pod.get("status") or {}).get("phase") != "Running":
        return None
    uid = pod["metadata"]["uid"]
    for found in summaries.get((pod.get("spec") or {}).get("nodeName", ""), {}).get("pods", ()):
        if found["podRef"]["uid"] == uid and found.get("containers"):
            containers = [{"name": item["name"], "usage": _usage(item)} for item in found["containers"]]
            return _measured(pod, found["containers"][0]["cpu"]["time"], {"containers": containers})
    return None


def _measured(obj: Json, at: str, rest: Json) -> Json:
    meta = obj["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
    return {"metadata": {**kept, "creationTimestamp": at}, "timestamp": at, "window": f"{FRESH_S:g}s", **rest}


def _usage(part: Json) -> Json:
    return {"cpu": f"{part['cpu']['usageNanoCores']}n", "memory": f"{part['memory']['workingSetBytes'] // 1024}Ki"}
