"""What every cluster has from the first day: its namespaces and the ``kubernetes`` Service."""

from __future__ import annotations

from testbed.api.resources import NAMESPACES, SERVICE_ACCOUNTS, SERVICES
from testbed.errors import AlreadyExists, NotFound
from testbed.server.registry import Registry

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def ensure_system_objects(registry: Registry, kubernetes_address: str) -> None:
    """Makes what is missing; may be called at every start."""
    for name in SYSTEM_NAMESPACES:
        try:
            registry.create(NAMESPACES, {"metadata": {"name": name}})
        except AlreadyExists:
            try:  # killed between the two writes of a first start
                registry.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, name)
            except AlreadyExists:
                pass
    try:
        # Looked up first: creating it again would be refused for its address, which it holds itself.
        registry.get(SERVICES, "kubernetes", "default")
    except NotFound:
        registry.create(SERVICES, {
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"clusterIP": kubernetes_address,
                     "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
        }, "default")
