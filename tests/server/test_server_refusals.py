"""Bad input of the kinds that supervise, field by field, in upstream's words: create, update and status.

Sources: kubernetes pkg/apis/{autoscaling,batch,policy,apps}/validation/validation_test.go.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from server_world import deployment, make_registry, pod

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.errors import Invalid
from testbed.server.registry import Registry

Json = dict[str, Any]
INDEXED = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
CODES = "spec.podFailurePolicy.rules[0].onExitCodes"


def refused(act: Any) -> list[str]:
    with pytest.raises(Invalid) as found:
        act()
    assert found.value.code == 422 and found.value.details["causes"]
    return [f"{item['field']}: {item['message']}" for item in found.value.details["causes"]]


def job(**spec: Any) -> Json:
    template = {"spec": {**pod()["spec"], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
            "spec": {"template": copy.deepcopy(template), **spec}}


def rule(**given: Any) -> Json:
    return {"podFailurePolicy": {"rules": [{"action": "FailJob", **given}]}}


def codes(**given: Any) -> Json:
    return rule(onExitCodes={"operator": "In", "values": [1], **given})


@pytest.mark.parametrize(("spec", "told"), [
    ({"managedBy": "other"}, "spec.managedBy: Invalid value: \"other\": must be a domain-prefixed path (such as "
                             "\"acme.io/foo\")"),
    ({"managedBy": f"a.io/{'x' * 60}"}, "spec.managedBy: Too long: may not be more than 63 bytes"),
    ({"maxFailedIndexes": 1, "backoffLimitPerIndex": 1, **INDEXED, "completions": 0},
     "spec.maxFailedIndexes: Invalid value: 1: must be less than or equal to completions"),
    ({"maxFailedIndexes": 1, **INDEXED}, "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is "
                                         "specified"),
    ({**INDEXED, "parallelism": 100_001},
     "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"),
    ({**INDEXED, "completions": 100_001, "backoffLimitPerIndex": 1},
     "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"),
    ({**INDEXED, "completions": 100_001, "backoffLimitPerIndex": 1, "maxFailedIndexes": 10_001},
     "spec.maxFailedIndexes: Invalid value: 10001: must be less than or equal to 10000 when completions are above "
     "100000 and used with backoff limit per index"),
    ({"successPolicy": {"rules": []}}, 'spec.successPolicy: Invalid value: {"rules": []}: requires indexed completion '
                                       "mode"),
    (codes(containerName="other"), f'{CODES}.containerName: Invalid value: "other": must be one of the container or '
                                   "initContainer names in the pod template"),
    (codes(operator="Like"), f'{CODES}.operator: Unsupported value: "Like": supported values: "In", "NotIn"'),
    (codes(operator=""), f'{CODES}.operator: Required value: valid values: ["In" "NotIn"]'),
    (codes(values=[]), f"{CODES}.values: Invalid value: []: at least one value is required"),
    (codes(values=[2, 1]), f"{CODES}.values: Invalid value: [2, 1]: must be ordered"),
    (codes(values=[1, 1]), f"{CODES}.values[1]: Duplicate value: 1"),
    (codes(values=list(range(1, 257))), f"{CODES}.values: Too many: 256: must have at most 255 items"),
    (rule(), "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is "
             "required"),
    (rule(onExitCodes={"operator": "In", "values": [1]}, onPodConditions=[{"type": "X"}]),
     "spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"),
    (rule(onPodConditions=[{"type": "X", "status": "Maybe"}]),
     'spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", '
     '"True", "Unknown"'),
    ({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X"}]}] * 21}},
     "spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"),
])
def test_jobs(spec: Json, told: str) -> None:
    assert told in refused(lambda: make_registry().create(r.JOBS, job(**spec), "default"))


def test_a_selector_of_ones_own_needs_manual_selector() -> None:
    registry = make_registry()
    own = job(selector={"matchLabels": {"mine": "1"}})
    own["spec"]["template"]["metadata"] = {"labels": {"mine": "1", "job-name": "other"}}
    told = refused(lambda: registry.create(r.JOBS, own, "default"))
    assert any(item.startswith("spec.selector: ") and "`selector` not auto-generated" in item for item in told)
    assert any(item.startswith("spec.template.metadata.labels[job-name]: ") and "must be 'job'" in item
               for item in told)
    own["spec"]["manualSelector"] = True
    assert registry.create(r.JOBS, own, "default").value["spec"]["selector"] == {"matchLabels": {"mine": "1"}}


def test_an_indexed_jobs_hostnames_must_be_names() -> None:
    made = {**job(**INDEXED), "metadata": {"name": "j" * 62}}
    (told,) = refused(lambda: make_registry().create(r.JOBS, made, "default"))
    assert told.endswith(f"will not able to create pod with invalid DNS label: {'j' * 62}-2")


@pytest.mark.parametrize(("patch", "told"), [
    ({"completions": 5}, "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism"),
    ({"managedBy": "a.io/b"}, 'spec.managedBy: Invalid value: "a.io/b": field is immutable'),
    ({"backoffLimitPerIndex": 2}, "spec.backoffLimitPerIndex: Invalid value: 2: field is immutable"),
    ({"completionMode": "NonIndexed"}, 'spec.completionMode: Invalid value: "NonIndexed": field is immutable'),
])
def test_what_a_job_keeps(patch: Json, told: str) -> None:
    registry = make_registry()
    registry.create(r.JOBS, job(**INDEXED), "default")
    assert told in refused(lambda: registry.patch(r.JOBS, "job", {"spec": patch}, "default"))
    registry.patch(r.JOBS, "job", {"spec": {"completions": 4, "parallelism": 4, "podReplacementPolicy": "Failed"}},
                   "default")


def test_a_queue_may_say_where_a_job_goes_that_was_never_started() -> None:
    registry = make_registry()
    registry.create(r.JOBS, job(suspend=True), "default")
    moved = {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}}
    registry.patch(r.JOBS, "job", moved, "default")
    registry.patch(r.JOBS, "job", {"status": {"startTime": "2026-01-01T00:00:00Z"}}, "default", subresource="status")
    moved["spec"]["template"]["spec"]["nodeSelector"]["zone"] = "b"
    assert "field is immutable" in refused(lambda: registry.patch(r.JOBS, "job", moved, "default"))[0]


@pytest.mark.parametrize(("spec", "told"), [
    ({"timeZone": ""}, 'spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string'),
    ({"timeZone": "Local"}, 'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined '
                            "in https://www.iana.org/time-zones"),
    ({"startingDeadlineSeconds": -1}, "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal "
                                      "to 0"),
    ({"jobTemplate": {"spec": {**job()["spec"], "selector": {}}}},
     "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated"),
    ({"jobTemplate": {"spec": {**job()["spec"], "manualSelector": True}}},
     'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"'),
])
def test_cron_jobs(spec: Json, told: str) -> None:
    made = {"metadata": {"name": "cj"}, "spec": {
        "schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec}}
    assert told in refused(lambda: make_registry().create(r.CRON_JOBS, made, "default"))


def metric(kind: str = "Pods", target: Json | None = None, **source: Any) -> Json:
    field = kind[0].lower() + kind[1:]
    given = {"metric": {"name": "load"}, "target": target or {"type": "AverageValue", "averageValue": "1"}, **source}
    return {"metrics": [{"type": kind, field: given}]}


HERE = "spec.metrics[0]"


@pytest.mark.parametrize(("spec", "told"), [
    ({"minReplicas": 0}, "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"),
    ({"scaleTargetRef": {"kind": "Deployment", "name": "a/b"}},
     "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'"),
    ({"metrics": [{"type": "Pods"}]},
     f"{HERE}.pods: Required value: must populate information for the given metric source"),
    ({"metrics": [{**metric()["metrics"][0], "resource": {"name": "cpu", "target": {
        "type": "Utilization", "averageUtilization": 1}}}]},
     f"{HERE}.resource: Forbidden: must populate the given metric source only"),
    (metric(metric={}), f"{HERE}.pods.metric.name: Required value: must specify a metric name"),
    (metric(target={"type": "Value", "value": "1"}),
     f"{HERE}.pods.target.averageValue: Required value: must specify a positive target averageValue"),
    (metric(target={"type": "AverageValue", "averageValue": "0"}),
     f'{HERE}.pods.target.averageValue: Invalid value: "0": must be positive'),
    (metric(target={"averageValue": "1"}), f"{HERE}.pods.target.type: Required value: must specify a metric target "
                                           "type"),
    (metric(target={"type": "Some", "averageValue": "1"}),
     f'{HERE}.pods.target.type: Invalid value: "Some": must be either Utilization, Value, or AverageValue'),
    (metric("Object"), f"{HERE}.object.describedObject.kind: Required value"),
    (metric("Object", {"type": "Value"}),
     f"{HERE}.object.target.averageValue: Required value: must set either a target value or averageValue"),
    (metric("External", {"type": "Value", "value": "1", "averageValue": "1"}),
     f"{HERE}.external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"),
    (metric("ContainerResource", name="cpu"), f"{HERE}.containerResource.container: Required value: must specify a "
                                              "container"),
    ({"behavior": {"scaleUp": {"stabilizationWindowSeconds": -1}}},
     "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero"),
    ({"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]}}},
     "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero"),
    ({"behavior": {"scaleDown": {"selectPolicy": "Some"}}},
     'spec.behavior.scaleDown.selectPolicy: Unsupported value: "Some": supported values: "Disabled", "Max", "Min"'),
])
def test_autoscalers(spec: Json, told: str) -> None:
    made = {"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3, **copy.deepcopy(spec)}}
    assert told in refused(lambda: make_registry().create(r.AUTOSCALERS, made, "default"))


@pytest.mark.parametrize(("spec", "told"), [
    ({"minAvailable": 1, "maxUnavailable": 1}, "minAvailable and maxUnavailable cannot be both set"),
    ({"minAvailable": -1}, "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"),
    ({"maxUnavailable": "101%"}, 'spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'),
    ({"minAvailable": "x"}, "a valid percent string must be a numeric string followed by an ending '%'"),
    ({"unhealthyPodEvictionPolicy": "Never"},
     'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"'),
    ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
     "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
])
def test_budgets(spec: Json, told: str) -> None:
    made = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    assert any(told in item for item in refused(lambda: make_registry().create(r.DISRUPTION_BUDGETS, made, "default")))


# --- statuses


def stored(registry: Registry, resource: ResourceType, obj: Json) -> str:
    registry.create(resource, obj, "default")
    return str(obj["metadata"]["name"])


@pytest.mark.parametrize(("resource", "obj", "status", "told"), [
    (r.DEPLOYMENTS, deployment(), {"replicas": -1}, "status.replicas: Invalid value: -1: must be greater than or equal "
                                                    "to 0"),
    (r.DEPLOYMENTS, deployment(), {"replicas": 1, "readyReplicas": 2},
     "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"),
    (r.DEPLOYMENTS, deployment(), {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2},
     "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"),
    (r.JOBS, job(), {"active": -1}, "status.active: Invalid value: -1: must be greater than or equal to 0"),
    (r.JOBS, job(), {"ready": 2, "active": 1},
     "status.ready: Invalid value: 2: cannot set more ready pods than active"),
    (r.JOBS, job(), {"completionTime": "2026-01-01T00:00:00Z"},
     'status.completionTime: Invalid value: "2026-01-01T00:00:00Z": cannot set completionTime when there is no '
     "Complete=True condition"),
    (r.JOBS, job(), {"conditions": [{"type": "Complete", "status": "True"}]},
     "status.completionTime: Required value: completionTime is required for Complete jobs"),
    (r.JOBS, job(), {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"},
                                    {"type": "FailureTarget", "status": "True"}]},
     "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
])
def test_statuses(resource: ResourceType, obj: Json, status: Json, told: str) -> None:
    registry = make_registry()
    name = stored(registry, resource, copy.deepcopy(obj))
    assert told in refused(lambda: registry.patch(resource, name, {"status": status}, "default", subresource="status"))


def test_a_jobs_end_and_counters_are_not_taken_back() -> None:
    registry = make_registry()
    stored(registry, r.JOBS, job())
    ended = {"status": {"failed": 2, "conditions": [{"type": "FailureTarget", "status": "True"},
                                                    {"type": "Failed", "status": "True"}]}}
    registry.patch(r.JOBS, "job", ended, "default", subresource="status")
    told = refused(lambda: registry.patch(r.JOBS, "job", {"status": {"failed": 1, "conditions": []}}, "default",
                                          subresource="status"))
    assert told == ["status.conditions: Invalid value: cannot disable the terminal Failed=True condition",
                    "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
                    "status.failed: Invalid value: 1: cannot decrease the failed counter"]


def test_a_status_may_carry_labels_annotations_and_finalizers_but_for_what_its_kind_keeps() -> None:
    registry = make_registry()
    stored(registry, r.DEPLOYMENTS, deployment())
    made = registry.patch(r.DEPLOYMENTS, "web", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
                          "default", subresource="status").value
    assert made["metadata"]["annotations"] == {"c": "d"} and "labels" not in made["metadata"]
    told = refused(lambda: registry.patch(r.DEPLOYMENTS, "web", {"metadata": {"annotations": {"": "d"}}}, "default",
                                          subresource="status"))
    assert told[0].startswith("metadata.annotations: Invalid value")
