"""Group coordination.k8s.io, version v1: Leases, the nodes' heartbeats (namespace kube-node-lease)."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from testbed.api.base import View
from testbed.api.meta import Resource


class LeaseSpec(View):
    holder_identity: str = ""
    lease_duration_seconds: int = 40
    renew_time: datetime | None = None
    acquire_time: datetime | None = None
    lease_transitions: int = 0


class Lease(Resource):
    spec: LeaseSpec = Field(default_factory=LeaseSpec)
