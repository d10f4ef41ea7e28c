"""How times are written: one unit for a value and its uncertainty, and figures that can be added up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment.durations import grain_of, say_apart, say_duration


@pytest.mark.parametrize(("seconds", "uncertainty_s", "said"), [
    (0.8, 0.3, "800 ms ± 300 ms"), (0.6, 0.6, "600 ms ± 600 ms"), (0.6, 1.0, "1 s ± 1 s"),
    (3.98, 0.009, "3.98 s ± 0.01 s"), (0.0029, 0.0004, "2.9 ms ± 0.4 ms"),
    (0.0062, 0.02, "10 ms ± 20 ms"), (0.98, 0.2, "1.0 s ± 0.2 s"),
    (30.0, 120.0, "0 s ± 2 min"), (200.0, 90.0, "3 min 20 s ± 2 min"), (-0.003, 0.001, "-3 ms ± 1 ms"),
])
def test_a_value_and_its_uncertainty(seconds: float, uncertainty_s: float, said: str) -> None:
    assert say_duration(seconds, uncertainty_s) == said


@given(st.floats(0, 90), st.floats(1e-5, 50))
def test_they_have_the_same_unit_and_it_is_never_told_as_less(seconds: float, uncertainty_s: float) -> None:
    found = re.fullmatch(r"([\d.]+) (ms|s)(?: ± ([\d.]+) (ms|s))?", say_duration(seconds, uncertainty_s))
    assert found is not None and found[4] in (None, found[2])
    if found[3]:
        unit_s = 1e-3 if found[4] == "ms" else 1.0
        assert float(found[3]) * unit_s >= 0.97 * uncertainty_s
        assert abs(float(found[1]) * unit_s - seconds) <= 0.51 * float(found[3]) * unit_s


@given(st.lists(st.floats(0, 5), min_size=1, max_size=8), st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0]))
def test_shares_add_up_and_are_off_by_less_than_a_figure(seconds: list[float], uncertainty_s: float) -> None:
    grain = grain_of(sum(seconds), uncertainty_s)
    whole = grain.figures(sum(seconds))
    shares = grain.shares(seconds, whole)
    assert sum(shares) == whole and min(shares) >= 0
    step_s = grain.unit_s * 10.0 ** -grain.decimals
    assert all(abs(share * step_s - value) < 1.001 * step_s for share, value in zip(shares, seconds, strict=True))


@pytest.mark.parametrize(("seconds", "limit_s", "uncertainty_s", "said"), [
    (1.0684, 1.07, 0.0, "1.068 s"), (1.0684, 1.07, 0.001, "1.068 s ± 0.001 s"), (1.07, 1.07, 0.0, "1.07 s"),
    (1.13, 1.1, 0.2, "1.13 s ± 0.2 s"), (2.0, 1.0, 0.0, "2.00 s"), (125.3, 125.0, 0.0, "125.3 s"),
])
def test_a_value_is_told_from_its_limit(seconds: float, limit_s: float, uncertainty_s: float, said: str) -> None:
    assert say_apart(seconds, limit_s, uncertainty_s) == said
