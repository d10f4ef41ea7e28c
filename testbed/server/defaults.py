"""What is filled in where a manifest says nothing, by kind. Pure: changes the JSON it is given.

Sources: kubernetes pkg/apis/core/v1/defaults.go, pkg/apis/apps/v1/defaults.go, pkg/apis/rbac/v1/defaults.go,
apiextensions pkg/apis/apiextensions/v1/defaults.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api import resources as r
from testbed.server.autoscalers import autoscaler_defaults
from testbed.server.policies import limit_range_defaults
from testbed.server.validation_jobs import job_defaults, name_job_labels
from testbed.server.validation_storage import DEFAULTS as STORAGE_DEFAULTS
from testbed.server.validation_storage import claim_template_defaults

Json = dict[str, Any]


def apply_defaults(group_resource: str, obj: Json) -> None:
    setter = _DEFAULTS.get(group_resource)
    if setter is not None:
        setter(obj)


def _map(obj: Json, key: str) -> Json:
    value = obj.get(key)
    if not isinstance(value, dict):
        value = obj[key] = {}
    return value


def _fill(obj: Json, **values: Any) -> None:
    for key, value in values.items():
        obj.setdefault(key, value)


# --- pods


def pod_spec(spec: Json) -> None:
    _fill(spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst",
          schedulerName="default-scheduler")
    spec.setdefault("securityContext", {})
    for container in spec.get("containers") or ():
        _container(container)
    for container in spec.get("initContainers") or ():
        _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    if spec.get("hostNetwork"):
        for container in spec.get("containers") or ():
            for port in container.get("ports") or ():
                port.setdefault("hostPort", port.get("containerPort"))
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]


def _container(container: Json) -> None:
    _fill(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    container.setdefault("resources", {})
    container.setdefault("imagePullPolicy", pull_policy(str(container.get("image", ""))))
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for env in container.get("env") or ():
        reference = (env.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for hook in ("postStart", "preStop"):
        _http_get((container.get("lifecycle") or {}).get(hook) or {})


def pull_policy(image: str) -> str:
    """kubernetes: Always where the tag is ``latest`` or absent, else IfNotPresent."""
    last = image.rpartition("/")[2]
    if "@" in last:
        return "IfNotPresent"
    tag = last.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Json) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if probe[key] == 0:
            probe[key] = value
    _http_get(probe)
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _http_get(handler: Json) -> None:
    if isinstance(handler.get("httpGet"), dict):
        _fill(handler["httpGet"], path="/", scheme="HTTP")


def _volume(volume: Json) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", 0o644)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            if isinstance(item.get("fieldRef"), dict):
                item["fieldRef"].setdefault("apiVersion", "v1")
    if isinstance(volume.get("downwardAPI"), dict):
        for item in volume["downwardAPI"].get("items") or ():
            if isinstance(item.get("fieldRef"), dict):
                item["fieldRef"].setdefault("apiVersion", "v1")
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")


def _pod(obj: Json) -> None:
    spec = _map(obj, "spec")
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    grace_s = spec["terminationGracePeriodSeconds"]
    if isinstance(grace_s, int) and grace_s < 0:
        spec["terminationGracePeriodSeconds"] = 1  # kubernetes: a negative grace is the shortest there is
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        limits = (container.get("resources") or {}).get("limits")
        if limits:
            requests = _map(container["resources"], "requests")
            for name, value in limits.items():
                requests.setdefault(name, value)


def _template(spec: Json) -> None:
    template = _map(spec, "template")
    _map(template, "metadata")
    pod_spec(_map(template, "spec"))


# --- controllers


def _deployment(obj: Json) -> None:
    spec = _map(obj, "spec")
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _map(spec, "strategy")
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_map(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = _map(obj, "spec")
    spec.setdefault("replicas", 1)
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = _map(obj, "spec")
    _fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = _map(spec, "updateStrategy")
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _map(strategy, "rollingUpdate").setdefault("partition", 0)
    _fill(_map(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    for template in spec.get("volumeClaimTemplates") or ():
        claim_template_defaults(template)
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = _map(obj, "spec")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = _map(spec, "updateStrategy")
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_map(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    _template(spec)


def _job(obj: Json) -> None:
    spec = _map(obj, "spec")
    job_defaults(spec)
    _template(spec)
    name_job_labels(obj)


def _cron_job(obj: Json) -> None:
    spec = _map(obj, "spec")
    _fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    job = _map(_map(spec, "jobTemplate"), "spec")
    if isinstance(job.get("template"), dict):
        _map(job["template"], "metadata")
        pod_spec(_map(job["template"], "spec"))


# --- Services, config, the rest


def _service(obj: Json) -> None:
    spec = _map(obj, "spec")
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        _map(_map(spec, "sessionAffinityConfig"), "clientIP").setdefault("timeoutSeconds", 10800)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
        if spec["type"] in ("NodePort", "LoadBalancer"):
            _fill(spec, externalTrafficPolicy="Cluster")
        if spec["type"] == "LoadBalancer":
            _fill(spec, allocateLoadBalancerNodePorts=True)


def _secret(obj: Json) -> None:
    obj.setdefault("type", "Opaque")


def _namespace(obj: Json) -> None:
    _map(_map(obj, "metadata"), "labels")["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _role_binding(obj: Json) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        reference.setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _endpoint_slice(obj: Json) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    if obj.get("endpoints") is None:
        obj["endpoints"] = []


def _endpoints(obj: Json) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _priority_class(obj: Json) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _definition(obj: Json) -> None:
    spec = _map(obj, "spec")
    names = _map(spec, "names")
    kind = str(names.get("kind", ""))
    _fill(names, singular=kind.lower(), listKind=f"{kind}List")
    _fill(_map(spec, "conversion"), strategy="None")


_DEFAULTS: dict[str, Callable[[Json], None]] = {
    r.PODS.group_resource: _pod,
    r.DEPLOYMENTS.group_resource: _deployment,
    r.REPLICA_SETS.group_resource: _replica_set,
    r.STATEFUL_SETS.group_resource: _stateful_set,
    r.DAEMON_SETS.group_resource: _daemon_set,
    r.JOBS.group_resource: _job,
    r.CRON_JOBS.group_resource: _cron_job,
    r.SERVICES.group_resource: _service,
    r.SECRETS.group_resource: _secret,
    r.LIMIT_RANGES.group_resource: limit_range_defaults,
    r.AUTOSCALERS.group_resource: autoscaler_defaults,
    r.NAMESPACES.group_resource: _namespace,
    r.ROLE_BINDINGS.group_resource: _role_binding,
    r.CLUSTER_ROLE_BINDINGS.group_resource: _role_binding,
    r.ENDPOINT_SLICES.group_resource: _endpoint_slice,
    r.ENDPOINTS.group_resource: _endpoints,
    **STORAGE_DEFAULTS,
    r.PRIORITY_CLASSES.group_resource: _priority_class,
    r.CUSTOM_RESOURCE_DEFINITIONS.group_resource: _definition,
}
