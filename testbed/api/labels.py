"""Label and annotation keys that we put on API objects and on everything we make in an engine.

An engine object belongs to an instance when it carries ``INSTANCE=<instance id>``; nothing else is ever touched.
A killed agent finds its pods again by these labels alone.
"""

from __future__ import annotations

# On engine objects (containers, networks, images).
INSTANCE = "testbed.io/instance"  # the instance's id, not its name
INSTANCE_NAME = "testbed.io/instance-name"
ROLE = "testbed.io/role"  # one of the ROLE_* values
NODE = "testbed.io/node"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_NAME = "io.kubernetes.pod.name"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
ATTEMPT = "testbed.io/attempt"  # restart number, "0" for the first
SPEC_HASH = "testbed.io/spec-hash"
POD_IP = "testbed.io/pod-ip"
REGISTRY = "testbed.io/registry"  # on a registry: host and port before the names of its images
INJECTION = "testbed.io/injection"  # on a holder: which injection it holds
MONITORING = "testbed.io/monitoring"  # on what watches a cluster: prometheus, alertmanager, grafana
ADDRESS = "testbed.io/address"  # on the same: host and port on which it answers
JOINED = "testbed.io/joined"  # on a holder: id of the container whose namespaces it shares

ROLE_SANDBOX = "sandbox"
ROLE_CONTAINER = "container"
ROLE_GATEWAY = "gateway"
ROLE_HOLDER = "holder"  # holds a fault in force
ROLE_HELPER = "helper"  # does host acts for a user who is not root
ROLE_NETWORK = "network"
ROLE_VOLUME = "volume"  # what a PersistentVolume stands for
ROLE_REGISTRY = "registry"  # of images, of one cluster
ROLE_MONITORING = "monitoring"  # watches a cluster from outside
ROLE_PROXY = "proxy"  # a Service's address, where another orchestrator has none of its own
ROLE_NODE = "node"  # a node with an engine of its own

# On API objects.
HOSTNAME = "kubernetes.io/hostname"
REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
NODE_KIND = "testbed.io/node-kind"  # of a Node that has an engine of its own: engine
SUPERVISOR = "testbed.io/supervisor"  # of a Node whose containers another supervisor than ours looks after
SERVICE_NAME = "kubernetes.io/service-name"
POD_TEMPLATE_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
CONTROLLER_REVISION_HASH = "controller-revision-hash"  # on pods of a StatefulSet or DaemonSet
STATEFUL_POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
DRAIN_BEFORE_STOP = "testbed.io/drain-before-stop"  # on a pod: endpoints first, SIGTERM after
MONOTONIC_NS = "testbed.io/monotonic-ns"  # on an Event: CLOCK_MONOTONIC of what it tells, for timelines
ALERT_STARTS_AT = "testbed.io/alert-starts-at"  # on an Event that tells an alert: since when it fires
RUNBOOK = "testbed.io/runbook"  # on an Event that tells an alert: address of what to do, as its rule says it
ENDPOINTS = "testbed.io/endpoints"  # on EndpointsProgrammed: addresses in rotation from then on, comma separated
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # the manifest of the last `apply`
DISRUPTION = "testbed.io/disruption"  # on a fault object: name of the experiment step that made it
RUN = "testbed.io/run"

TAINT_NOT_READY = "node.kubernetes.io/not-ready"
TAINT_UNREACHABLE = "node.kubernetes.io/unreachable"
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
