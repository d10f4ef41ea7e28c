"""What a pod asks of a node.

Source: kubernetes pkg/api/v1/resource/helpers.go PodRequests: the larger of what runs together and of what each init
container needs beside the sidecars started before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from testbed.api.core_v1 import Container, Pod
from testbed.api.meta import quantity

Amounts = dict[str, Decimal]


def amounts(resources: Mapping[str, str | int | float]) -> Amounts:
    return {name: quantity(value) for name, value in resources.items()}


def container_requests(container: Container) -> Amounts:
    """A limit without a request is its own request (kubernetes: defaults.go SetDefaults_Pod)."""
    return {**amounts(container.resources.limits), **amounts(container.resources.requests)}


def pod_requests(pod: Pod) -> Amounts:
    together: Amounts = {}
    for container in pod.spec.containers:
        together = _plus(together, container_requests(container))
    sidecars: Amounts = {}
    largest_init: Amounts = {}
    for container in pod.spec.init_containers:
        own = container_requests(container)
        if container.restart_policy == "Always":
            sidecars = _plus(sidecars, own)
            largest_init = _larger(largest_init, sidecars)
        else:
            largest_init = _larger(largest_init, _plus(sidecars, own))
    return _larger(_plus(together, sidecars), largest_init)


def _plus(a: Amounts, b: Amounts) -> Amounts:
    return {name: a.get(name, Decimal(0)) + b.get(name, Decimal(0)) for name in {**a, **b}}


def _larger(a: Amounts, b: Amounts) -> Amounts:
    return {name: max(a.get(name, Decimal(0)), b.get(name, Decimal(0))) for name in {**a, **b}}
