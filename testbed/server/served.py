"""A kind as this API serves it: where it is found, its subresources, and for custom resources its schema and
columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.server.autoscalers_v1 import from_v1, to_v1

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """Another version of a stored kind. ``type_name``: of its fields (``schema``)."""

    type_name: str
    to_stored: Callable[[Json], Json]
    from_stored: Callable[[Json], Json]


@dataclass(frozen=True)
class Served:
    """``schema``, ``columns``, ``scale``: of a custom resource, as its definition gives them. ``view``: of a version
    that is not the stored one."""

    resource: ResourceType
    subresources: frozenset[str] = frozenset()
    generation: bool = False
    custom: bool = False
    schema: Json = field(default_factory=dict, hash=False, compare=False)
    columns: tuple[Json, ...] = field(default=(), hash=False, compare=False)
    scale: Json = field(default_factory=dict, hash=False, compare=False)
    view: View | None = None

    @property
    def key(self) -> str:
        """The store's kind."""
        return self.resource.group_resource

    @property
    def type_name(self) -> str:
        """Under which ``schema`` has the fields."""
        return self.view.type_name if self.view is not None else self.resource.kind

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


def _built_in(resource: ResourceType, *subresources: str, generation: bool = False) -> Served:
    return Served(resource, frozenset(subresources), generation)


BUILT_IN: tuple[Served, ...] = (
    _built_in(r.NAMESPACES, "status", "finalize"),
    _built_in(r.NODES, "status", "proxy"),
    _built_in(r.PODS, "status", "binding", "eviction", "log", "exec", "attach"),
    _built_in(r.SERVICES, "status"),
    _built_in(r.CONFIG_MAPS),
    _built_in(r.SECRETS),
    _built_in(r.EVENTS),
    _built_in(r.SERVICE_ACCOUNTS, "token"),
    _built_in(r.ENDPOINTS),
    _built_in(r.DEPLOYMENTS, "status", "scale", generation=True),
    _built_in(r.REPLICA_SETS, "status", "scale", generation=True),
    _built_in(r.STATEFUL_SETS, "status", "scale", generation=True),
    _built_in(r.DAEMON_SETS, "status", generation=True),
    _built_in(r.JOBS, "status", generation=True),
    _built_in(r.CRON_JOBS, "status", generation=True),
    _built_in(r.CONTROLLER_REVISIONS),
    _built_in(r.ENDPOINT_SLICES, generation=True),
    _built_in(r.LEASES),
    _built_in(r.PRIORITY_CLASSES),
    _built_in(r.STORAGE_CLASSES),
    _built_in(r.PERSISTENT_VOLUMES, "status"),
    _built_in(r.PERSISTENT_VOLUME_CLAIMS, "status"),
    _built_in(r.VOLUME_ATTACHMENTS, "status"),
    _built_in(r.NETWORK_POLICIES, generation=True),
    _built_in(r.INGRESSES, "status", generation=True),
    _built_in(r.INGRESS_CLASSES, generation=True),
    _built_in(r.DISRUPTION_BUDGETS, "status", generation=True),
    _built_in(r.RESOURCE_QUOTAS, "status"),
    _built_in(r.LIMIT_RANGES),
    _built_in(r.AUTOSCALERS, "status"),
    _built_in(r.ROLES),
    _built_in(r.ROLE_BINDINGS),
    _built_in(r.CLUSTER_ROLES),
    _built_in(r.CLUSTER_ROLE_BINDINGS),
    _built_in(r.CUSTOM_RESOURCE_DEFINITIONS, "status", generation=True),
)
# Other versions of kinds above; the first version of a kind is the preferred one.
VIEWS: tuple[Served, ...] = (
    Served(replace(r.AUTOSCALERS, version="v1"), frozenset({"status"}),
           view=View("HorizontalPodAutoscalerV1", from_v1, to_v1)),
)
