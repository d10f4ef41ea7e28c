"""A registry in memory with a clock that tests set, and short ways to make objects."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from testbed.api import resources as r
from testbed.core.profile import FAST
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]


class HandClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def make_registry(clock: HandClock | None = None, store: Store | None = None) -> Registry:
    registry = Registry(store or Store(), clock=clock or HandClock(), random=random.Random(1), profile=FAST,
                        service_range="10.9.128.0/17", node_ports=(30001, 30002))
    ensure_system_objects(registry, "10.9.128.1")
    return registry


def pod(name: str = "a", **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "sample:v1"}], **spec}}


def deployment(name: str = "web", **spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]}, **spec}}


def service(name: str = "web", **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}


def definition(schema: Json | None = None, **version: Any) -> Json:
    return {"metadata": {"name": "widgets.example.io"}, "spec": {
        "group": "example.io", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wi"]},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}, **version}]}}


def bind(registry: Registry, name: str = "a", node: str = "n1") -> Json:
    """The pod, placed on a node."""
    registry.create_subresource(r.PODS, name, "binding", {"target": {"kind": "Node", "name": node}}, "default")
    return registry.get(r.PODS, name, "default").fresh()
