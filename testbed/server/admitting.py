"""What a new object must pass, and what it gets, with the rest of the store in sight: defaults of its namespace,
quotas, addresses and ports of Services.

Each rule is a module of its own (``admission``, ``allocation``, ``ingresses``, ``quotas``, ``storage_admission``); here
is which of them an object meets.
"""

from __future__ import annotations

import random
from typing import Any

from testbed.api import resources as r
from testbed.api.clock import WallClock
from testbed.api.resources import ResourceType
from testbed.core.profile import Profile
from testbed.server import quotas
from testbed.server.admission import admit_account, admit_pod
from testbed.server.allocation import allocate_service
from testbed.server.ingresses import admit_ingress
from testbed.server.served import Served
from testbed.server.storage_admission import admit_new
from testbed.store import Store

Json = dict[str, Any]


class Admitting:
    """``service_range``: CIDR of ClusterIPs; ``node_ports``: the published ones."""

    def __init__(
        self, store: Store, clock: WallClock, random: random.Random, profile: Profile, service_range: str,
        node_ports: tuple[int, ...],
    ) -> None:
        self._store, self._clock, self._random, self._profile = store, clock, random, profile
        self._service_range, self._node_ports = service_range, node_ports

    def new(self, served: Served, value: Json) -> None:
        """What it is given. Raises: Forbidden, Invalid by the rule that it breaks."""
        if served.key == r.PODS.group_resource:
            classes = {item.name: item.value for item in self._store.list(r.PRIORITY_CLASSES.group_resource)}
            quotas.default_limits(value, self.values(r.LIMIT_RANGES, value["metadata"].get("namespace", "")))
            admit_pod(value, self._profile.default_toleration_s, classes)
            admit_account(value, lambda name: self._store.get(
                r.SERVICE_ACCOUNTS.group_resource, value["metadata"]["namespace"], name) is not None)
        elif served.key == r.INGRESSES.group_resource:
            value["status"] = {"loadBalancer": {}}
            admit_ingress(value, (item.value for item in self._store.list(r.INGRESS_CLASSES.group_resource)))
        elif served.key == r.SERVICES.group_resource:
            value["status"] = {"loadBalancer": {}}
            self.allocate(value, None)
        else:
            admit_new(served.key, value, lambda: self.values(r.STORAGE_CLASSES, ""))

    def quota(self, served: Served, value: Json, namespace: str) -> list[Json]:
        """The quotas that it counts for, as they are with it.

        Raises: Forbidden by a LimitRange or a ResourceQuota of the namespace.
        """
        if not namespace or served.key == r.EVENTS.group_resource:
            return []
        if served.key == r.PODS.group_resource:
            quotas.check_limits(value, self.values(r.LIMIT_RANGES, namespace))
        elif served.key == r.PERSISTENT_VOLUME_CLAIMS.group_resource:
            quotas.check_claim_limits(value, self.values(r.LIMIT_RANGES, namespace))
        return quotas.charge(served.key, value, self.values(r.RESOURCE_QUOTAS, namespace), self._clock.now())

    def values(self, resource: ResourceType, namespace: str) -> list[Json]:
        if not self._store.count(resource.group_resource):
            return []
        return [item.value for item in self._store.list(resource.group_resource, namespace)]

    def allocate(self, value: Json, own_uid: str | None) -> None:
        others = (item.value for item in self._store.list(r.SERVICES.group_resource)
                  if item.value["metadata"]["uid"] != own_uid)
        allocate_service(value, others, self._service_range, self._node_ports, self._random)
