"""The claims of a StatefulSet's identities: ``<template>-<set>-<ordinal>``, made before the pod, kept unless told.

Who owns a claim says when it goes: the set (whenDeleted: Delete), or a pod that is being scaled away (whenScaled:
Delete). Nobody owns what is retained.

Source: kubernetes pkg/controller/statefulset/stateful_set_utils.go getPersistentVolumeClaims, updateStorage,
updateClaimOwnerRefForSetAndPod, isClaimStale.
"""

from __future__ import annotations

from typing import Any

from testbed.api.meta import ObjectMeta

Json = dict[str, Any]


def claim_name(template: Json, set_name: str, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{set_name}-{ordinal}"


def claims_for(stateful_set: Json, ordinal: int) -> list[Json]:
    """The claims of one identity, as they are to be created."""
    meta, spec = stateful_set["metadata"], stateful_set["spec"]
    made = []
    for template in spec.get("volumeClaimTemplates") or ():
        own = template.get("metadata") or {}
        labels = {**(own.get("labels") or {}), **((spec.get("selector") or {}).get("matchLabels") or {})}
        made.append({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": template["spec"],
            "metadata": {
                "name": claim_name(template, meta["name"], ordinal), "namespace": meta["namespace"],
                **({"annotations": own["annotations"]} if own.get("annotations") else {}),
                **({"labels": labels} if labels else {}),
            },
        })
    return made


def with_claims(volumes: list[Json], stateful_set: Json, ordinal: int) -> list[Json]:
    """A pod's volumes, with those of the templates; they win over others of their name."""
    meta, templates = stateful_set["metadata"], stateful_set["spec"].get("volumeClaimTemplates") or ()
    own: list[Json] = [
        {"name": item["metadata"]["name"], "persistentVolumeClaim": {
            "claimName": claim_name(item, meta["name"], ordinal)}} for item in templates
    ]
    names = {item["name"] for item in own}
    return own + [item for item in volumes if item["name"] not in names]


def owners_wanted(stateful_set: Json, *, condemned: bool) -> tuple[bool, bool]:
    """Whether the set, and whether the pod owns the claims. ``condemned``: the pod is scaled away."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    on_deletion, on_scaling = policy.get("whenDeleted") == "Delete", policy.get("whenScaled") == "Delete"
    by_pod = on_scaling and condemned
    return on_deletion and not by_pod, by_pod


def owner_references(current: list[Json], stateful_set: Json, pod: Json | None, *, condemned: bool) -> list[Json]:
    """The claim's owners as they ought to be; what is not ours stays."""
    by_set, by_pod = owners_wanted(stateful_set, condemned=condemned)
    set_meta = stateful_set["metadata"]
    kept = [item for item in current if not _is(item, "StatefulSet", set_meta["name"])
            and not (pod is not None and _is(item, "Pod", pod["metadata"]["name"]))]
    if by_set:
        kept.append(_owner("apps/v1", "StatefulSet", set_meta))
    if by_pod and pod is not None:
        kept.append(_owner("v1", "Pod", pod["metadata"]))
    return kept


def is_stale(claim: ObjectMeta, pod_name: str) -> bool:
    """It goes with a former pod of that name; one that is still to be made must not get it."""
    return any(owner.kind == "Pod" and owner.name == pod_name for owner in claim.owner_references)


def _is(owner: Json, kind: str, name: str) -> bool:
    return owner.get("kind") == kind and owner.get("name") == name


def _owner(api_version: str, kind: str, metadata: Json) -> Json:
    return {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"],
            "controller": True, "blockOwnerDeletion": True}
