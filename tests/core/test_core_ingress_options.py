"""Annotations of Ingresses: off unless said, read or told wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.core.ingress_options import (
    Breaker,
    Options,
    Outliers,
    known_annotations,
    read_options,
    unknown_annotations,
)

P = "ingress.testbed.io/"


def test_nothing_said_is_everything_off() -> None:
    assert read_options({"other.io/rate-limit": "x"}) == (Options(), ())


@pytest.mark.parametrize(("annotations", "wanted"), [
    ({"canary": "true", "canary-weight": "10"}, Options(canary=True, canary_weight=10)),
    ({"canary": "false"}, Options()),
    ({"retry-budget": "20%"}, Options(retry_percent=20)),
    ({"outlier-errors": "5"}, Options(outliers=Outliers(5, 30.0, 10))),
    ({"outlier-errors": "3", "outlier-ejection-time": "500ms", "outlier-max-ejected": "50%"},
     Options(outliers=Outliers(3, 0.5, 50))),
    ({"circuit-breaker": "50%"}, Options(breaker=Breaker(50, 10.0))),
    ({"circuit-breaker": "50%", "circuit-breaker-time": "1.5s"}, Options(breaker=Breaker(50, 1.5))),
    ({"max-connections": "7"}, Options(max_connections=7)),
    ({"rate-limit": "50/s"}, Options(limit=50, limit_period_s=1)),
    ({"rate-limit": "600/m"}, Options(limit=600, limit_period_s=60)),
])
def test_what_is_said_is_read(annotations: dict[str, str], wanted: Options) -> None:
    assert read_options({P + key: value for key, value in annotations.items()}) == (wanted, ())


@pytest.mark.parametrize(("name", "value", "told"), [
    ("canary", "yes", 'must be "true" or "false"'),
    ("canary-weight", "101", "must be a whole number from 0 to 100"),
    ("retry-budget", "20", "must be a percentage from 1% to 100%"),
    ("retry-budget", "0%", "must be a percentage"),
    ("outlier-errors", "0", "must be a whole number from 1 to 1000"),
    ("outlier-ejection-time", "soon", "must be a time from 100ms to 1h"),
    ("circuit-breaker", "101%", "must be a percentage"),
    ("max-connections", "-1", "must be a whole number"),
    ("rate-limit", "50", 'must be requests of one client per second or minute, as "50/s"'),
    ("rate-limit", "0/s", "must be requests"),
    ("canary-weight", "5", "has no meaning without ingress.testbed.io/canary"),
])
def test_what_cannot_be_read_is_told_and_is_off(name: str, value: str, told: str) -> None:
    _, problems = read_options({P + name: value})
    assert any(problem.annotation == P + name and told in problem.message for problem in problems), problems


def test_names_that_only_look_like_ours_are_found() -> None:
    assert unknown_annotations({P + "rate-limt": "1/s", P + "canary": "true", "a.io/b": ""}) == (P + "rate-limt",)


@given(st.dictionaries(st.sampled_from(known_annotations()), st.text(max_size=12)))
def test_no_text_breaks_it(annotations: dict[str, str]) -> None:
    options, problems = read_options(annotations)
    assert 0 <= options.canary_weight <= 100 and 0 <= options.retry_percent <= 100
    assert {problem.annotation for problem in problems} <= annotations.keys()
