"""Bad input of pods, what makes them, config, nodes, volumes and Services, field by field, in upstream's words.

Source: kubernetes pkg/apis/{core,apps}/validation/validation_test.go. Jobs, autoscalers and budgets:
``test_server_refusals``.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from input_world import SERVED, Json, manifest, put
from server_world import make_registry

from testbed.errors import Invalid
from testbed.server.options import WriteOptions

MAIN = ("spec", "containers", 0)
HERE = "spec.containers[0]"
SIDE = ("spec", "initContainers", 0)
TEMPLATE = ("spec", "template", "spec")
ENV = (*MAIN, "env", 0, "valueFrom")
FILE = ("spec", "volumes", 0, "projected", "sources", 2, "downwardAPI", "items", 0)
FILES = "spec.volumes[0].projected.sources[2].downwardAPI"
SPREAD = ("spec", "topologySpreadConstraints", 0)
NUMBERS = "must be between 0 and 2147483647, inclusive"


def told(key: str, path: tuple[str | int, ...], value: Any) -> list[str]:
    served = SERVED[key]
    obj = manifest(served)
    put(obj, path, value)
    with pytest.raises(Invalid) as refused:
        make_registry().create(served.resource, obj, "default" if served.resource.namespaced else None)
    assert refused.value.code == 422
    return [f"{item['field']}: {item['message']}" for item in refused.value.details["causes"]]


def ports(*given: Json) -> list[Json]:
    return [{"containerPort": 80, "hostPort": 8080, **item} for item in given]


@pytest.mark.parametrize(("path", "value", "expected"), [
    ((*MAIN, "restartPolicy"), "Always", f"{HERE}.restartPolicy: Forbidden: may not be set for non-init containers"),
    ((*SIDE, "restartPolicy"), "Never",
     'spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"'),
    (SIDE, {"name": "i", "image": "x", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
     "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"),
    (SIDE, {"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 1}}},
     "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init "
     "containers without restartPolicy=Always"),
    ((*MAIN, "lifecycle"), {"preStop": {"sleep": {"seconds": 31}}},
     f"{HERE}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
     "terminationGracePeriodSeconds (30)"),
    ((*MAIN, "lifecycle"), {"preStop": {"sleep": {"seconds": -1}}},
     f"{HERE}.lifecycle.preStop.sleep: Invalid value: -1: must be non-negative and less than "
     "terminationGracePeriodSeconds (30)"),
    ((*MAIN, "lifecycle"), {"postStart": {}},
     f"{HERE}.lifecycle.postStart: Required value: must specify a handler type"),
    ((*MAIN, "lifecycle"), {"postStart": {"exec": {"command": ["a"]}, "httpGet": {"port": 1}}},
     f"{HERE}.lifecycle.postStart.httpGet: Forbidden: may not specify more than 1 handler type"),
    ((*MAIN, "livenessProbe", "terminationGracePeriodSeconds"), 0,
     f"{HERE}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"),
    ((*MAIN, "readinessProbe", "terminationGracePeriodSeconds"), 3,
     f"{HERE}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes"),
    ((*MAIN, "livenessProbe", "successThreshold"), 2,
     f"{HERE}.livenessProbe.successThreshold: Invalid value: 2: must be 1"),
    ((*MAIN, "ports"), ports({}, {"containerPort": 81}), f'{HERE}.ports[1].hostPort: Duplicate value: "TCP//8080"'),
    ((*MAIN, "ports"), ports({"hostPort": 65536}),
     f"{HERE}.ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive"),
    (("spec", "hostNetwork"), True,
     f"{HERE}.ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true"),
    ((*ENV, "fieldRef"), {"fieldPath": "spec.replicas"},
     f'{HERE}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.replicas": error converting fieldPath: field '
     "label not supported: spec.replicas"),
    ((*ENV, "fieldRef"), {"fieldPath": "metadata.labels"},
     f'{HERE}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
     '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
     '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'),
    ((*ENV, "fieldRef"), {"fieldPath": "metadata.name['a']"},
     f'{HERE}.env[0].valueFrom.fieldRef: Invalid value: "metadata.name": does not support subscript'),
    (ENV, {"resourceFieldRef": {"resource": "limits.disk"}},
     f'{HERE}.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.disk": supported values: '
     '"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", '
     '"requests.memory"'),
    (ENV, {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}},
     f'{HERE}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 '
     "are supported with the cpu resource"),
    (FILE, {"path": "l"}, f"{FILES}[0]: Required value: one of fieldRef and resourceFieldRef is required"),
    (FILE, {"path": "../l", "fieldRef": {"fieldPath": "metadata.labels"}},
     f"{FILES}.items[0].path: Invalid value: \"../l\": must not contain '..'"),
    (FILE, {"path": "l", "resourceFieldRef": {"resource": "limits.cpu"}},
     f"{FILES}.resourceFieldRef.containerName: Required value"),
    (FILE, {"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}},
     f'{FILES}.items[0].path: Invalid value: "a": conflicting duplicate paths'),
    (("spec", "volumes", 0, "projected", "sources", 0, "configMap", "items", 0), {"path": "a"},
     "spec.volumes[0].projected.sources[0].configMap.items[0].key: Required value"),
    (("spec", "volumes", 0, "projected", "defaultMode"), 0o1000,
     "spec.volumes[0].projected.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both "
     "inclusive"),
    (("spec", "volumes", 0, "projected", "sources", 1, "serviceAccountToken", "expirationSeconds"), 9,
     "spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 9: may not specify a "
     "duration less than 10 minutes"),
    ((*MAIN, "volumeMounts", 0), {"name": "none",
     "mountPath": "/a"}, f'{HERE}.volumeMounts[0].name: Not found: "none"'),
    ((*MAIN, "volumeMounts", 0), {"name": "all", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"},
     f'{HERE}.volumeMounts[0].subPathExpr: Invalid value: "c": subPathExpr and subPath are mutually exclusive'),
    ((*MAIN, "securityContext", "runAsUser"), -1, f"{HERE}.securityContext.runAsUser: Invalid value: -1: {NUMBERS}"),
    (("spec", "securityContext", "fsGroup"), 2**31,
     f"spec.securityContext.fsGroup: Invalid value: 2147483648: {NUMBERS}"),
    (("spec", "securityContext", "supplementalGroups"), [1, -2],
     f"spec.securityContext.supplementalGroups[1]: Invalid value: -2: {NUMBERS}"),
    ((*MAIN, "securityContext"), {"privileged": True, "allowPrivilegeEscalation": False},
     f'{HERE}.securityContext: Invalid value: {{"privileged": true, "allowPrivilegeEscalation": false}}: cannot set '
     "`allowPrivilegeEscalation` to false and `privileged` to true"),
    ((*MAIN, "resources"), {"limits": {"disk": "1"}},
     f'{HERE}.resources.limits[disk]: Invalid value: "disk": must be a standard resource for containers'),
    ((*MAIN, "resources"), {"requests": {"a.io/gpu": "1"}},
     f"{HERE}.resources.limits: Required value: Limit must be set for non overcommitable resources"),
    ((*MAIN, "resources"), {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
     f'{HERE}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
    ((*SPREAD, "maxSkew"), 0, "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
    ((*SPREAD, "topologyKey"), "", "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty"),
    ((*SPREAD, "whenUnsatisfiable"), "Maybe", 'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: '
                                              '"Maybe": supported values: "DoNotSchedule", "ScheduleAnyway"'),
    ((*SPREAD, "minDomains"), 0,
     "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero"),
    (("spec", "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", 0, "weight"), 101,
     "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
     "must be in the range 1-100"),
    (("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"), {},
     "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
     "must have at least one node selector term"),
    (("spec", "ephemeralContainers"), [{"name": "e", "image": "x"}],
     "spec.ephemeralContainers: Forbidden: cannot be set on create"),
    (("spec", "dnsPolicy"), "None",
     "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    (("spec", "hostAliases"), [{"ip": "here"}],
     'spec.hostAliases[0].ip: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
])
def test_pods(path: tuple[str | int, ...], value: Any, expected: str) -> None:
    assert expected in told("pods", path, value)


@pytest.mark.parametrize(("key", "path", "value", "expected"), [
    ("deployments.apps", (*TEMPLATE, "activeDeadlineSeconds"), 3,
     "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"),
    ("replicasets.apps", (*TEMPLATE, "activeDeadlineSeconds"), 3,
     "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"),
    ("statefulsets.apps", (*TEMPLATE, "activeDeadlineSeconds"), 3,
     "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"),
    ("daemonsets.apps", (*TEMPLATE, "activeDeadlineSeconds"), 3,
     "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"),
    ("deployments.apps", (*TEMPLATE, "ephemeralContainers"), [{"name": "e", "image": "x"}],
     "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"),
    ("replicasets.apps", ("spec", "minReadySeconds"), -1,
     "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"),
    ("replicasets.apps", ("spec", "selector"), {},
     "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    ("statefulsets.apps", ("spec", "podManagementPolicy"), "Some",
     "spec.podManagementPolicy: Invalid value: \"Some\": must be 'OrderedReady' or 'Parallel'"),
    ("statefulsets.apps", ("spec", "ordinals", "start"), -1,
     "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
    ("statefulsets.apps", ("spec", "updateStrategy"), {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
     "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\": 1}: only allowed for updateStrategy "
     "'RollingUpdate'"),
    ("daemonsets.apps", ("spec", "updateStrategy"), {"rollingUpdate": {"maxUnavailable": 0}},
     "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
    ("daemonsets.apps", ("spec", "updateStrategy"), {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
     "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
    ("resourcequotas", ("spec", "hard"), {"pods": "-1"},
     'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'),
    ("limitranges", ("spec", "limits"), [{"type": "Pod", "default": {"cpu": "1"}}],
     "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"),
    ("services", ("spec",), {"type": "ExternalName"}, "spec.externalName: Required value"),
    ("services", ("spec", "externalIPs"), ["here"],
     'spec.externalIPs[0]: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
    ("services", ("spec", "ports", 0, "protocol"), "ICMP",
     'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
    ("persistentvolumes", ("spec", "nodeAffinity"), {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "a", "operator": "Like"}]}]}},
     "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].operator: Invalid value: \"Like\": not a "
     "valid selector operator"),
    ("persistentvolumes", ("spec", "accessModes"), [], "spec.accessModes: Required value"),
    ("persistentvolumeclaims", ("spec", "resources"), {}, "spec.resources[storage]: Required value"),
    ("persistentvolumeclaims", ("spec", "accessModes"), ["Many"],
     'spec.accessModes: Unsupported value: "Many": supported values: "ReadOnlyMany", "ReadWriteMany", '
     '"ReadWriteOnce", "ReadWriteOncePod"'),
    ("ingresses.networking.k8s.io", ("spec", "rules", 0, "http", "paths", 0, "path"), "a",
     'spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path'),
    ("secrets", ("type",), "kubernetes.io/tls", "data[tls.crt]: Required value"),
    ("secrets", ("type",), "kubernetes.io/ssh-auth", "data[ssh-privatekey]: Required value"),
    ("secrets", ("type",), "kubernetes.io/basic-auth", "data[username]: Required value"),
    ("secrets", ("type",), "kubernetes.io/dockerconfigjson", "data[.dockerconfigjson]: Required value"),
    ("secrets", ("type",), "kubernetes.io/service-account-token",
     "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
    ("nodes", ("spec", "taints"), [{"key": "a", "effect": "NoExecute"}] * 2,
     'spec.taints[1]: Duplicate value: {"key": "a", "effect": "NoExecute"}'),
    ("namespaces", ("metadata", "name"), "a.b", None),
])
def test_the_other_kinds(key: str, path: tuple[str | int, ...], value: Any, expected: str | None) -> None:
    found = told(key, path, value)
    assert expected in found if expected else found[0].startswith("metadata.name: Invalid value: ")


@pytest.mark.parametrize(("key", "path", "value", "expected"), [
    ("deployments.apps", ("spec", "selector"), {"matchLabels": {"app": "one", "b": "c"}}, "field is immutable"),
    ("daemonsets.apps", ("spec", "selector"), {"matchLabels": {"app": "one", "b": "c"}}, "field is immutable"),
    ("replicasets.apps", ("spec", "selector"), {"matchLabels": {"app": "one", "b": "c"}}, "field is immutable"),
    ("statefulsets.apps", ("spec", "serviceName"), "other", "spec: Forbidden: updates to statefulset spec for fields "
     "other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and "
     "'minReadySeconds' are forbidden"),
    ("pods", ("spec", "nodeName"), "other", "spec: Forbidden: pod updates may not change fields other than"),
    ("configmaps", ("data", "a"), "c", "data: Forbidden: field is immutable when `immutable` is set"),
    ("configmaps", ("immutable",), False, "immutable: Forbidden: field is immutable when `immutable` is set"),
    ("secrets", ("data", "a"), "ZQ==", "data: Forbidden: field is immutable when `immutable` is set"),
    ("secrets", ("type",), "a.io/b", 'type: Invalid value: "a.io/b": field is immutable'),
    ("persistentvolumes", ("spec", "csi", "volumeHandle"), "w",
     "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"),
    ("persistentvolumeclaims", ("spec", "accessModes"), ["ReadWriteMany"],
     "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
     "bound claims"),
    ("nodes", ("spec", "podCIDRs"), ["10.2.0.0/24"],
     'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'),
    ("nodes", ("spec", "providerID"), "other",
     'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid'),
    ("services", ("spec", "clusterIP"), "10.9.129.9", 'spec.clusterIPs[0]: Invalid value: "10.9.129.9": may not change '
                                                      "once set"),
    ("ingressclasses.networking.k8s.io", ("spec", "controller"), "a.io/c", "field is immutable"),
    ("priorityclasses.scheduling.k8s.io", ("value",), 4, "value: Forbidden: may not be changed in an update."),
    ("storageclasses.storage.k8s.io", ("provisioner",), "a.io/c", "updates to provisioner are forbidden."),
])
def test_what_may_not_change(key: str, path: tuple[str | int, ...], value: Any, expected: str) -> None:
    served, registry = SERVED[key], make_registry()
    where = "default" if served.resource.namespaced else None
    obj = manifest(served)
    if key in ("configmaps", "secrets") and path != ("type",):
        obj["immutable"] = True
    if path == ("spec", "selector"):  # so that both selectors match
        obj["spec"]["template"]["metadata"]["labels"]["b"] = "c"
    if key == "nodes":
        obj["spec"] |= {"podCIDRs": ["10.1.0.0/24"], "providerID": "testbed://a/one"}
    made = registry.create(served.resource, obj, where).fresh()
    put(made, path, value)
    with pytest.raises(Invalid) as refused:
        registry.update(served.resource, made, where)
    assert expected in refused.value.message


@pytest.mark.parametrize("key", ["deployments.apps", "statefulsets.apps", "daemonsets.apps", "services", "nodes",
                                 "persistentvolumes", "persistentvolumeclaims", "ingresses.networking.k8s.io",
                                 "resourcequotas", "jobs.batch", "cronjobs.batch", "poddisruptionbudgets.policy",
                                 "horizontalpodautoscalers.autoscaling"])
def test_unknown_fields_follow_field_validation(key: str) -> None:
    served = SERVED[key]
    where = "default" if served.resource.namespaced else None
    for strictness, warnings in (("Warn", ['unknown field "spec.wrong"']), ("Ignore", [])):
        obj, options = manifest(served), WriteOptions(strictness, True, [])
        obj["spec"]["wrong"] = 1
        made = make_registry().create(served.resource, copy.deepcopy(obj), where, options)
        assert "wrong" not in made.value["spec"]
        assert [item for item in options.warnings if "unknown" in item] == warnings
    with pytest.raises(Exception, match='strict decoding error: unknown field "spec.wrong"'):
        make_registry().create(served.resource, obj, where, WriteOptions("Strict"))
