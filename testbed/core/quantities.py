"""What a pod asks of a node.

Source: kubernetes pkg/api/v1/resource/helpers.go PodRequests: the larger of what runs together and of what each init
container needs beside the sidecars started before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal

from testbed.api.core_v1 import Container, Pod
from testbed.api.meta import quantity

Amounts = dict[str, Decimal]


def amounts(resources: Mapping[str, str | int | float]) -> Amounts:
    return {name: quantity(value) for name, value in resources.items()}


def container_requests(container: Container) -> Amounts:
    """A limit without a request is its own request (kubernetes: defaults.go SetDefaults_Pod)."""
    return {**amounts(container.resources.limits), **amounts(container.resources.requests)}


def pod_requests(pod: Pod) -> Amounts:
    return _of_pod(pod, container_requests)


def pod_limits(pod: Pod) -> Amounts:
    """As ``pod_requests``, of limits (kubernetes: PodLimits)."""
    return _of_pod(pod, lambda container: amounts(container.resources.limits))


def _of_pod(pod: Pod, of: Callable[[Container], Amounts]) -> Amounts:
    together: Amounts = {}
    for container in pod.spec.containers:
        together = _plus(together, of(container))
    sidecars: Amounts = {}
    largest_init: Amounts = {}
    for container in pod.spec.init_containers:
        own = of(container)
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


def quantity_text(name: str, amount: Decimal) -> str:
    """An amount of the resource ``name`` as people write it: bytes with a binary suffix where one fits."""
    if amount != amount.to_integral_value():
        return f"{(amount * 1000).to_integral_value(ROUND_CEILING)}m"
    whole = int(amount)
    if "memory" in name or "storage" in name:
        for suffix, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if whole and whole % factor == 0:
                return f"{whole // factor}{suffix}"
    return str(whole)
