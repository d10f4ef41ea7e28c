"""Claims of a StatefulSet as pure decisions: names, labels, owners."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.core import stateful_claims

Json = dict[str, Any]


def stateful_set(deleted: str, scaled: str) -> Json:
    return {"metadata": {"name": "db", "namespace": "default", "uid": "set"}, "spec": {
        "selector": {"matchLabels": {"app": "db"}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
        "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"x": "y"}}, "spec": {"accessModes": []}}]}}


@pytest.mark.parametrize(("deleted", "scaled", "condemned", "owners"), [
    ("Retain", "Retain", False, []), ("Retain", "Retain", True, []),
    ("Delete", "Retain", False, ["StatefulSet"]), ("Delete", "Retain", True, ["StatefulSet"]),
    ("Retain", "Delete", False, []), ("Retain", "Delete", True, ["Pod"]),
    ("Delete", "Delete", False, ["StatefulSet"]), ("Delete", "Delete", True, ["Pod"]),
])
def test_who_owns_a_claim_follows_the_retention_policy(
    deleted: str, scaled: str, condemned: bool, owners: list[str]
) -> None:
    current = [{"kind": "StatefulSet", "name": "db", "uid": "set"}, {"kind": "Other", "name": "o", "uid": "o"}]
    found = stateful_claims.owner_references(
        current, stateful_set(deleted, scaled), {"metadata": {"name": "db-1", "uid": "pod"}}, condemned=condemned)
    assert [item["kind"] for item in found] == ["Other", *owners]


def test_a_claims_name_and_labels_are_its_identitys() -> None:
    (made,) = stateful_claims.claims_for(stateful_set("Retain", "Retain"), 2)
    assert made["metadata"]["name"] == "data-db-2" and made["metadata"]["labels"] == {"x": "y", "app": "db"}
    volumes = stateful_claims.with_claims([{"name": "data", "emptyDir": {}}, {"name": "z"}],
                                          stateful_set("Retain", "Retain"), 2)
    assert volumes == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}, {"name": "z"}]
