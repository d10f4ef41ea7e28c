"""Where the autoscaler's measurements come from: what the server gives the control plane, and tests a fake of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from testbed.core.pod_metrics import PodUsage


class UsageSource(Protocol):
    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        """By pod name. Pods that could not be measured are left out; it never fails."""
        ...


class NoUsage:
    """Nothing is measured."""

    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        return {}
