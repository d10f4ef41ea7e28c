"""The three patches, by their rules and by properties."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.client.applying import three_way_patch, with_last_applied
from testbed.errors import BadRequest, Invalid
from testbed.server.patches import json_patch, merge_patch, strategic_patch

Json = dict[str, Any]

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(st.integers() | st.text(max_size=3) | st.booleans(),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
                      max_leaves=8)
MAPS = st.dictionaries(KEYS, VALUES, max_size=3)


def containers(*items: Json) -> Json:
    return {"spec": {"containers": list(items)}}


def test_strategic_lists_merge_by_their_key() -> None:
    target = containers({"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"})
    patch = containers({"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]})
    merged = strategic_patch(target, patch, "Pod")["spec"]["containers"]
    assert merged[0] == {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}
    assert merged[1] == {"name": "b", "image": "1"}


def test_strategic_lists_without_a_key_are_replaced() -> None:
    target = {"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1"]}]}}
    merged = strategic_patch(target,
                             {"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["2"]}]}},
                             "Pod")
    assert merged["spec"] == {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["2"]}]}


def test_strategic_directives() -> None:
    target = containers({"name": "a"}, {"name": "b"}, {"name": "c"})
    patch = {"spec": {"containers": [{"name": "b", "$patch": "delete"}],
                      "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}}
    assert [item["name"] for item in strategic_patch(target, patch, "Pod")["spec"]["containers"]] == ["c", "a"]
    replaced = strategic_patch(containers({"name": "a"}), containers({"$patch": "replace"}, {"name": "z"}), "Pod")
    assert replaced == containers({"name": "z"})
    whole = strategic_patch({"spec": {"nodeName": "n", "hostname": "h"}},
                            {"spec": {"$patch": "replace", "hostname": "x"}},
                            "Pod")
    assert whole == {"spec": {"hostname": "x"}}


def test_strategic_retain_keys_drops_the_others() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_patch(target, patch, "Deployment") == {"spec": {"strategy": {"type": "Recreate"}}}


def test_strategic_primitive_lists_merge_and_lose_single_items() -> None:
    target = {"metadata": {"finalizers": ["a", "b"]}}
    added = strategic_patch(copy.deepcopy(target), {"metadata": {"finalizers": ["b", "c"]}}, "Pod")
    assert added["metadata"]["finalizers"] == ["a", "b", "c"]
    taken = strategic_patch(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, "Pod")
    assert taken["metadata"]["finalizers"] == ["b"]


def test_strategic_null_removes_and_service_ports_merge_by_port() -> None:
    target = {"spec": {"paused": True, "ports": [{"port": 80, "name": "a"}, {"port": 81}]}}
    merged = strategic_patch(target, {"spec": {"paused": None, "ports": [{"port": 80, "name": "b"}]}}, "Service")
    assert merged == {"spec": {"ports": [{"port": 80, "name": "b"}, {"port": 81}]}}


@pytest.mark.parametrize("patch", [
    containers({"image": "no key"}), {"spec": {"containers": ["text"]}}, {"spec": {"$patch": "explode"}}, [],
    {"spec": {"$retainKeys": 3}}, containers({"name": ["a"]}),
])
def test_malformed_strategic_patches_are_bad_requests(patch: Any) -> None:
    try:
        strategic_patch(containers({"name": "a"}), patch, "Pod")
    except BadRequest:
        return
    assert patch == containers({"name": ["a"]})  # well-formed here; the field's type is validation's affair


@given(MAPS, MAPS)
def test_a_merge_patch_is_idempotent(target: Json, patch: Json) -> None:
    once = merge_patch(copy.deepcopy(target), patch)
    assert merge_patch(copy.deepcopy(once), patch) == once


@given(MAPS, MAPS)
def test_a_strategic_patch_of_plain_fields_is_a_merge_patch(target: Json, patch: Json) -> None:
    assert strategic_patch(copy.deepcopy(target), copy.deepcopy(patch), "NoSuchKind") == merge_patch(
        copy.deepcopy(target), copy.deepcopy(patch))


@given(MAPS, KEYS, VALUES)
def test_json_patch_remove_takes_back_an_add(document: Json, key: str, value: Any) -> None:
    document.pop(key, None)
    before = copy.deepcopy(document)
    added = json_patch(document, [{"op": "add", "path": f"/{key}", "value": value}])
    assert added[key] == value
    assert json_patch(added, [{"op": "remove", "path": f"/{key}"}]) == before


def test_json_patch_pointers_and_lists() -> None:
    document: Json = {"a/b": {"~": [1, 3]}}
    done = json_patch(document, [
        {"op": "add", "path": "/a~1b/~0/1", "value": 2}, {"op": "add", "path": "/a~1b/~0/-", "value": 4},
        {"op": "copy", "from": "/a~1b/~0/0", "path": "/first"}, {"op": "move", "from": "/a~1b", "path": "/moved"},
        {"op": "replace", "path": "/first", "value": 0}, {"op": "test", "path": "/moved/~0/1", "value": 2}])
    assert done == {"moved": {"~": [1, 2, 3, 4]}, "first": 0}


@pytest.mark.parametrize("operations", [
    [{"op": "remove", "path": "/nothing"}], [{"op": "replace", "path": "/nothing", "value": 1}],
    [{"op": "add", "path": "/list/9", "value": 1}], [{"op": "jump", "path": "/a"}], [{"op": "add", "path": "/a"}], [{}],
    [{"op": "add", "path": "a", "value": 1}], [{"op": "remove", "path": ""}], ["text"],
])
def test_json_patches_that_cannot_be_applied(operations: Any) -> None:
    with pytest.raises(Invalid):
        json_patch({"a": 1, "list": []}, operations)


def test_json_patches_are_bounded() -> None:
    with pytest.raises(BadRequest, match="at most"):
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)


@given(MAPS, MAPS, MAPS)
def test_apply_reaches_what_is_wanted_and_leaves_what_others_set(first: Json, second: Json, others: Json) -> None:
    """What was applied before and is no longer wanted goes; what the manifest never named stays."""
    current = merge_patch({"spec": copy.deepcopy(others)}, with_last_applied({"spec": first}))
    wanted = with_last_applied({"spec": second})
    reached = merge_patch(copy.deepcopy(current), three_way_patch(current, wanted))
    assert three_way_patch(reached, wanted) == {}
    for key, value in second.items():
        if not isinstance(value, dict):
            assert reached["spec"][key] == value
    assert all(key in second for key in first if key in reached["spec"] and first.get(key) is not None)
    assert all(reached["spec"][key] == others[key] for key in others if key not in first and key not in second)


def test_what_a_manifest_no_longer_says_inside_a_list_goes_and_defaults_stay() -> None:
    """A probe that is taken out of a container is no default of the server."""
    first = with_last_applied({"spec": {"containers": [{"name": "web", "livenessProbe": {"port": 1}}]}})
    stored = copy.deepcopy(first)
    stored["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    assert three_way_patch(stored, first) == {}
    second = with_last_applied({"spec": {"containers": [{"name": "web"}]}})
    assert three_way_patch(stored, second)["spec"] == {"containers": [{"name": "web"}]}
