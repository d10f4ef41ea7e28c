"""One cluster on this machine: its name, identity, addresses, ports and where its state lies.

``testbed up`` writes ``instance.json`` once; every process of the cluster is started with ``--instance DIR`` and reads
it. Nodes are added and removed through the machine room, which alone rewrites the file. How: ``instance_files``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from testbed.errors import InvalidInput

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_MEMORY = Path("/dev/shm")
SLICE, ENGINE = "slice", "engine"  # kinds of node: a share of the machine's engine, or an engine of its own
NODE_KINDS = (SLICE, ENGINE)
TESTBED = "testbed"  # the supervisor that is our own: controllers, agents, gateway
SWARM = "swarm"
SWARM_NETWORK_PART = "pods-of-this-node"  # a node's own part of the network that a swarm's tasks are on
MACHINE_ENGINE = "/run/testbed/machine-engine.sock"  # as the agent of a node of kind engine sees it
_FIRST_UPLINK = 100  # address .0.<this + k> of the k-th node, where it has an engine of its own


def memory_directory(instance_id: str) -> Path:
    """Where emptyDirs of medium Memory of one cluster lie, a directory per node: the machine's own tmpfs."""
    return _MEMORY / f"testbed-{instance_id}"


@dataclass(frozen=True)
class NodeInstance:
    """A node: its range of pod addresses and its ports on 127.0.0.1.

    ``agent_port``: where the agent itself listens (TLS). ``to_agent_port`` and ``to_api_port``: the two ends of its
    cable; the API reaches the agent through the first, the agent reaches the API through the second.
    """

    name: str
    pod_cidr: str
    agent_port: int
    to_agent_port: int
    to_api_port: int
    kind: str = SLICE
    cpu: str = ""  # quantity; "" is the machine's
    memory: str = ""
    disk: str = ""  # for its pods' volumes and logs; "" is the machine's
    zone: str = ""  # "" where the cluster has no zones


@dataclass(frozen=True)
class Instance:
    """``directory``: state (0700). ``subnet``: a free /16, lower half pods, upper half Services."""

    name: str
    id: str  # 12 hex digits, new for each `up`
    directory: Path
    subnet: str
    api_port: int
    node_ports: tuple[int, ...]  # 16 ports published on 127.0.0.1
    profile: str = "fast"
    allow_privileged: bool = False  # containers that ask for it get it
    engine_url: str = ""  # "" is the environment's engine
    nodes: tuple[NodeInstance, ...] = field(default=())
    ingress_ports: tuple[int, ...] = ()  # on 127.0.0.1: of Ingresses, HTTP and HTTPS
    zones: int = 0  # how many; 0: its nodes name none
    supervisor: str = TESTBED  # who looks after its containers; another one has a driver (testbed.supervisors)
    supervisor_options: dict[str, str] = field(default_factory=dict, hash=False)
    driver_port: int = 0  # where a driver serves its containers' logs, as an agent does

    @property
    def foreign(self) -> bool:
        """Another orchestrator runs its containers: it has a driver and no agents, controllers and gateway of ours."""
        return self.supervisor != TESTBED

    @property
    def routed(self) -> bool:
        """The gateway is the router of its pods and holds its Services' addresses: where nodes have engines of their
        own there is no network that a Service's address and its containers share."""
        return self.supervisor in (TESTBED, SWARM) or any(node.kind == ENGINE for node in self.nodes)

    @property
    def platform(self) -> str:
        """What an experiment calls it: the supervisor and which of its switches are on, as ``compose-autoheal``."""
        switched_on = sorted(name for name, value in self.supervisor_options.items() if value == "true")
        return "-".join((self.supervisor, *switched_on))

    # --- addresses

    @property
    def pod_range(self) -> str:
        return str(next(ipaddress.IPv4Network(self.subnet).subnets(prefixlen_diff=1)))

    @property
    def service_range(self) -> str:
        return str(list(ipaddress.IPv4Network(self.subnet).subnets(prefixlen_diff=1))[1])

    @property
    def host_address(self) -> str:
        """The engine bridge's own address, ``x.y.0.1``: this machine, as pods see it."""
        return str(ipaddress.IPv4Network(self.subnet)[1])

    @property
    def gateway_address(self) -> str:
        """``x.y.0.2``: the pods' router, which holds the ClusterIPs and answers DNS."""
        return str(ipaddress.IPv4Network(self.subnet)[2])

    @property
    def registry_address(self) -> str:
        """``x.y.0.3``: the cluster's own registry of images, where it has one."""
        return str(ipaddress.IPv4Network(self.subnet)[3])

    @property
    def kubernetes_service_address(self) -> str:
        return str(ipaddress.IPv4Network(self.service_range)[1])

    @property
    def dns_address(self) -> str:
        """ClusterIP of kube-dns, ``.10`` of the Service range."""
        return str(ipaddress.IPv4Network(self.service_range)[10])

    def pod_cidr(self, index: int) -> str:
        """The /24 of the index-th node (1-based; the first /24 is the gateway's)."""
        return str(list(ipaddress.IPv4Network(self.pod_range).subnets(new_prefix=24))[index])

    @staticmethod
    def node_address(pod_cidr: str) -> str:
        """A node's own address, ``.1`` of its range. The gateway answers for it."""
        return str(ipaddress.IPv4Network(pod_cidr)[1])

    def uplink_address(self, pod_cidr: str) -> str:
        """The address of a node of kind engine on the cluster's network, in the gateway's /24: its pods are behind
        it."""
        first, own = (int(ipaddress.IPv4Network(range_).network_address) for range_ in (self.pod_range, pod_cidr))
        return str(ipaddress.IPv4Network(self.subnet)[_FIRST_UPLINK + (own - first) // 256])

    @staticmethod
    def router_address(pod_cidr: str) -> str:
        """What the pods of a node of kind engine are routed by: the last address of its range."""
        return str(ipaddress.IPv4Network(pod_cidr)[-2])

    # --- names of what is made in an engine and on the host

    @property
    def network(self) -> str:
        return f"testbed-{self.name}"

    @property
    def bridge(self) -> str:
        """The host's bridge interface; at most 15 characters."""
        return f"tb-{self.id}"

    @property
    def gateway_container(self) -> str:
        return f"testbed-{self.name}-gateway"

    @property
    def cgroup(self) -> str:
        """Parent of all cgroups of this instance. A node's is ``<this>/<node>``."""
        return f"/testbed-{self.id}"

    def node_cgroup(self, node: str) -> str:
        return f"{self.cgroup}/{node}"

    @property
    def control_plane_cgroup(self) -> str:
        """Of the API's process. No node can have that name."""
        return f"{self.cgroup}/_api"

    def node(self, name: str) -> NodeInstance:
        for node in self.nodes:
            if node.name == name:
                return node
        raise InvalidInput(f"there is no node {name!r} in cluster {self.name!r}",
                           hint="nodes: " + ", ".join(node.name for node in self.nodes))

    # --- files

    @property
    def file(self) -> Path:
        return self.directory / "instance.json"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def database(self) -> Path:
        return self.directory / "store.sqlite"

    @property
    def ca_certificate(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def certificate(self) -> Path:
        """Server certificate of the API and of agents (127.0.0.1, localhost)."""
        return self.directory / "server.crt"

    @property
    def certificate_key(self) -> Path:
        return self.directory / "server.key"

    @property
    def token_file(self) -> Path:
        """Bearer token of people and of our own processes towards the API."""
        return self.directory / "token"

    @property
    def agent_token_file(self) -> Path:
        """Bearer token of the API towards agents."""
        return self.directory / "agent-token"

    @property
    def room_socket(self) -> Path:
        """The machine room's control socket."""
        return self.directory / "room.sock"

    def cable_socket(self, node: str) -> Path:
        return self.directory / f"cable-{node}.sock"

    def node_socket(self, node: str, use: str) -> Path:
        """Of a node of kind engine: ``control``, its ``engine``, and its end of the cable: ``agent`` and ``api``."""
        return self.directory / f"node-{node}.{use}"

    @property
    def gateway_directory(self) -> Path:
        """Mounted into the gateway container; holds its unix socket ``control.sock``."""
        return self.directory / "gateway"

    def node_directory(self, node: str) -> Path:
        """An agent's own files: volumes, termination logs, checkpoint."""
        return self.directory / "nodes" / node

    @property
    def ledger(self) -> Path:
        """The chaos daemon's journal of injections."""
        return self.directory / "ledger.sqlite"

    @property
    def runs(self) -> Path:
        return self.directory / "runs"

    def log_file(self, process: str) -> Path:
        """Log of one process: ``room``, ``api``, ``agent-<node>``, ``cable-<node>``, ``chaos``."""
        return self.directory / "logs" / f"{process}.log"

    # --- its nodes

    def next_zone(self) -> str:
        """The zone of the next node: the first of those with the fewest; "" where there are none."""
        counts = {f"zone-{k}": 0 for k in range(1, self.zones + 1)}
        for node in self.nodes:
            if node.zone in counts:
                counts[node.zone] += 1
        return min(counts, key=lambda zone: counts[zone], default="")

    def with_nodes(self, nodes: tuple[NodeInstance, ...]) -> Instance:
        return replace(self, nodes=nodes)


def check_name(name: str) -> str:
    """Raises: InvalidInput when ``name`` cannot name a cluster or node."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot be a name", hint="use a-z, 0-9 and '-', at most 32 characters")
    return name
