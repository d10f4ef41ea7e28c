"""Valid manifests of every kind that is served, and ways to spoil them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from server_world import definition, deployment, pod, service

from testbed.server.schema import Type, fields_of
from testbed.server.served import BUILT_IN, Served

Json = dict[str, Any]
Path = tuple[str | int, ...]

_META = {"name": "one"}
_TEMPLATE = deployment("one")["spec"]
_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}

RICH_POD = pod("one", **{
    "initContainers": [{"name": "side", "image": "sample:v1", "restartPolicy": "Always", "startupProbe": {
        "exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 3}}],
    "containers": [{
        "name": "main", "image": "sample:v1", "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}}, "readinessProbe": {"tcpSocket": {"port": 80}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": {"httpGet": {"port": 80}}},
        "volumeMounts": [{"name": "all", "mountPath": "/all"}], "securityContext": {"runAsUser": 1}}],
    "volumes": [{"name": "all", "projected": {"sources": [
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "a"}]}}, {"serviceAccountToken": {"path": "t"}},
        {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                                   "labelSelector": {"matchLabels": {"app": "one"}}}],
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchExpressions": [
                {"key": "a", "operator": "Exists"}]}}}]}},
    "readinessGates": [{"conditionType": "a.io/b"}], "securityContext": {"fsGroup": 1},
})

MANIFESTS: dict[str, Json] = {
    "pods": RICH_POD, "services": service("one", type="NodePort", sessionAffinity="ClientIP"),
    "deployments.apps": deployment("one", strategy={"rollingUpdate": {"maxSurge": 1}}),
    "replicasets.apps": deployment("one"),
    "statefulsets.apps": {"spec": {
        **_TEMPLATE, "serviceName": "one", "ordinals": {"start": 1}, "volumeClaimTemplates": [{
            "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                                                   "resources": {"requests": {"storage": "1Gi"}}}}]}},
    "daemonsets.apps": {"spec": {**_TEMPLATE, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}}}},
    "jobs.batch": {"spec": {
        "completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1, "podFailurePolicy": {"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]},
        "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]},
        "template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}}},
    "cronjobs.batch": {"spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Rome", "jobTemplate": {"spec": {
        "template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}}}}},
    "horizontalpodautoscalers.autoscaling": {"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {
            "type": "Utilization", "averageUtilization": 50}}}],
        "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}}},
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "one"}}}},
    "resourcequotas": {"spec": {"hard": {"pods": "3", "requests.cpu": "1"}, "scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1m"},
                                         "maxLimitRequestRatio": {"cpu": "100"}}]}},
    "configmaps": {"data": {"a": "b"}, "binaryData": {"c": "ZA=="}},
    "secrets": {"data": {"a": "ZA=="}, "stringData": {"b": "c"}, "type": "Opaque"},
    "nodes": {"spec": {"podCIDR": "10.1.0.0/24", "taints": [{"key": "a", "effect": "NoExecute"}]},
              "status": {"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]}},
    "persistentvolumes": {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {
        "driver": "volumes.testbed.io", "volumeHandle": "v"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}},
    "persistentvolumeclaims": {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "x", "resources": {
        "requests": {"storage": "1Gi"}}, "selector": {"matchLabels": {"a": "b"}}}},
    "storageclasses.storage.k8s.io": {"provisioner": "a.io/b", "parameters": {"a": "b"}},
    "volumeattachments.storage.k8s.io": {"spec": {"attacher": "a.io", "nodeName": "n", "source": {
        "persistentVolumeName": "v"}}},
    "ingresses.networking.k8s.io": {"spec": {
        "tls": [{"hosts": ["a.io"], "secretName": "s"}], "defaultBackend": _BACKEND,
        "rules": [{"host": "a.io", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": _BACKEND}]}}]}},
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "a.io/b"}},
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}},
    "events": {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "one"}, "reason": "R", "count": 1},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
    "endpointslices.discovery.k8s.io": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.1.1"]}],
                                        "ports": [{"port": 80}]},
    "controllerrevisions.apps": {"revision": 1, "data": {"spec": {}}},
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 3,
                                            "renewTime": "2026-01-01T00:00:00.000000Z"}},
    "priorityclasses.scheduling.k8s.io": {"value": 3},
    "roles.rbac.authorization.k8s.io": {"rules": [{"verbs": ["get"], "resources": ["pods"], "apiGroups": [""]}]},
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": {"kind": "Role", "name": "a"}, "subjects": [
        {"kind": "User", "name": "u"}]},
    "clusterroles.rbac.authorization.k8s.io": {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/"]}]},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": {"kind": "ClusterRole", "name": "a"}},
    "namespaces": {}, "serviceaccounts": {"secrets": [{"name": "s"}]},
    "customresourcedefinitions.apiextensions.k8s.io": definition({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}}},
        subresources={"status": {}}, additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": ".spec.a"}]),
}


def manifest(served: Served) -> Json:
    return {"apiVersion": served.resource.api_version, "kind": served.resource.kind,
            "metadata": dict(_META), **copy.deepcopy({key: item for key, item in MANIFESTS[served.key].items()
                                                      if key not in ("apiVersion", "kind")})}


# --- ways to spoil

ODD_TEXTS = st.sampled_from(["", " ", "-1", "0", "x" * 300, "a/b", "a/b/c", "../x", "\x00", "%", "150%", "1e999",
                             "1Gi", "nan", "inf", "None", "10.1.1.1", "2026-13-45T99:99:99Z", "Always", "*", "\ud800",
                             "A=B", "."])
ODD_NUMBERS = st.sampled_from([0, -1, 1, 2, 2**31, 2**63 - 1, -(2**63)])
ODD_THINGS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), ODD_TEXTS, ODD_NUMBERS, st.sampled_from([2**64, 10**400, 1.5, -0.0, 1e308]),
    st.sampled_from([[], {}, [[]], [[[1]]], [None], [{}], [{}, {}], {"": ""}, {"a": None}, {"a": {"a": [None]}},
                     ["", ""], [""], [0]]))


def places(value: Any, path: Path = ()) -> list[Path]:
    """The path of everything in a value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def put(value: Any, path: Path, thing: Any) -> None:
    """Where the way there still exists."""
    for key in path[:-1]:
        if not isinstance(value, dict | list):
            return
        try:
            value = value[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return
    try:
        value[path[-1]] = copy.deepcopy(thing)
    except (IndexError, TypeError):
        return


@st.composite
def of_type(draw: st.DrawFn, kind: Type, depth: int = 0) -> Any:
    """A value of the right type, whose content is seldom sensible."""
    if kind.form == "struct":
        fields = fields_of(kind.name)
        if depth > 5 or not fields:
            return {}
        names = draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True))
        return {name: draw(of_type(fields[name].type, depth + 1)) for name in names}
    if kind.form in ("list", "map"):
        assert kind.item is not None
        items = [draw(of_type(kind.item, depth + 1)) for _ in range(draw(st.integers(0, 2)))]
        return items if kind.form == "list" else dict(zip((draw(ODD_TEXTS), "a"), items, strict=False))
    if kind.form in ("s", "t"):
        return draw(ODD_TEXTS)
    if kind.form == "b":
        return draw(st.booleans())
    if kind.form == "i":
        return draw(ODD_NUMBERS)
    return draw(st.one_of(ODD_TEXTS, ODD_NUMBERS))


@st.composite
def additions(draw: st.DrawFn, obj: Json, name: str) -> list[tuple[Path, Any]]:
    """A field of the right type somewhere in an object of the type ``name``."""
    path: Path = ()
    kind, value = Type("struct", name=name), obj
    while True:
        if kind.form == "struct":
            known = fields_of(kind.name)
            if not known:
                return [(path, draw(ODD_THINGS))] if path else []
            here = [key for key in value if key in known and key not in ("apiVersion", "kind")] \
                if isinstance(value, dict) else []
            if not here or draw(st.integers(0, 3)) == 0:
                key = draw(st.sampled_from(sorted(known)))
                return [((*path, key), draw(of_type(known[key].type)))]
            key = draw(st.sampled_from(here))
            path, kind, value = (*path, key), known[key].type, value[key]
        elif kind.form == "list" and kind.item and isinstance(value, list) and value:
            index = draw(st.integers(0, len(value) - 1))
            path, kind, value = (*path, index), kind.item, value[index]
        else:
            return [(path, draw(of_type(kind)))]


@st.composite
def spoiled(draw: st.DrawFn, served: Served) -> Json:
    obj = manifest(served)
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            for path, thing in draw(additions(obj, served.type_name)):
                put(obj, path, thing)
        else:
            put(obj, draw(st.sampled_from(places(obj))), draw(ODD_THINGS))
    return obj


SERVED = {item.key: item for item in BUILT_IN}
