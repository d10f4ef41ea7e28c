"""Two nodes, of which one does not answer, with what they use: for tests of metrics.k8s.io."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import pod

from testbed.api.resources import NODES, PODS
from testbed.errors import ApiUnavailable
from testbed.server.agents import Agents
from testbed.server.registry import Registry

Json = dict[str, Any]
AT = "2026-01-01T12:00:00Z"


def part(nano: int, memory: int, **more: Any) -> Json:
    return {"cpu": {"time": AT, "usageNanoCores": nano}, "memory": {"time": AT, "workingSetBytes": memory}, **more}


def filled(registry: Registry) -> str:
    """Two nodes, of which n2 does not answer, with one running pod each. Returns the first one's UID."""
    for name in ("n1", "n2"):
        registry.create(NODES, {"metadata": {"name": name, "labels": {"disk": name}}})
        registry.create(PODS, pod(f"on-{name}", nodeName=name), "default")
        registry.patch(PODS, f"on-{name}", {"status": {"phase": "Running"}}, "default", subresource="status")
    return str(registry.get(PODS, "on-n1", "default").value["metadata"]["uid"])


def answering(monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    async def summary(self: Agents, node: str) -> Json:
        if node != "n1":
            raise ApiUnavailable("the cable is cut")
        reference = {"name": "on-n1", "namespace": "default", "uid": uid}
        return {"node": part(1_500_000_000, 2**30), "pods": [{"podRef": reference, "containers": [
            part(250_000_000, 64 * 2**20, name="main")]}]}

    monkeypatch.setattr(Agents, "summary", summary)
