"""What every cluster has from the first day: namespaces, the system's priority classes, a default StorageClass,
Service ``kubernetes``."""

from __future__ import annotations

from testbed.api.resources import (
    INGRESS_CLASSES,
    NAMESPACES,
    PRIORITY_CLASSES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STORAGE_CLASSES,
)
from testbed.api.storage_v1 import DEFAULT_CLASS, PROVISIONER
from testbed.errors import AlreadyExists, NotFound
from testbed.server.admission import SYSTEM_PRIORITIES
from testbed.server.ingresses import CLASS
from testbed.server.registry import Registry

# kubernetes: pkg/apis/scheduling/v1/helpers.go
PRIORITIES = {
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
                               "another node if necessary.",
}
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
    for name, description in PRIORITIES.items():
        try:
            registry.create(PRIORITY_CLASSES, {
                "metadata": {"name": name}, "value": SYSTEM_PRIORITIES[name], "description": description})
        except AlreadyExists:
            pass
    try:
        registry.create(STORAGE_CLASSES, {
            "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS: "true"}}, "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"})
    except AlreadyExists:
        pass
    try:
        registry.create(INGRESS_CLASSES, CLASS)
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
