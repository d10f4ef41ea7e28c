"""Every conformance case in virtual time, with upstream's constants."""

from __future__ import annotations

import pytest
from cases.catalogue import CATALOGUE, LEFT_OUT
from cases.outcomes import recorded
from cases.registry import CASES, Case
from cases.worlds import run_simulated


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in sorted(CASES.items())])
def test_case(case: Case) -> None:
    with recorded(case, "simulated"):
        run_simulated(case)


def test_every_case_of_the_list_has_a_body_or_a_reason() -> None:
    """None is skipped in silence, and no body is of a case that nobody listed."""
    having = {case.id for case in CASES.values()}
    assert having <= set(CATALOGUE) and set(LEFT_OUT) <= set(CATALOGUE)
    assert not having & set(LEFT_OUT)


def test_at_least_95_percent_of_the_list_have_a_body() -> None:
    assert len({case.id for case in CASES.values()}) >= 0.95 * (len(CATALOGUE) - len(LEFT_OUT))


def test_ten_cases_that_every_run_tries_on_docker_are_short() -> None:
    quick = [case for case in CASES.values() if case.quick]
    assert len(quick) >= 10
    assert not [case.name for case in quick if case.not_on_docker]
