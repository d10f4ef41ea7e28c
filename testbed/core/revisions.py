"""What a ReplicaSet's annotations say of its Deployment: revision, history, sizes, and the Deployment's own
annotations.

Source: kubernetes pkg/controller/deployment/util/deployment_util.go SetNewReplicaSetAnnotations,
SetReplicasAnnotations.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.api.labels import LAST_APPLIED, REVISION
from testbed.core.deployment_state import DESIRED_REPLICAS, MAX_REPLICAS, REVISION_HISTORY

HISTORY_CHARS = 2000
_NOT_COPIED = (LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS,
               "deprecated.deployment.rollback.to")


def of_new_replica_set(
    deployment: Mapping[str, str], current: Mapping[str, str], revision: int
) -> dict[str, str]:
    """Annotations of the newest ReplicaSet: the Deployment's copied, ``revision`` set, an older one kept as history."""
    fresh = {**current, **{key: value for key, value in deployment.items() if key not in _NOT_COPIED}}
    before = current.get(REVISION)
    fresh[REVISION] = str(revision)
    if before and before != str(revision):
        history = [item for item in (current.get(REVISION_HISTORY), before) if item]
        fresh[REVISION_HISTORY] = _newest(",".join(history))
    return fresh


def with_sizes(current: Mapping[str, str], desired: int, maximum: int) -> dict[str, str]:
    return {**current, DESIRED_REPLICAS: str(desired), MAX_REPLICAS: str(maximum)}


def _newest(history: str) -> str:
    """The end of a history that is too long, from a whole number on."""
    if len(history) <= HISTORY_CHARS:
        return history
    return history[-HISTORY_CHARS:].partition(",")[2]
