"""Claims and volumes as pure decisions: matching, binding, placement, attachment."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Node, Pod
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim, StorageClass
from testbed.core import volume_attachments
from testbed.core.volume_binding import plan_claim, plan_volume
from testbed.core.volume_matching import best_match, capacity_of, default_class, requested_of
from testbed.core.volume_scheduling import Storage, needs

Json = dict[str, Any]
STANDARD = StorageClass.of({
    "metadata": {"name": "standard"}, "provisioner": "testbed.io/engine-volume",
    "volumeBindingMode": "WaitForFirstConsumer"})
AT_ONCE = StorageClass.of({"metadata": {"name": "now"}, "provisioner": "testbed.io/engine-volume"})
LOCAL = StorageClass.of({"metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner",
                         "volumeBindingMode": "WaitForFirstConsumer"})
CLASSES = {item.metadata.name: item for item in (STANDARD, AT_ONCE, LOCAL)}


def claim(name: str = "c", *, storage: str = "1Gi", meta: Json | None = None, status: Json | None = None,
          **spec: Any) -> PersistentVolumeClaim:
    return PersistentVolumeClaim.of({
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", **(meta or {})},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, **spec},
        "status": status or {"phase": "Pending"}})


def volume(name: str = "v", *, storage: str = "1Gi", phase: str = "Available", meta: Json | None = None,
           **spec: Any) -> PersistentVolume:
    return PersistentVolume.of({
        "metadata": {"name": name, **(meta or {})}, "status": {"phase": phase},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage}, **spec}})


def reference(name: str, uid: str | None = None) -> Json:
    return {"namespace": "default", "name": name, "uid": f"uid-{name}" if uid is None else uid}


def pod(name: str = "p", node: str = "", *claims: str, **status: Any) -> Pod:
    return Pod.of({
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "status": status,
        "spec": {"nodeName": node, "containers": [], "volumes": [
            {"name": item, "persistentVolumeClaim": {"claimName": item}} for item in claims]}})


def node(name: str, *, ready: bool = True, uses: tuple[str, ...] = ()) -> Node:
    return Node.of({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "status": {
        "volumesInUse": list(uses), "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}})


def on(name: str) -> Json:
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}]}]}}


# --- matching


@pytest.mark.parametrize(("candidate", "fits"), [
    (volume(), True),
    (volume(storage="512Mi"), False),
    (volume(accessModes=["ReadOnlyMany"]), False),
    (volume(accessModes=["ReadOnlyMany", "ReadWriteOnce"]), True),
    (volume(storageClassName="gold"), False),
    (volume(volumeMode="Block"), False),
    (volume(claimRef=reference("other")), False),
    (volume(claimRef=reference("c", "")), True),
    (volume(phase="Released"), False),
    (volume(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
])
def test_what_a_claim_asks_decides_which_volume_serves_it(candidate: PersistentVolume, fits: bool) -> None:
    assert (best_match(claim(), [candidate]) is not None) is fits


def test_the_smallest_that_fits_is_taken_and_one_that_was_promised_before_all() -> None:
    found = [volume("big", storage="10Gi"), volume("small", storage="2Gi"), volume("tiny", storage="500Mi")]
    chosen = best_match(claim(), found)
    assert chosen is not None and chosen.metadata.name == "small"
    promised = best_match(claim(), [*found, volume("huge", storage="1Ti", claimRef=reference("c"))])
    assert promised is not None and promised.metadata.name == "huge"


def test_a_selector_and_a_node_narrow_the_choice() -> None:
    wanted = claim(selector={"matchLabels": {"disk": "fast"}})
    assert best_match(wanted, [volume()]) is None
    assert best_match(wanted, [volume(meta={"labels": {"disk": "fast"}})]) is not None
    assert best_match(claim(), [volume(nodeAffinity=on("n1"))], node=node("n2")) is None
    assert best_match(claim(), [volume(nodeAffinity=on("n1"))], node=node("n1")) is not None


@given(st.lists(st.integers(1, 50), max_size=8), st.integers(1, 50))
def test_a_match_is_never_too_small_and_never_larger_than_needed(sizes: list[int], asked: int) -> None:
    wanted = claim(storage=f"{asked}Gi")
    chosen = best_match(wanted, [volume(f"v{index}", storage=f"{size}Gi") for index, size in enumerate(sizes)])
    enough = [size for size in sizes if size >= asked]
    assert (chosen is None) is (not enough)
    if chosen is not None:
        assert requested_of(wanted) <= capacity_of(chosen) == Decimal(min(enough)) * 2**30


def test_the_newest_default_class_counts() -> None:
    old, new = (StorageClass.of({"metadata": {
        "name": name, "creationTimestamp": f"2026-01-0{day}T00:00:00Z",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}) for name, day in (("z", 1), ("a", 2)))
    assert default_class([old, STANDARD, new]) is new and default_class([STANDARD]) is None


# --- binding


@pytest.mark.parametrize(("wanted", "volumes", "phase", "bind", "reason"), [
    (claim(), [volume()], "Pending", "v", ""),
    (claim(), [], "Pending", "", "FailedBinding"),
    (claim(storageClassName="gone"), [], "Pending", "", "ProvisioningFailed"),
    (claim(storageClassName="now"), [], "Pending", "", "ExternalProvisioning"),
    (claim(storageClassName="standard"), [], "Pending", "", "WaitForFirstConsumer"),
    (claim(storageClassName="local"), [volume(storageClassName="local")], "Pending", "", "WaitForFirstConsumer"),
    (claim(storageClassName="local"), [volume(storageClassName="local", claimRef=reference("c"))], "Pending", "v", ""),
    (claim(volumeName="v"), [], "Pending", "", ""),
    (claim(volumeName="v"), [volume()], "Pending", "v", ""),
    (claim(volumeName="v", storage="2Gi"), [volume()], "Pending", "", "VolumeMismatch"),
    (claim(volumeName="v"), [volume(claimRef=reference("other"))], "Pending", "", "FailedBinding"),
])
def test_what_becomes_of_a_claim_without_a_volume(
    wanted: PersistentVolumeClaim, volumes: list[PersistentVolume], phase: str, bind: str, reason: str,
) -> None:
    plan = plan_claim(wanted, {item.metadata.name: item for item in volumes}, CLASSES, [])
    assert (plan.phase, plan.bind, plan.note.reason if plan.note else "") == (phase, bind, reason)


def test_a_claim_says_for_which_pod_it_waits() -> None:
    plan = plan_claim(claim(storageClassName="standard"), {}, CLASSES, [pod("p", "", "c")])
    assert plan.note is not None and plan.note.message == "waiting for pod p to be scheduled"


DONE = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}


@pytest.mark.parametrize(("volumes", "phase", "reason"), [
    ([volume(claimRef=reference("c"))], "Bound", ""),
    ([volume()], "Bound", ""),
    ([], "Lost", "ClaimLost"),
    ([volume(claimRef=reference("other"))], "Lost", "ClaimMisbound"),
])
def test_a_bound_claim_is_lost_with_its_volume(volumes: list[PersistentVolume], phase: str, reason: str) -> None:
    plan = plan_claim(claim(meta=DONE, volumeName="v"), {item.metadata.name: item for item in volumes}, {}, [])
    assert (plan.phase, plan.note.reason if plan.note else "") == (phase, reason)


ENGINE = {"csi": {"driver": "engine-volume.testbed.io", "volumeHandle": "x"}}


@pytest.mark.parametrize(("found", "holder", "phase", "remove"), [
    (volume(), None, "Available", False),
    (volume(claimRef=reference("c", "")), None, "Available", False),
    (volume(claimRef=reference("c")), claim(volumeName="v"), "Bound", False),
    (volume(claimRef=reference("c")), None, "Released", False),
    (volume(claimRef=reference("c")), claim(meta={"uid": "another"}), "Released", False),
    (volume(claimRef=reference("c"), persistentVolumeReclaimPolicy="Delete", **ENGINE), None, "Released", True),
    (volume(claimRef=reference("c"), persistentVolumeReclaimPolicy="Delete", hostPath={"path": "/x"}), None, "Failed",
     False),
    (volume(claimRef=reference("c"), persistentVolumeReclaimPolicy="Recycle"), None, "Failed", False),
])
def test_a_volume_follows_its_claim(
    found: PersistentVolume, holder: PersistentVolumeClaim | None, phase: str, remove: bool
) -> None:
    plan = plan_volume(found, holder)
    assert (plan.phase, plan.remove) == (phase, remove)


def test_what_the_binder_did_it_undoes_and_what_a_person_did_it_leaves() -> None:
    elsewhere = claim(volumeName="w")
    ours = volume(claimRef=reference("c"), meta={"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}})
    assert plan_volume(ours, elsewhere).unbind
    assert not plan_volume(volume(claimRef=reference("c")), elsewhere).unbind


# --- placement


def storage(*items: PersistentVolumeClaim | PersistentVolume) -> Storage:
    return Storage({item.key: item for item in items if isinstance(item, PersistentVolumeClaim)},
                   {item.metadata.name: item for item in items if isinstance(item, PersistentVolume)}, CLASSES)


@pytest.mark.parametrize(("items", "blocked"), [
    ([], 'persistentvolumeclaim "c" not found'),
    ([claim()], "pod has unbound immediate PersistentVolumeClaims"),
    ([claim(storageClassName="now")], "pod has unbound immediate PersistentVolumeClaims"),
    ([claim(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"})], 'persistentvolumeclaim "c" is being deleted'),
    ([claim(meta=DONE, volumeName="v")], 'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"'),
    ([claim(status={"phase": "Lost"}, volumeName="v")],
     'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"'),
])
def test_upstreams_words_say_why_a_pod_waits_for_its_claim(items: list[Any], blocked: str) -> None:
    assert needs(pod("p", "", "c"), storage(*items)).blocked == blocked


def test_a_pod_goes_where_its_volumes_are() -> None:
    bound = needs(pod("p", "", "c"), storage(claim(meta=DONE, volumeName="v"), volume(nodeAffinity=on("n1"))))
    refusal = bound.refused(node("n2"))
    assert bound.refused(node("n1")) is None
    assert refusal is not None and refusal.reasons == ("node(s) had volume node affinity conflict",)


def test_every_claim_of_a_pod_gets_a_volume_of_its_own_or_one_is_made() -> None:
    wanted = [claim(name, storageClassName="local") for name in ("a", "b")]
    one = storage(*wanted, volume("v1", storageClassName="local", nodeAffinity=on("n1")))
    refusal = needs(pod("p", "", "a", "b"), one).refused(node("n1"))
    assert refusal is not None and refusal.reasons == ("node(s) didn't find available persistent volumes to bind",)
    two = storage(*wanted, *(volume(f"v{n}", storageClassName="local", nodeAffinity=on("n1")) for n in (1, 2)))
    promises = needs(pod("p", "", "a", "b"), two).promises(node("n1"))
    assert promises is not None and {item.volume for item in promises} == {"v1", "v2"}
    made = needs(pod("p", "", "c"), storage(claim(storageClassName="standard"))).promises(node("n1"))
    assert made is not None and [item.volume for item in made] == [""]


def test_one_pod_at_a_time_where_the_claim_says_so() -> None:
    only = claim(meta=DONE, volumeName="v", accessModes=["ReadWriteOncePod"])
    found = needs(pod("p", "", "c"), storage(only, volume()), [pod("q", "n1", "c")])
    assert found.blocked.startswith("node has pod using PersistentVolumeClaim with the same name")


# --- attachment


def attach(attached: list[str], users: list[Pod], nodes: list[Node], *, idle: dict[str, float] | None = None,
           now_s: float = 100.0, **spec: Any) -> volume_attachments.AttachmentPlan:
    return volume_attachments.plan(
        volume(**ENGINE, **spec), attached, users, {item.metadata.name: item for item in nodes}, idle or {}, now_s,
        10.0)


USE = ("kubernetes.io/csi/engine-volume.testbed.io^x",)


def test_the_first_user_gets_the_volume_and_the_second_node_is_told() -> None:
    plan = attach([], [pod("a", "n1", "c"), pod("b", "n2", "c")], [node("n1"), node("n2")])
    assert plan.attach == ("n1",) and "already used by pod(s) a" in plan.refused["default/b"].message


def test_many_nodes_may_read_or_share() -> None:
    plan = attach([], [pod("a", "n1", "c"), pod("b", "n2", "c")], [node("n1"), node("n2")],
                  accessModes=["ReadWriteMany"])
    assert plan.attach == ("n1", "n2") and not plan.refused


def test_an_unheard_node_keeps_what_its_pods_use() -> None:
    plan = attach(["n1"], [pod("a", "n1", "c"), pod("b", "n2", "c")], [node("n1", ready=False, uses=USE), node("n2")],
                  idle={"n1": 0.0})
    assert not plan.detach and "default/b" in plan.refused


@pytest.mark.parametrize(("holder", "idle", "detached"), [
    (node("n1"), {}, True),  # it says that it let go
    (node("n1", uses=USE), {"n1": 0.0}, False),  # heard, and still using it
    (node("n1", ready=False, uses=USE), {}, False),  # not heard, just now
    (node("n1", ready=False, uses=USE), {"n1": 95.0}, False),
    (node("n1", ready=False, uses=USE), {"n1": 90.0}, True),  # not heard for as long as upstream waits
    (None, {"n1": 95.0}, False),
    (None, {"n1": 90.0}, True),
])
def test_a_node_without_pods_gives_the_volume_back(holder: Node | None, idle: dict[str, float], detached: bool) -> None:
    plan = attach(["n1"], [pod("b", "n2", "c")], [node("n2"), *([holder] if holder else [])], idle=idle)
    assert (plan.detach == ("n1",)) is detached
    assert (plan.attach == ("n2",)) is detached


@given(st.lists(st.tuples(st.sampled_from(["n1", "n2", "n3"]), st.booleans()), max_size=6),
       st.sets(st.sampled_from(["n1", "n2", "n3"]), max_size=1), st.booleans())
def test_a_volume_of_one_node_never_belongs_to_two(
    placed: list[tuple[str, bool]], attached: set[str], heard: bool
) -> None:
    users = [pod(f"p{index}", name, "c", phase="Succeeded" if over else "Running")
             for index, (name, over) in enumerate(placed)]
    plan = attach(sorted(attached), users, [node(name, ready=heard, uses=USE) for name in ("n1", "n2", "n3")])
    after = (attached - set(plan.detach)) | set(plan.attach)
    assert len(after) <= 1
    using = {name for name, over in placed if not over}
    assert not using & set(plan.detach) and (not using or after)
