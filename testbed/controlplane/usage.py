"""Where the autoscaler's measurements come from: what the server gives the control plane, and tests a fake of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from testbed.core.pod_metrics import PodUsage

Sample = tuple[Mapping[str, str], Decimal]  # labels, value


class QueryFailed(Exception):
    """What the asked Prometheus answered, or why it did not. Ends in no full stop."""


class UsageSource(Protocol):
    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        """By pod name. Pods that could not be measured are left out; it never fails."""
        ...

    async def query(self, address: str, promql: str) -> Sequence[Sample]:
        """What the Prometheus at that URL answers now.

        Raises: QueryFailed.
        """
        ...


class NoUsage:
    """Nothing is measured."""

    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        return {}

    async def query(self, address: str, promql: str) -> Sequence[Sample]:
        raise QueryFailed("this control plane asks no Prometheus")
