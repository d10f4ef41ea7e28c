"""Which pods name a claim."""

from __future__ import annotations

from typing import Any

from testbed.api.core_v1 import Pod
from testbed.controlplane.caches import WITH_CLAIMS, Caches
from testbed.core.volume_scheduling import claim_names

Json = dict[str, Any]


def users_of(caches: Caches, claim: str) -> list[Pod]:
    """``claim``: ``namespace/name``."""
    namespace, _, name = claim.partition("/")
    return [pod for pod in caches.pods.by(WITH_CLAIMS, namespace) if name in claim_names(pod)]


def claims_in(pod: Json) -> list[str]:
    """Names of the claims that a pod's JSON names."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return [str(item["persistentVolumeClaim"].get("claimName", "")) for item in volumes
            if item.get("persistentVolumeClaim")]
