"""All caches of the control plane, by kind, and the informers that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from testbed.api.apps_v1 import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from testbed.api.batch_v1 import CronJob, Job
from testbed.api.coordination_v1 import Lease
from testbed.api.core_v1 import Namespace, Node, Pod, Service
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.labels import SERVICE_NAME
from testbed.api.meta import Resource
from testbed.api.policy_v1 import DisruptionBudget
from testbed.api.resources import (
    BUILT_IN,
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    ResourceType,
)
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment
from testbed.client.informer import Informer
from testbed.client.protocol import Client
from testbed.controlplane.cache import Cache
from testbed.controlplane.owners import controller_uid

Json = dict[str, Any]
WITH_CLAIMS = "with claims"  # index of pods: the namespace of those whose volumes name claims


def _namespace(json: Json) -> str:
    return str(json["metadata"].get("namespace", ""))


def _node(json: Json) -> str:
    return str((json.get("spec") or {}).get("nodeName") or "")


def _service(json: Json) -> str:
    return f"{_namespace(json)}/{(json['metadata'].get('labels') or {}).get(SERVICE_NAME, '')}"


def _uid(json: Json) -> str:
    return str(json["metadata"].get("uid", ""))


def _with_claims(json: Json) -> str:
    volumes = (json.get("spec") or {}).get("volumes") or ()
    return _namespace(json) if any(item.get("persistentVolumeClaim") for item in volumes) else ""


class Caches:
    """Events are not cached: nothing decides by them."""

    def __init__(self) -> None:
        self.pods = Cache(PODS, Pod, {
            "namespace": _namespace, "node": _node, "controller": controller_uid, WITH_CLAIMS: _with_claims})
        self.nodes = Cache(NODES, Node)
        self.services = Cache(SERVICES, Service, {"namespace": _namespace})
        self.slices = Cache(ENDPOINT_SLICES, EndpointSlice, {"service": _service})
        self.endpoints = Cache(ENDPOINTS, Resource)
        self.deployments = Cache(DEPLOYMENTS, Deployment, {"namespace": _namespace, "uid": _uid})
        self.replica_sets = Cache(
            REPLICA_SETS, ReplicaSet, {"namespace": _namespace, "controller": controller_uid, "uid": _uid}
        )
        self.stateful_sets = Cache(STATEFUL_SETS, StatefulSet, {"namespace": _namespace, "uid": _uid})
        self.daemon_sets = Cache(DAEMON_SETS, DaemonSet, {"namespace": _namespace, "uid": _uid})
        self.jobs = Cache(JOBS, Job, {"namespace": _namespace, "uid": _uid, "controller": controller_uid})
        self.cron_jobs = Cache(CRON_JOBS, CronJob, {"namespace": _namespace, "uid": _uid})
        self.controller_revisions = Cache(
            CONTROLLER_REVISIONS, ControllerRevision, {"namespace": _namespace, "controller": controller_uid}
        )
        self.leases = Cache(LEASES, Lease)
        self.namespaces = Cache(NAMESPACES, Namespace)
        self.budgets = Cache(DISRUPTION_BUDGETS, DisruptionBudget, {"namespace": _namespace})
        self.claims = Cache(PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim)
        self.volumes = Cache(PERSISTENT_VOLUMES, PersistentVolume)
        self.storage_classes = Cache(STORAGE_CLASSES, StorageClass)
        self.attachments = Cache(VOLUME_ATTACHMENTS, VolumeAttachment)
        known: tuple[Cache[Any], ...] = (
            self.pods, self.nodes, self.services, self.slices, self.endpoints, self.deployments, self.replica_sets,
            self.stateful_sets, self.daemon_sets, self.jobs, self.cron_jobs, self.controller_revisions,
            self.leases, self.namespaces, self.budgets, self.claims, self.volumes, self.storage_classes,
            self.attachments,
        )
        self.all: dict[str, Cache[Any]] = {cache.resource.group_resource: cache for cache in known}
        for resource in BUILT_IN:
            if resource not in (EVENTS, CUSTOM_RESOURCE_DEFINITIONS):
                self.all.setdefault(resource.group_resource, Cache(resource, Resource))

    def informers(self, client: Client, random: Random) -> list[Informer]:
        """One informer per cache, not running yet."""
        made = []
        for cache in self.all.values():
            informer = Informer(client, cache.resource, random=random, on_change=cache.heard)
            cache.informer = informer
            made.append(informer)
        return made

    def wrote(self, resource: ResourceType, json: Mapping[str, Any]) -> None:
        """The API answered a write of ours with ``json``."""
        cache = self.all.get(resource.group_resource)
        if cache is not None:
            cache.wrote(dict(json))

    def close(self) -> None:
        for cache in self.all.values():
            cache.close()
