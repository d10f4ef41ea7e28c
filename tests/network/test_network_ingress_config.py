"""HAProxy's configuration as text: what cannot be written is refused, slots are kept, commands do what slots say."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_modules import INGRESS_CONFIG as config
from hypothesis import given
from hypothesis import strategies as st

Json = dict[str, Any]
ADDRESSES = st.integers(1, 30).map(lambda number: (f"10.0.0.{number}", 8080))


def plan(*endpoints: tuple[str, int], path: str = "", **pool: Any) -> Json:
    return {"routes": [{"host": "h", "path": path, "exact": False, "pool": "p", "canary": "", "weight": 0}],
            "default": "", "pools": [{"name": "p", "endpoints": [list(one) for one in endpoints], **pool}],
            "certificates": []}


@given(st.lists(st.lists(ADDRESSES, unique=True, max_size=20), max_size=8))
def test_slots_hold_exactly_the_endpoints_and_nobody_moves_without_need(turns: list[list[tuple[str, int]]]) -> None:
    slots: dict[str, list[Any]] = {}
    for turn in turns:
        wanted = plan(*turn)
        after = config.fill(slots, wanted)
        assert sorted(one for one in after["p"] if one) == sorted(turn)
        if slots and len(after["p"]) == len(slots["p"]):
            assert all(new == old for old, new in zip(slots["p"], after["p"], strict=True) if old in turn)
            assert apply(slots["p"], config.changes(slots, after, wanted)) == after["p"]
        slots = after


def apply(slots: list[Any], commands: list[str]) -> list[Any]:
    """What HAProxy has after these commands."""
    found = list(slots)
    for words in (command.split() for command in commands):
        index = int(words[2].removeprefix("p/s")) - 1
        if words[3] == "addr":
            found[index] = (words[4], int(words[6]))
        elif words[3:] == ["state", "maint"]:
            found[index] = None
    return found


def test_a_change_of_endpoints_keeps_the_shape_and_more_than_fit_change_it() -> None:
    few, other, many = plan(("10.0.0.1", 1)), plan(("10.0.0.2", 1)), plan(*((f"10.0.0.{n}", 1) for n in range(9)))
    slots = config.fill({}, few)
    shape = config.render(few, slots, [])[1]
    assert config.render(other, config.fill(slots, other), [])[1] == shape
    assert config.render(many, config.fill(slots, many), [])[1] != shape


@given(st.text(max_size=20))
def test_no_path_breaks_out_of_its_word(path: str) -> None:
    wanted = plan(path="/" + path)
    try:
        text, _ = config.render(wanted, config.fill({}, wanted), [])
    except ValueError:
        assert not path.isprintable()
        return
    plain, _ = config.render(plan(path="/x"), config.fill({}, wanted), [])
    assert text.count("\n") == plain.count("\n")


@pytest.mark.parametrize("name", ["a b", "a\nb", "", "a:b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    wanted = plan()
    wanted["pools"][0]["name"] = wanted["routes"][0]["pool"] = name
    with pytest.raises(ValueError):
        config.render(wanted, config.fill({}, wanted), [])


def test_what_is_off_leaves_no_trace() -> None:
    text, _ = config.render(plan(), config.fill({}, plan()), [])
    for word in ("lua", "stick-table", "observe", "maxconn 5", ":443", "redispatch"):
        assert word not in text, word
