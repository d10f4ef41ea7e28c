"""PersistentVolumes, claims, StorageClasses and VolumeAttachments as the API judges, shows and counts them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.errors import Forbidden, Invalid
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.metrics_state import StateText
from testbed.server.options import WriteOptions
from testbed.server.registry import Registry
from testbed.server.tables import cells

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


@pytest.fixture
def cluster(registry: Registry) -> Registry:
    ensure_system_objects(registry, "10.96.0.1")
    return registry


def claim(**spec: Any) -> Json:
    return {"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def volume(**spec: Any) -> Json:
    return {"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}, "hostPath": {"path": "/x"}, **spec}}


def causes(registry: Registry, resource: ResourceType, obj: Json) -> list[str]:
    with pytest.raises(Invalid) as refused:
        registry.create(resource, obj, "default")
    return [f"{item['field']}: {item['message']}" for item in refused.value.details["causes"]]


def test_a_claim_gets_the_default_class_its_protection_and_a_phase(cluster: Registry) -> None:
    made = cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(), "default").value
    assert made["spec"]["storageClassName"] == "standard" and made["spec"]["volumeMode"] == "Filesystem"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert made["status"] == {"phase": "Pending"}
    other = claim(storageClassName="")
    other["metadata"]["name"] = "d"
    assert cluster.create(r.PERSISTENT_VOLUME_CLAIMS, other, "default").value["spec"]["storageClassName"] == ""


def test_a_volume_gets_upstreams_defaults(cluster: Registry) -> None:
    made = cluster.create(r.PERSISTENT_VOLUMES, volume()).value
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    spec = made["spec"]
    assert (spec["persistentVolumeReclaimPolicy"], spec["volumeMode"], spec["hostPath"]["type"]) == (
        "Retain", "Filesystem", "")


def test_the_cluster_has_a_default_class(cluster: Registry) -> None:
    ensure_system_objects(cluster, "10.96.0.1")
    standard = cluster.get(r.STORAGE_CLASSES, "standard").value
    row = cells(cluster.catalog.of(r.STORAGE_CLASSES), standard, NOW)
    assert row[:5] == ["standard (default)", "testbed.io/engine-volume", "Delete", "WaitForFirstConsumer", "false"]


@pytest.mark.parametrize(("spec", "message"), [
    ({"accessModes": []}, "spec.accessModes: Required value: at least 1 access mode is required"),
    ({"accessModes": ["Sometimes"]}, 'spec.accessModes: Unsupported value: "Sometimes": supported values: '
     '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'),
    ({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
     "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"),
    ({"resources": {}}, "spec.resources[storage]: Required value"),
    ({"resources": {"requests": {"storage": "0"}}},
     'spec.resources[storage]: Invalid value: "0": must be greater than zero'),
    ({"volumeMode": "Tape"},
     'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"'),
])
def test_a_wrong_claim_is_refused_in_upstreams_words(registry: Registry, spec: Json, message: str) -> None:
    assert causes(registry, r.PERSISTENT_VOLUME_CLAIMS, claim(**spec)) == [message]


@pytest.mark.parametrize(("spec", "message"), [
    ({"capacity": {}}, "spec.capacity: Required value"),
    ({"hostPath": None}, "spec: Required value: must specify a volume type"),
    ({"nfs": {"server": "s", "path": "/"}}, "spec.nfs: Forbidden: may not specify more than 1 volume type"),
    ({"hostPath": {"path": "/a/../b"}}, 'spec.hostPath.path: Invalid value: "/a/../b": must not contain \'..\''),
    ({"persistentVolumeReclaimPolicy": "Burn"}, 'spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": '
     'supported values: "Delete", "Recycle", "Retain"'),
    ({"hostPath": None, "local": {"path": "/x"}}, "spec.nodeAffinity: Required value: Local volume requires node "
     "affinity"),
    ({"hostPath": None, "csi": {"driver": "d.io", "volumeHandle": ""}}, "spec.csi.volumeHandle: Required value"),
])
def test_a_wrong_volume_is_refused_in_upstreams_words(registry: Registry, spec: Json, message: str) -> None:
    assert causes(registry, r.PERSISTENT_VOLUMES, volume(**spec)) == [message]


def change(registry: Registry, resource: ResourceType, name: str, patch: Json, namespace: str | None = None) -> str:
    """What is wrong with it, or ``""``."""
    try:
        registry.patch(resource, name, patch, namespace)
    except (Invalid, Forbidden) as refused:
        return refused.message
    return ""


def test_a_claim_is_immutable_but_for_its_size_when_bound_and_growing(cluster: Registry) -> None:
    cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(), "default")
    words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"

    def changed(spec: Json) -> str:
        return change(cluster, r.PERSISTENT_VOLUME_CLAIMS, "c", {"spec": spec}, "default")

    bigger = {"resources": {"requests": {"storage": "2Gi"}}}
    assert words in changed({"accessModes": ["ReadWriteMany"]}) and words in changed(bigger)
    assert changed({"volumeName": "v"}) == ""
    assert words in changed({"volumeName": "w"})
    cluster.patch(r.PERSISTENT_VOLUME_CLAIMS, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
    assert "only dynamically provisioned pvc can be resized" in changed(bigger)
    assert change(cluster, r.STORAGE_CLASSES, "standard", {"allowVolumeExpansion": True}) == ""
    assert changed(bigger) == ""
    assert "field can not be less than" in changed({"resources": {"requests": {"storage": "1Gi"}}})


def test_what_a_volume_and_a_class_are_never_changes(cluster: Registry) -> None:
    cluster.create(r.PERSISTENT_VOLUMES, volume())
    told = change(cluster, r.PERSISTENT_VOLUMES, "v", {"spec": {"hostPath": {"path": "/y"}}})
    assert "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation" in told
    assert change(cluster, r.PERSISTENT_VOLUMES, "v", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}) == ""
    told = change(cluster, r.STORAGE_CLASSES, "standard", {"reclaimPolicy": "Retain"})
    assert "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden." in told
    told = change(cluster, r.STORAGE_CLASSES, "standard", {"volumeBindingMode": "Immediate"})
    assert 'volumeBindingMode: Invalid value: "Immediate": field is immutable' in told


def test_a_limit_range_bounds_what_a_claim_asks_for(cluster: Registry) -> None:
    cluster.create(r.LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}, "max": {"storage": "4Gi"}}]}}, "default")
    with pytest.raises(Forbidden, match="minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"):
        cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(), "default")
    with pytest.raises(Forbidden, match="maximum storage usage per PersistentVolumeClaim is 4Gi, but request is "):
        cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(resources={"requests": {"storage": "5Gi"}}), "default")
    cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(resources={"requests": {"storage": "3Gi"}}), "default")


def test_the_table_shows_what_is_bound_to_what(cluster: Registry) -> None:
    bound = volume(claimRef={"namespace": "default", "name": "c"}, storageClassName="gold")
    cluster.create(r.PERSISTENT_VOLUMES, bound)
    held = cluster.patch(r.PERSISTENT_VOLUMES, "v", {"status": {"phase": "Bound"}}, subresource="status").value
    assert cells(cluster.catalog.of(r.PERSISTENT_VOLUMES), held, NOW)[:9] == [
        "v", "5Gi", "RWO", "Retain", "Bound", "default/c", "gold", "<unset>", ""]
    waiting = cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(), "default").value
    assert cells(cluster.catalog.of(r.PERSISTENT_VOLUME_CLAIMS), waiting, NOW)[:7] == [
        "c", "Pending", "", "", "", "standard", "<unset>"]


def test_a_volume_that_nodes_here_cannot_mount_is_warned_of(registry: Registry) -> None:
    options = WriteOptions(field_validation="Warn")
    registry.create(r.PERSISTENT_VOLUMES, volume(), options=options)
    assert options.warnings == [
        "spec.hostPath: only directories below the cluster's own directory `hostpath` are mounted by its nodes"]
    options, other = WriteOptions(field_validation="Warn"), volume(hostPath=None, nfs={"server": "s", "path": "/"})
    other["metadata"]["name"] = "w"
    registry.create(r.PERSISTENT_VOLUMES, copy.deepcopy(other), options=options)
    assert options.warnings == ["spec.nfs: this field is kept but has no effect in this cluster"]


def test_a_pod_with_a_claim_is_not_warned_of(registry: Registry) -> None:
    options = WriteOptions(field_validation="Warn")
    registry.create(r.PODS, {"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "x"}],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]}}, "default", options)
    assert options.warnings == []


def test_storage_is_exposed_under_kube_state_metrics_names(cluster: Registry) -> None:
    cluster.create(r.PERSISTENT_VOLUME_CLAIMS, claim(), "default")
    cluster.create(r.PERSISTENT_VOLUMES, volume())
    text = StateText(lambda kind: cluster.list(kind).items, pytest.fail).text()
    found = {(sample.name, *sorted(sample.labels.items())): sample.value
             for family in text_string_to_metric_families("".join(text)) for sample in family.samples}
    here = (("namespace", "default"), ("persistentvolumeclaim", "c"))
    assert found["kube_persistentvolumeclaim_status_phase", *here, ("phase", "Pending")] == 1.0
    assert found["kube_persistentvolumeclaim_resource_requests_storage_bytes", *here] == 2**30
    assert found["kube_persistentvolume_capacity_bytes", ("persistentvolume", "v")] == 5 * 2**30
    assert found["kube_persistentvolume_status_phase", ("persistentvolume", "v"), ("phase", "Pending")] == 1.0
