"""What the store holds, under kube-state-metrics' STABLE names and labels, so that its dashboards and rules work here.

What is written of an object is kept until the object changes: a scrape looks at what has changed since the one before,
and puts the rest together. An object that cannot be read is left out and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from testbed.api.exposition import Family
from testbed.api.resources import ResourceType
from testbed.server.metrics_cluster import (
    ENDPOINTS_SHOWN,
    INGRESS_CLASSES_SHOWN,
    INGRESSES_SHOWN,
    NAMESPACES_SHOWN,
    NETWORK_POLICIES_SHOWN,
    NODES_SHOWN,
    SERVICES_SHOWN,
    SLICES_SHOWN,
)
from testbed.server.metrics_jobs import CRON_JOBS_SHOWN, JOBS_SHOWN
from testbed.server.metrics_pieces import Kind
from testbed.server.metrics_pods import PODS_SHOWN
from testbed.server.metrics_policies import AUTOSCALERS_SHOWN, BUDGETS_SHOWN, LEASES_SHOWN, QUOTAS_SHOWN, RANGES_SHOWN
from testbed.server.metrics_storage import (
    ATTACHMENTS_SHOWN,
    CLAIMS_SHOWN,
    CLASSES_SHOWN,
    CONFIG_MAPS_SHOWN,
    SECRETS_SHOWN,
    VOLUMES_SHOWN,
)
from testbed.server.metrics_workloads import (
    DAEMON_SETS_SHOWN,
    DEPLOYMENTS_SHOWN,
    REPLICA_SETS_SHOWN,
    STATEFUL_SETS_SHOWN,
)
from testbed.store import Stored

KINDS: tuple[Kind, ...] = (
    PODS_SHOWN, DEPLOYMENTS_SHOWN, REPLICA_SETS_SHOWN, STATEFUL_SETS_SHOWN, DAEMON_SETS_SHOWN, JOBS_SHOWN,
    CRON_JOBS_SHOWN, AUTOSCALERS_SHOWN, BUDGETS_SHOWN, QUOTAS_SHOWN, RANGES_SHOWN, LEASES_SHOWN, NODES_SHOWN,
    NAMESPACES_SHOWN, SERVICES_SHOWN, ENDPOINTS_SHOWN, SLICES_SHOWN, INGRESSES_SHOWN, INGRESS_CLASSES_SHOWN,
    NETWORK_POLICIES_SHOWN, VOLUMES_SHOWN, CLAIMS_SHOWN, CLASSES_SHOWN, ATTACHMENTS_SHOWN, CONFIG_MAPS_SHOWN,
    SECRETS_SHOWN,
)
STATE_FAMILIES: tuple[Family, ...] = tuple(family for kind in KINDS for family in kind.families)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    """``lines``: of each family; None when the object cannot be read."""

    revision: int
    lines: tuple[str, ...] | None


class StateText:
    """``list``: the stored objects of a kind. ``failed``: told of each object that is left out, by its kind's name."""

    def __init__(self, list: Callable[[ResourceType], Sequence[Stored]], failed: Callable[[str], None]) -> None:
        self._list, self._failed = list, failed
        self._kept: dict[ResourceType, dict[tuple[str, str], _Written]] = {kind.resource: {} for kind in KINDS}
        self._heads = {kind.resource: [family.head for family in kind.families] for kind in KINDS}
        self.looked_at = 0  # objects that were read, and not taken as they had been written

    def text(self) -> Iterator[str]:
        """All families, as pieces of text."""
        for kind in KINDS:
            shown = self._lines(kind)
            for number, head in enumerate(self._heads[kind.resource]):
                yield head
                yield from [lines[number] for lines in shown]

    def _lines(self, kind: Kind) -> list[tuple[str, ...]]:
        before, now = self._kept[kind.resource], {}
        for stored in self._list(kind.resource):
            key = (stored.namespace, stored.name)
            written = before.get(key)
            if written is None or written.revision != stored.revision:
                written = self._look(kind, stored)
            if written.lines is None:
                self._failed(kind.resource.plural)
            now[key] = written
        self._kept[kind.resource] = now
        return [written.lines for written in now.values() if written.lines is not None]

    def _look(self, kind: Kind, stored: Stored) -> _Written:
        self.looked_at += 1
        try:
            return _Written(stored.revision, kind.lines(stored.value))
        except Exception:
            _log.exception("no metrics of %s %s/%s", kind.resource.kind, stored.namespace, stored.name)
            return _Written(stored.revision, None)
