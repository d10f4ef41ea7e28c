"""The columns of each kind's table and how an object fills them.

Source: kubernetes pkg/printers/internalversion/printers.go (v1.32). A row is as long as its columns; priority 1 is
``-o wide``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.server.autoscalers import AUTOSCALER_PRINTERS
from testbed.server.human import since
from testbed.server.ingresses import INGRESS_PRINTERS
from testbed.server.policies import POLICY_PRINTERS
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.printing_pods import POD_COLUMNS, pod_row
from testbed.server.printing_storage import STORAGE_PRINTERS
from testbed.server.printing_workloads import WORKLOAD_PRINTERS
from testbed.server.scaling import selector_text

Json = dict[str, Any]


def _service(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balanced = ",".join(item.get("ip") or item.get("hostname", "") for item in given) or "<pending>"
    external = {"LoadBalancer": balanced, "ExternalName": spec.get("externalName", "")}.get(kind, "<none>")
    if spec.get("externalIPs"):
        external = ",".join(spec["externalIPs"])
    ports = ",".join(
        f"{port.get('port')}" + (f":{port['nodePort']}" if port.get("nodePort")
                                 else "") + f"/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()) or "<none>"
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())) or "<none>"
    return [name_of(obj), kind, spec.get("clusterIP") or "<none>", external, ports, age_of(obj, now), selector]


def _node(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = next((item for item in status.get("conditions") or () if item.get("type") == "Ready"), None)
    words = ["Ready" if ready and ready.get("status") == "True" else "NotReady" if ready else "Unknown"]
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key[len(prefix):] for key in labels if key.startswith(prefix) and key != prefix)
    addresses = {item.get("type"): item.get("address") for item in status.get("addresses") or ()}
    info = status.get("nodeInfo") or {}

    def told(key: str) -> str:
        return info.get(key) or "<unknown>"

    return [name_of(obj), ",".join(words), ",".join(roles) or "<none>", age_of(obj, now),
            info.get("kubeletVersion", ""),
            addresses.get("InternalIP") or "<none>", addresses.get("ExternalIP") or "<none>", told("osImage"),
            told("kernelVersion"), told("containerRuntimeVersion")]


def _event(obj: Json, now: datetime) -> list[Any]:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime") or first
    component, host = source.get("component") or obj.get("reportingComponent") or "", source.get("host") or ""
    return [since(last, now), obj.get("type", ""), obj.get("reason", ""),
            f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}", involved.get("fieldPath", ""),
            f"{component}, {host}" if host else component, str(obj.get("message", "")).strip(), since(first, now),
            series.get("count") or obj.get("count") or 1, name_of(obj)]


def _namespace(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), (obj.get("status") or {}).get("phase", ""), age_of(obj, now)]


def _secret(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age_of(obj, now)]


def _config_map(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age_of(obj, now)]


def _service_account(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), age_of(obj, now)]


def _endpoints(obj: Json, now: datetime) -> list[Any]:
    found = [f"{address.get('ip')}:{port.get('port')}" for subset in obj.get("subsets") or ()
             for port in subset.get("ports") or () for address in subset.get("addresses") or ()]
    return [name_of(obj), _some(found), age_of(obj, now)]


def _some(items: list[str], limit: int = 3) -> str:
    if not items:
        return "<none>"
    return ",".join(items[:limit]) + (f" + {len(items) - limit} more..." if len(items) > limit else "")


def _endpoint_slice(obj: Json, now: datetime) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    unset = [text.replace("<none>", "<unset>") for text in (_some(ports), _some(addresses))]
    return [name_of(obj), obj.get("addressType", ""), *unset, age_of(obj, now)]


def _lease(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity", ""), age_of(obj, now)]


def _budget(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [name_of(obj), "N/A" if least is None else str(least), "N/A" if most is None else str(most),
            status.get("disruptionsAllowed", 0), age_of(obj, now)]


def _network_policy(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), selector_text((obj.get("spec") or {}).get("podSelector") or {}) or "<none>", age_of(obj, now)]


def _binding(obj: Json, now: datetime) -> list[Any]:
    role = obj.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for item in obj.get("subjects") or ():
        text = item.get("name")
        if item.get("kind") == "ServiceAccount":
            text = f"{item.get('namespace', '')}/{text}"
        subjects.setdefault(str(item.get("kind")), []).append(str(text))
    return [name_of(obj), f"{role.get('kind', '')}/{role.get('name', '')}", age_of(obj, now),
            ", ".join(subjects["User"]), ", ".join(subjects["Group"]), ", ".join(subjects["ServiceAccount"])]


def _created(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp", "")]


def _priority_class(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("value", 0), str(bool(obj.get("globalDefault"))).lower(), age_of(obj, now)]


_BINDING = ("Name", "Role", "Age", "Users*", "Groups*", "ServiceAccounts*")

PRINTERS: dict[str, Printer] = {
    r.PODS.group_resource: Printer(POD_COLUMNS, pod_row),
    **WORKLOAD_PRINTERS,
    **STORAGE_PRINTERS,
    **POLICY_PRINTERS,
    **INGRESS_PRINTERS,
    **AUTOSCALER_PRINTERS,
    r.SERVICES.group_resource: Printer(
        ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"), _service),
    r.NODES.group_resource: Printer(
        ("Name", "Status", "Roles", "Age", "Version", "Internal-IP*", "External-IP*", "OS-Image*", "Kernel-Version*",
         "Container-Runtime*"), _node),
    r.EVENTS.group_resource: Printer(
        ("Last Seen", "Type", "Reason", "Object", "Subobject*", "Source*", "Message", "First Seen*", "Count*#",
         "Name*"),
        _event),
    r.NAMESPACES.group_resource: Printer(("Name", "Status", "Age"), _namespace),
    r.SECRETS.group_resource: Printer(("Name", "Type", "Data#", "Age"), _secret),
    r.CONFIG_MAPS.group_resource: Printer(("Name", "Data#", "Age"), _config_map),
    r.SERVICE_ACCOUNTS.group_resource: Printer(("Name", "Secrets#", "Age"), _service_account),
    r.ENDPOINTS.group_resource: Printer(("Name", "Endpoints", "Age"), _endpoints),
    r.ENDPOINT_SLICES.group_resource: Printer(("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice),
    r.LEASES.group_resource: Printer(("Name", "Holder", "Age"), _lease),
    r.DISRUPTION_BUDGETS.group_resource: Printer(
        ("Name", "Min Available", "Max Unavailable", "Allowed Disruptions#", "Age"), _budget),
    r.NETWORK_POLICIES.group_resource: Printer(("Name", "Pod-Selector", "Age"), _network_policy),
    r.ROLES.group_resource: Printer(("Name", "Created At"), _created),
    r.CLUSTER_ROLES.group_resource: Printer(("Name", "Created At"), _created),
    r.ROLE_BINDINGS.group_resource: Printer(_BINDING, _binding),
    r.CLUSTER_ROLE_BINDINGS.group_resource: Printer(_BINDING, _binding),
    r.CUSTOM_RESOURCE_DEFINITIONS.group_resource: Printer(("Name", "Created At"), _created),
    r.PRIORITY_CLASSES.group_resource: Printer(("Name", "Value#", "Global-Default", "Age"), _priority_class),
}
