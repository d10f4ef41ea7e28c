"""What placements are decided by: nodes with their pods and the room that is left, kept up to date by its loop.

Totals are kept as pods come and go, so that a placement costs by nodes and not by pods.
Source: kubernetes pkg/scheduler/framework/types.go NodeInfo, backend/cache; util/pod_resources.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from testbed.api.core_v1 import Container, Node, Pod
from testbed.core.host_ports import HostPort, host_ports
from testbed.core.quantities import Amounts, amounts, container_requests, pod_requests
from testbed.core.scheduling_terms import Terms, terms_of

DEFAULT_CPU = Decimal("0.1")  # of containers that ask for nothing, for scoring only
DEFAULT_MEMORY = Decimal(200 * 1024 * 1024)
ZERO = Decimal(0)
Kind = tuple[str, frozenset[tuple[str, str]]]  # namespace and labels: what replicas have alike


@dataclass(frozen=True)
class PodInfo:
    """``cpu`` and ``memory``: what scores count, where a container that asks for nothing counts something."""

    pod: Pod
    requests: Amounts
    cpu: Decimal
    memory: Decimal
    host_ports: tuple[HostPort, ...]
    terms: Terms
    kind: Kind

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    @property
    def priority(self) -> int:
        return self.pod.spec.priority


def info_of(pod: Pod) -> PodInfo:
    requests = pod_requests(pod)
    scored = [container_requests(item) for item in _running_together(pod)]
    cpu = sum((item.get("cpu") or DEFAULT_CPU for item in scored), ZERO)
    memory = sum((item.get("memory") or DEFAULT_MEMORY for item in scored), ZERO)
    ports = host_ports(pod.spec)
    return PodInfo(
        pod, {name: amount for name, amount in requests.items() if amount > 0},
        max(cpu, requests.get("cpu", ZERO)), max(memory, requests.get("memory", ZERO)), ports, terms_of(pod),
        (pod.metadata.namespace, frozenset(pod.metadata.labels.items())),
    )


def _running_together(pod: Pod) -> list[Container]:
    sidecars = [item for item in pod.spec.init_containers if item.restart_policy == "Always"]
    return [*pod.spec.containers, *sidecars]


class NodeInfo:
    """A node and the pods on it, terminating ones too: they take room until they are gone."""

    def __init__(self, node: Node, pods: Iterable[PodInfo] = ()) -> None:
        self.node = node
        self.name = node.metadata.name
        self.labels = node.metadata.labels
        self.room = amounts(node.status.allocatable or node.status.capacity)
        self.pods: dict[str, PodInfo] = {}
        self.affine: dict[str, PodInfo] = {}  # those with affinity terms
        self.kinds: Counter[Kind] = Counter()  # of pods that are not on their way out
        self.requested: Amounts = {}
        self.cpu = self.memory = ZERO
        for info in pods:
            self.add(info)

    def add(self, info: PodInfo) -> None:
        if info.uid in self.pods:
            self.remove(info.uid)
        self.pods[info.uid] = info
        if info.terms.any:
            self.affine[info.uid] = info
        self._count(info, 1)

    def remove(self, uid: str) -> None:
        info = self.pods.pop(uid, None)
        if info is not None:
            self.affine.pop(uid, None)
            self._count(info, -1)

    def _count(self, info: PodInfo, sign: int) -> None:
        if not info.pod.metadata.deleting:
            self.kinds[info.kind] += sign
            if not self.kinds[info.kind]:
                del self.kinds[info.kind]
        for name, amount in info.requests.items():
            self.requested[name] = self.requested.get(name, ZERO) + sign * amount
        self.cpu += sign * info.cpu
        self.memory += sign * info.memory

    def copy(self) -> NodeInfo:
        return NodeInfo(self.node, self.pods.values())


class ClusterState:
    """All nodes. ``namespaces``: labels by namespace. Pods of a node that is not known wait until it is."""

    def __init__(self, nodes: Iterable[Node] = (), pods: Iterable[Pod] = ()) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.nominated: dict[str, tuple[str, PodInfo]] = {}  # by UID: pods that made room on a node, and that node
        self._pods: dict[str, tuple[str, PodInfo]] = {}
        for node in nodes:
            self.put_node(node)
        for pod in pods:
            self.put_pod(pod)

    def put_node(self, node: Node) -> None:
        name = node.metadata.name
        known = self.nodes.get(name)
        pods = known.pods.values() if known is not None else [
            info for home, info in self._pods.values() if home == name
        ]
        self.nodes[name] = NodeInfo(node, list(pods))

    def drop_node(self, name: str) -> None:
        self.nodes.pop(name, None)

    def put_pod(self, pod: Pod, node: str = "") -> None:
        """``node``: where it is, or will be in a moment. A pod that has ended takes no room."""
        home = node or pod.spec.node_name
        self.drop_pod(pod.metadata.uid)
        if home and not pod.terminal:
            info = info_of(pod)
            self._pods[info.uid] = (home, info)
            if home in self.nodes:
                self.nodes[home].add(info)

    def drop_pod(self, uid: str) -> None:
        home, _ = self._pods.pop(uid, ("", None))
        if home in self.nodes:
            self.nodes[home].remove(uid)

    def nominate(self, pod: Pod, node: str) -> None:
        """``node``: where room is being made for it; ``""`` for none."""
        self.nominated.pop(pod.metadata.uid, None)
        if node:
            self.nominated[pod.metadata.uid] = (node, info_of(pod))

    def nominated_on(self, node: str, pod: PodInfo) -> list[PodInfo]:
        """Pods that room is being made for and that ``pod`` may not take it from."""
        return [info for home, info in self.nominated.values()
                if home == node and info.uid != pod.uid and info.priority >= pod.priority]

    def with_node(self, node: NodeInfo) -> ClusterState:
        """The same cluster with another state of one node."""
        other = ClusterState()
        other.nodes = {**self.nodes, node.name: node}
        other.namespaces, other.nominated = self.namespaces, self.nominated
        return other
