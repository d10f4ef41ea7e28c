"""Who came into rotation and who left it, between two looks at a Service's endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.core.rotation import GONE, READY, TERMINATING, UNREADY, Member, members, turned

STATES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([READY, UNREADY, TERMINATING]))


def endpoint(name: str, address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": name, "uid": f"uid of {name}"}}


def look(states: dict[str, str]) -> list[Member]:
    return [Member(f"default/{name}", name, state=state) for name, state in states.items()]


def test_members_are_pods_by_address_in_the_state_that_their_conditions_say() -> None:
    slices = [{"endpoints": [
        endpoint("a", "10.0.0.1", ready=True, terminating=False), endpoint("b", "10.0.0.2", ready=False),
        endpoint("c", "10.0.0.3", ready=False, terminating=True), {"addresses": ["10.0.0.4"]}]}, {"endpoints": None}]
    assert {address: (item.pod, item.state) for address, item in members(slices).items()} == {
        "10.0.0.1": ("default/a", READY), "10.0.0.2": ("default/b", UNREADY), "10.0.0.3": ("default/c", TERMINATING)}


@pytest.mark.parametrize(("before", "after", "told"), [
    ({}, {"a": READY}, {"a": READY}),
    ({}, {"a": UNREADY}, {}),
    ({"a": READY}, {"a": UNREADY}, {"a": UNREADY}),
    ({"a": READY}, {"a": TERMINATING}, {"a": TERMINATING}),
    ({"a": READY}, {}, {"a": GONE}),
    ({"a": UNREADY}, {}, {}),
    ({"a": TERMINATING}, {"b": READY}, {"b": READY}),
])
def test_a_turn_is_told_once(before: dict[str, str], after: dict[str, str], told: dict[str, str]) -> None:
    assert {item.uid: item.state for item in turned(look(before), look(after))} == told


@given(looks=st.lists(STATES, min_size=1, max_size=6))
def test_whoever_follows_the_turns_knows_who_is_in_rotation(looks: list[dict[str, str]]) -> None:
    known: set[str] = set()
    for before, after in zip([{}, *looks], looks, strict=False):
        for item in turned(look(before), look(after)):
            assert (item.uid in known) != (item.state == READY)
            known ^= {item.uid}
        assert known == {name for name, state in after.items() if state == READY}
