"""Substitution, tolerances and JSONPath of Chaos Toolkit experiments. What is expected was compared with
chaostoolkit-lib 1.44.0 and jsonpath2 0.4.5 on thousands of drawn examples; the tables keep some of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment.toolkit.jsonpath import JsonPath
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.tolerance import judge, wrong_with

NAMES = st.from_regex(r"\A[a-z_][a-z0-9_]{0,5}\Z")
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.text("xyz ", max_size=4), st.lists(st.integers()))
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
        st.sampled_from(["status", "stdout", "body", "a"]), inner, max_size=3)), max_leaves=6)


# --- substitution


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.data())
def test_a_name_alone_keeps_its_type_and_inside_a_text_becomes_text(names: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(names)))
    scope = Scope(names)
    assert scope.fill(f"${{{name}}}") is names[name]
    assert scope.fill([{"at": f"a ${{{name}}} b"}]) == [{"at": f"a {names[name]} b"}]


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES, min_size=1), NAMES)
def test_configuration_wins_over_secrets_and_unknown_names_stay(
    configuration: dict[str, Any], group: dict[str, Any], unknown: str
) -> None:
    scope = Scope(dict(configuration), {"group": group, "plain": "no mapping"})
    for name in {**group, **configuration}:
        assert scope.fill(f"${{{name}}}") == {**group, **configuration}[name]
    if unknown not in configuration and unknown not in group:
        assert scope.fill(f"${{{unknown}}}") == f"${{{unknown}}}"


@given(ANYTHING)
def test_what_has_no_name_in_it_is_left_as_it_is(value: Any) -> None:
    assert repr(Scope({"a_longer_name": 1}).fill(value)).replace("$$", "$") == repr(value).replace("$$", "$")


# --- tolerances


@pytest.mark.parametrize(("tolerance", "value", "met"), [
    (True, True, True), (True, False, False), (True, 1, True), ("up", "up", True), ("up", "down", False),
    ("${word}", "up", True), (200, 200, True), (200, {"status": 200, "body": "x"}, True), (200, {"status": 500}, False),
    (0, {"status": 0, "stdout": ""}, True), ([1, 5], 3, True), ([1, 5], 5, True), ([1, 5], 6, False),
    ([1, 5], None, False), ([1, 5], "3", False), ([200, 201], {"status": 201}, True),
    ([200, 299], {"status": 250}, False), (["a", "b", "c"], "b", True), ([1, 2, 3], 4, False), ([7], 7, True),
    ({"type": "regex", "pattern": "^ok"}, "ok then", True), ({"type": "regex", "pattern": "^ok"}, "not ok", False),
    ({"type": "regex", "pattern": "ok", "target": "stdout"}, {"stdout": "all ok"}, True),
    ({"type": "regex", "pattern": "${word}", "target": "body"}, {"body": "is up"}, True),
    ({"type": "regex", "pattern": "ok"}, 5, False), ({"type": "regex", "pattern": "ok", "target": "body"}, 5, False),
    ({"type": "range", "range": [0.1, 0.3]}, "0.2\n", True), ({"type": "range", "range": [0.1, 0.3]}, 0.30001, False),
    ({"type": "range", "range": [0, 2]}, Decimal("1.9"), True), ({"type": "range", "range": [0, 2]}, "two", False),
    ({"type": "range", "range": [0, 2], "target": "stdout"}, {"stdout": "1"}, True),
    ({"type": "range", "range": [0, 2]}, None, False), ({"type": "range", "range": [0, 2]}, float("nan"), False),
    ({"type": "jsonpath", "path": "$.a"}, {"a": 0}, True), ({"type": "jsonpath", "path": "$.b"}, {"a": 0}, False),
    ({"type": "jsonpath", "path": "$.b", "count": 0}, {"a": 0}, True),
    ({"type": "jsonpath", "path": "$.items[*]", "count": 2}, '{"items": [1, 2]}', True),
    ({"type": "jsonpath", "path": "$.a", "expect": 1}, b'{"a": 1}', True),
    ({"type": "jsonpath", "path": "$.a[*]", "expect": [1, 2]}, {"a": [1, 2]}, True),
    ({"type": "jsonpath", "path": "$.a", "expect": "${word}", "target": "body"}, {"body": {"a": "up"}}, True),
    ({"type": "jsonpath", "path": "$.a", "expect": [2]}, {"a": 1}, False),
    ({"type": "jsonpath", "path": "$.a", "count": 1}, "not json", False),
])
def test_tolerances(tolerance: Any, value: Any, met: bool) -> None:
    judged = judge(tolerance, value, Scope({"word": "up"}))
    assert judged.met is met and bool(judged.why) is not met


TOLERANCES = st.one_of(
    st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.one_of(st.integers(), st.text(max_size=2))),
    st.builds(lambda pattern, more: {"type": "regex", "pattern": pattern, **more},
              st.sampled_from(["a", "^$", "(x|y)+"]), st.sampled_from([{}, {"target": "body"}])),
    st.builds(lambda limits: {"type": "range", "range": limits},
              st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2)),
    st.builds(lambda path, more: {"type": "jsonpath", "path": path, **more},
              st.sampled_from(["$", "$.a", "$..a", "$[0]", "$[?(@.a > 1)]"]),
              st.sampled_from([{}, {"count": 1}, {"expect": [1]}, {"target": "stdout"}])))


@given(TOLERANCES, ANYTHING)
def test_no_answer_breaks_the_judgement(tolerance: Any, value: Any) -> None:
    """Upstream, an answer of the wrong type ends in an exception."""
    assert list(wrong_with(tolerance)) == []
    judged = judge(tolerance, value)
    assert judged.met == (not judged.why)


@given(st.integers(), st.integers(), st.integers())
def test_two_numbers_are_bounds_and_three_are_members(low: int, high: int, value: int) -> None:
    assert judge([low, high], value).met == (low <= value <= high)
    assert judge([low, high, low], value).met == (value in (low, high))
    assert judge({"type": "range", "range": [low, high]}, value).met == (low <= value <= high)


@pytest.mark.parametrize(("tolerance", "key"), [
    (1.5, ""), (None, ""), ({"type": "odd"}, "type"), ({}, "type"), ({"type": "regex"}, "pattern"),
    ({"type": "regex", "pattern": "("}, "pattern"), ({"type": "regex", "pattern": 3}, "pattern"),
    ({"type": "jsonpath", "path": ""}, "path"), ({"type": "jsonpath", "path": "a.b"}, "path"),
    ({"type": "jsonpath", "path": "$.a", "count": "1"}, "count"), ({"type": "range"}, "range"),
    ({"type": "range", "range": [1]}, "range"), ({"type": "range", "range": [1, "2"]}, "range"),
])
def test_a_tolerance_that_means_nothing_is_a_mistake(tolerance: Any, key: str) -> None:
    assert [where for where, _ in wrong_with(tolerance)] == [key]


# --- JSONPath: what jsonpath2 gives

DOCUMENT = {"b": [{"x": 1, "s": "True"}, {"x": 2, "s": "no"}, {"y": 3}, {"n": None}], "n.b": 5, "on": True}


@pytest.mark.parametrize(("path", "found"), [
    ("$.b[*].x", [1, 2]), ("$..x", [1, 2]), ('$["n.b"]', [5]), ("$['n.b']", [5]), ("$.b[-1].n", [None]),
    ("$.b[0:2].s", ["True", "no"]), ("$.b[::2].x", [1]), ("$.b[0,2].y", [3]), ('$.b[0]["x","s"]', [1, "True"]),
    ("$.nope", []), ("$.b[9]", []), ("$.b[*][?(@.x = 1)].s", ["True"]), ("$.b[*][?(@.x == 1)].s", ["True"]),
    ('$.b[*][?(@.s = "no" and @.x > 1)].x', [2]), ("$.b[*][?(not @.x)]", [{"y": 3}, {"n": None}]),
    ("$.b[*][?(@.x = 1 or @.x = 2 and @.y = 3)]", []), ("$.b[*][?(@.n = null)]", [{"n": None}]),
    ("$.b[?(@.x = 1)]", []), ("$.b[?(@[0].x = 1)][0].x", [1]), ("$[?($.on)].on", [True]), ("$.b.length()", [4]),
    ("$.b[0][keys()]", [["x", "s"]]), ("$.b[0].s.charAt(0)", ["T"]), ("$.b[0].s.substring(1, 3)", ["ru"]),
    ("$..b[*][?(@.x >= 2)].s", ["no"]), ("$ . b [ 0 ] . x", [1]), ("$.b[*][?(1 = @.x)].s", ["True"]),
])
def test_jsonpath(path: str, found: list[Any]) -> None:
    assert JsonPath(path).values(DOCUMENT) == found


@pytest.mark.parametrize("path", ["", "b", "$.", "$..", "$[", "$[]", "$.b[?(@.x = )]", "$.b[1.5]", "$.b[::0]", "$ x",
                                  "$.b[*", "$.and", "$.b.odd()", "$[?(@.s contains 'x')]", '$["b]'])
def test_a_path_that_means_nothing_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        JsonPath(path)
