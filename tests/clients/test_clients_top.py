"""``kubectl top`` and ``kubectl get`` of autoscalers and quotas, by the real kubectl."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from http_world import http_world
from kubectl_world import Kubectl, find_kubectl
from usage_world import answering, filled

from testbed.api.resources import AUTOSCALERS, LIMIT_RANGES, RESOURCE_QUOTAS
from testbed.server.kubeconfig import write_kubeconfig


async def test_top_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = find_kubectl()
    async with http_world(tmp_path) as world:
        answering(monkeypatch, filled(world.registry))
        write_kubeconfig(world.instance)
        kubectl = Kubectl(program, world.instance)
        world.registry.create(AUTOSCALERS, {"metadata": {"name": "web"}, "spec": {"maxReplicas": 5, "scaleTargetRef": {
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}, "default")
        world.registry.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "9"}}}, "default")
        world.registry.create(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": []}}, "default")

        async def told(*arguments: str) -> list[list[str]]:
            return [line.split() for line in (await asyncio.to_thread(kubectl, *arguments)).splitlines()]

        nodes = await told("top", "nodes")
        assert nodes[1][:3] == ["n1", "1500m", "1024Mi"] and nodes[2][:2] == ["n2", "<unknown>"]
        assert (await told("top", "pods"))[1:] == [["on-n1", "250m", "64Mi"]]
        assert (await told("top", "pod", "--containers"))[1:] == [["on-n1", "main", "250m", "64Mi"]]
        assert (await told("get", "hpa"))[1][:4] == ["web", "Deployment/web", "cpu:", "<unknown>/80%"]
        assert (await told("get", "quota,limits"))[0][:1] == ["NAME"]
        assert "resource cpu on pods" in await asyncio.to_thread(kubectl, "describe", "hpa", "web")
