"""What a second apply sends: the new state, and the removal of what the last apply had."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.cli.apply import LAST_APPLIED, annotated, difference
from testbed.cli.output import columns, seconds
from testbed.errors import UsageError


def test_dropped_key_is_removed() -> None:
    assert difference({"a": 1, "b": {"x": 1, "y": 2}}, {"b": {"x": 1}}, merge_lists=True) == {
        "a": None, "b": {"x": 1, "y": None}}


def test_dropped_item_of_a_named_list_is_deleted_by_directive() -> None:
    last = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    patch = difference(last, {"env": [{"name": "A", "value": "3"}]}, merge_lists=True)
    assert patch == {"env": [{"name": "A", "value": "3"}, {"$patch": "delete", "name": "B"}]}


def test_lists_of_custom_resources_are_replaced() -> None:
    last = {"steps": [{"name": "a"}, {"name": "b"}]}
    assert difference(last, {"steps": [{"name": "a"}]}, merge_lists=False) == {"steps": [{"name": "a"}]}


Maps = st.recursive(
    st.integers() | st.text(max_size=3), lambda child: st.dictionaries(st.sampled_from("abcd"), child, max_size=3),
    max_leaves=12,
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


Objects = st.dictionaries(st.sampled_from("abcd"), Maps, max_size=3)


@given(Objects, Objects)
def test_patch_leads_from_the_last_state_to_the_wanted_one(last: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert merged(last, difference(last, wanted, merge_lists=True)) == wanted


def test_annotation_does_not_contain_itself() -> None:
    once = annotated({"metadata": {"name": "web"}})
    assert annotated(once)["metadata"]["annotations"][LAST_APPLIED].count("last-applied") == 0


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("1.5s", 1.5)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1s", "1d", "nan", "1 s 2"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


def test_a_cell_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in columns(("NAME",), [("\x1b[2Jweb\r\n",)])
