"""Where a Service's traffic may go: its EndpointSlices and its (older) Endpoints object.

Decides: which pods are listed, with which conditions, in which slice. Endpoints stay in the slice they are in, so that
a change writes one slice. A Service without endpoints keeps one empty slice. Leaves to its loop: names, writing.

serving = pod Ready; terminating = being deleted; ready = serving and not terminating, or the Service publishes
unready addresses. Ended pods and pods without an address are not listed.

Source: kubernetes staging endpointslice/{reconciler,utils}.go, pkg/controller/endpoint/endpoints_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.api.core_v1 import Pod, Service, ServicePort
from testbed.api.labels import SERVICE_NAME
from testbed.api.meta import matches_labels

Json = dict[str, Any]
Ports = tuple[tuple[str, str, int], ...]  # name, protocol, number on the pod

MAX_ENDPOINTS = 100  # of one slice
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"


@dataclass(frozen=True)
class SlicePlan:
    """``create``: whole slices without a name; ``update``: whole slices as they shall be; ``delete``: names."""

    create: tuple[Json, ...] = ()
    update: tuple[Json, ...] = ()
    delete: tuple[str, ...] = ()
    reason: str = ""


def selects(service: Service, pod: Pod) -> bool:
    """Whether the pod is listed among the Service's endpoints at all."""
    return (
        pod.metadata.namespace == service.metadata.namespace and not pod.terminal and bool(pod.status.pod_ip)
        and matches_labels(service.spec.selector, pod.metadata.labels)
    )


def managed(service: Service) -> bool:
    """Services without a selector have endpoints that someone else writes; external names have none."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def plan_slices(service: Service, pods: Iterable[Pod], existing: Sequence[Mapping[str, Any]]) -> SlicePlan:
    """``existing``: all slices of the Service that we manage, as JSON."""
    wanted = _by_ports(service, pods) if not service.metadata.deleting else {}
    create: list[Json] = []
    update: list[Json] = []
    delete: list[str] = []
    placed: dict[Ports, list[tuple[Mapping[str, Any], list[Json]]]] = {}
    for item in sorted(existing, key=lambda each: str(each["metadata"]["name"])):
        ports = _slice_ports(item)
        endpoints = wanted.get(ports, {})
        kept = [endpoints.pop(uid) for uid in _uids(item) if uid in endpoints]
        placed.setdefault(ports, []).append((item, kept))
    for ports, slices in placed.items():
        rest = list(wanted.pop(ports, {}).values())
        for item, kept in slices:
            kept += rest[: MAX_ENDPOINTS - len(kept)]
            rest = [each for each in rest if each not in kept]
            if not kept:
                delete.append(str(item["metadata"]["name"]))
            elif _differs(item, kept, service):
                update.append(_slice(service, ports, kept, item))
        wanted[ports] = {str(index): each for index, each in enumerate(rest)}
    for ports, endpoints in wanted.items():
        rest = list(endpoints.values())
        create += [
            _slice(service, ports, rest[start: start + MAX_ENDPOINTS], None)
            for start in range(0, len(rest), MAX_ENDPOINTS)
        ]
    if not service.metadata.deleting and not create and len(delete) == len(existing):
        # kubernetes: endpointslice/reconciler.go, "we need to add a placeholder"
        kept_slice = min(existing, key=lambda item: str(item["metadata"]["name"]), default=None)
        empty = _slice(service, (), (), kept_slice)
        if kept_slice is None:
            create.append(empty)
        else:
            delete.remove(str(kept_slice["metadata"]["name"]))
            if _slice_ports(kept_slice) or _differs(kept_slice, (), service):
                update.append(empty)
    reason = f"{sum(len(item['endpoints']) for item in (*create, *update))} endpoints in changed slices"
    return SlicePlan(tuple(create), tuple(update), tuple(delete), reason)


def endpoints_object(service: Service, pods: Iterable[Pod]) -> Json:
    """The core Endpoints of a Service: terminating pods are dropped, unready ones listed apart, unless it publishes
    both."""
    subsets: dict[Ports, tuple[list[Json], list[Json]]] = {}
    publish = service.spec.publish_not_ready_addresses
    for pod in sorted(pods, key=lambda each: each.metadata.name):
        if not selects(service, pod) or (pod.metadata.deleting and not publish):
            continue
        good, bad = subsets.setdefault(_pod_ports(service, pod), ([], []))
        address = {"ip": pod.status.pod_ip, "nodeName": pod.spec.node_name, "targetRef": _target(pod)}
        if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
            address["hostname"] = pod.spec.hostname
        (good if pod.ready or publish else bad).append(address)
    return {
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": service.metadata.name, "namespace": service.metadata.namespace,
            "labels": {**service.metadata.labels, **({HEADLESS: ""} if service.spec.headless else {})},
        },
        "subsets": [
            {
                **({"addresses": good} if good else {}), **({"notReadyAddresses": bad} if bad else {}),
                "ports": _ports_json(ports),
            }
            for ports, (good, bad) in subsets.items()
        ],
    }


def _by_ports(service: Service, pods: Iterable[Pod]) -> dict[Ports, dict[str, Json]]:
    """Endpoints by pod UID, by the ports they have: a named port may be another number on another pod."""
    groups: dict[Ports, dict[str, Json]] = {}
    for pod in sorted(pods, key=lambda each: each.metadata.name):
        if selects(service, pod):
            groups.setdefault(_pod_ports(service, pod), {})[pod.metadata.uid] = _endpoint(service, pod)
    return groups


def _endpoint(service: Service, pod: Pod) -> Json:
    publish = service.spec.publish_not_ready_addresses
    endpoint: Json = {
        "addresses": [pod.status.pod_ip],
        "conditions": {
            "ready": publish or (pod.ready and not pod.metadata.deleting),
            "serving": pod.ready,
            "terminating": pod.metadata.deleting,
        },
        "targetRef": _target(pod),
        "nodeName": pod.spec.node_name,
    }
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        endpoint["hostname"] = pod.spec.hostname
    return endpoint


def _target(pod: Pod) -> Json:
    meta = pod.metadata
    return {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid}


def _pod_ports(service: Service, pod: Pod) -> Ports:
    """A named port that the pod does not have is left out for that pod."""
    ports = []
    for port in service.spec.ports:
        number = _port_number(port, pod)
        if number is not None:
            ports.append((port.name, port.protocol, number))
    return tuple(ports)


def _port_number(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port
    if target is None or target == "" or target == 0:
        return port.port
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    return next(
        (
            item.container_port for container in pod.spec.containers for item in container.ports
            if item.name == target and item.protocol == port.protocol
        ),
        None,
    )


def _ports_json(ports: Ports) -> list[Json]:
    return [{"name": name, "port": number, "protocol": protocol} for name, protocol, number in ports]


def _slice_ports(item: Mapping[str, Any]) -> Ports:
    return tuple(
        (str(port.get("name") or ""), str(port.get("protocol") or "TCP"), int(port.get("port") or 0))
        for port in item.get("ports") or ()
    )


def _uids(item: Mapping[str, Any]) -> list[str]:
    return [str((endpoint.get("targetRef") or {}).get("uid", "")) for endpoint in item.get("endpoints") or ()]


def _labels(service: Service) -> dict[str, str]:
    labels = {key: value for key, value in service.metadata.labels.items() if key not in (SERVICE_NAME, MANAGED_BY)}
    if service.spec.headless:
        labels[HEADLESS] = ""
    return {**labels, SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}


def _differs(item: Mapping[str, Any], endpoints: Sequence[Json], service: Service) -> bool:
    return list(item.get("endpoints") or ()) != list(endpoints) or item["metadata"].get("labels") != _labels(service)


def _slice(service: Service, ports: Ports, endpoints: Sequence[Json], existing: Mapping[str, Any] | None) -> Json:
    meta = service.metadata
    metadata: Json = dict(existing["metadata"]) if existing is not None else {
        "generateName": f"{meta.name}-", "namespace": meta.namespace,
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "Service", "name": meta.name, "uid": meta.uid, "controller": True,
            "blockOwnerDeletion": True,
        }],
    }
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": _labels(service)},
        "addressType": "IPv4", "endpoints": list(endpoints), "ports": _ports_json(ports),
    }
