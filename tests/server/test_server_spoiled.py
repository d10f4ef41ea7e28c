"""Whatever is made of a manifest, the answer is an object or a Status in words: nothing that a user types is a bug."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from input_world import SERVED, Json, manifest, spoiled
from server_world import make_registry

from testbed.api.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from testbed.api.autoscaling_v2 import Autoscaler
from testbed.api.base import View
from testbed.api.batch_v1 import CronJob, Job
from testbed.api.coordination_v1 import Lease
from testbed.api.core_v1 import ConfigMap, Node, Pod, Secret, Service
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.networking_v1 import Ingress
from testbed.api.policy_v1 import DisruptionBudget
from testbed.api.quota_v1 import LimitRange, ResourceQuota
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim, StorageClass
from testbed.errors import ApiError
from testbed.server.answers import error_answer, object_answer
from testbed.server.negotiation import Wanted
from testbed.server.options import WriteOptions
from testbed.server.registry import MERGE_PATCH, STRATEGIC_PATCH, Registry
from testbed.server.served import Served

VIEWS: dict[str, type[View]] = {
    "pods": Pod, "nodes": Node, "services": Service, "configmaps": ConfigMap, "secrets": Secret,
    "deployments.apps": Deployment, "replicasets.apps": ReplicaSet, "statefulsets.apps": StatefulSet,
    "daemonsets.apps": DaemonSet, "jobs.batch": Job, "cronjobs.batch": CronJob,
    "horizontalpodautoscalers.autoscaling": Autoscaler, "leases.coordination.k8s.io": Lease,
    "endpointslices.discovery.k8s.io": EndpointSlice, "ingresses.networking.k8s.io": Ingress,
    "poddisruptionbudgets.policy": DisruptionBudget, "resourcequotas": ResourceQuota, "limitranges": LimitRange,
    "persistentvolumes": PersistentVolume, "persistentvolumeclaims": PersistentVolumeClaim,
    "storageclasses.storage.k8s.io": StorageClass,
}
DEFINITION = "widgets.example.io"  # a definition's name follows from its content


@pytest.fixture(scope="module")
def full() -> Registry:
    """One valid object of every kind: those are also refused that stand beside quotas, limits and classes."""
    registry = make_registry()
    for served in SERVED.values():
        obj = manifest(served)
        if served.key.startswith("customresource"):
            obj["metadata"]["name"] = DEFINITION
        registry.create(served.resource, obj, namespace(served), WriteOptions("Strict"))
    return registry


def namespace(served: Served) -> str | None:
    return "default" if served.resource.namespaced else None


def answered(act: Callable[[], Any]) -> Any:
    """What an act gave, or None for a refusal that a client can read."""
    try:
        return act()
    except ApiError as error:
        assert 400 <= error.code < 500, error
        status = error.status()
        assert status["kind"] == "Status" and status["message"] and error_answer(error).status == error.code
        return None


@pytest.mark.parametrize("key", sorted(SERVED))
@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink],
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data(), strictness=st.sampled_from(["Strict", "Warn", "Ignore"]))
def test_a_spoiled_manifest_is_answered(full: Registry, key: str, data: st.DataObject, strictness: str) -> None:
    served = SERVED[key]
    obj: Json = data.draw(spoiled(served))
    where, resource = namespace(served), served.resource
    name = DEFINITION if key.startswith("customresource") else "one"

    def options() -> WriteOptions:
        return WriteOptions(strictness, True, [])

    made = copy.deepcopy(obj)
    if isinstance(made.get("metadata"), dict) and made["metadata"].get("name") == "one":
        made["metadata"]["name"] = "two"
    stored = answered(lambda: full.create(resource, made, where, options()))
    if stored is not None:  # what is taken can be shown, and read by the loops
        assert object_answer(served, stored, Wanted("table"), full.clock.now()).status == 200
        if key in VIEWS:
            VIEWS[key].of(stored.value)
    answered(lambda: full.update(resource, obj, where, name=name, options=options()))
    for subresource in sorted(served.subresources & {"status", "scale", "finalize"}):
        answered(lambda sub=subresource: full.update(  # type: ignore[misc]
            resource, obj, where, name=name, subresource=sub, options=options()))
    for patch in (MERGE_PATCH, STRATEGIC_PATCH):
        answered(lambda kind=patch: full.patch(  # type: ignore[misc]
            resource, name, obj, where, patch_type=kind, options=options()))


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-inf", "1_000", "1e9999999", "", ".", "٣", "1 Gi", "Gi"])
def test_a_quantity_is_a_number_with_a_suffix(full: Registry, text: str) -> None:
    obj = manifest(SERVED["pods"])
    obj["metadata"]["name"] = "two"
    obj["spec"]["containers"][0]["resources"] = {"limits": {"memory": text}}
    assert answered(lambda: full.create(SERVED["pods"].resource, obj, "default")) is None


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45T99:99:99Z", "2026-01-01", "2026-01-01T00:00:00"])
def test_a_time_is_one(full: Registry, text: str) -> None:
    obj = manifest(SERVED["leases.coordination.k8s.io"])
    obj["spec"]["renewTime"] = text
    with pytest.raises(ApiError, match=r"spec\.renewTime: parsing time") as refused:
        full.update(SERVED["leases.coordination.k8s.io"].resource, obj, "default")
    assert refused.value.code == 400
