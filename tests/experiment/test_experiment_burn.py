"""What a disruption costs of an error budget, and which alerts it fires."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment.burn import burn
from testbed.experiment.durations import parse_span
from testbed.experiment.kind import SloSpec

MONTH_S = 30 * 86400.0


def outage(seconds: float, rate: float = 10.0, begin_s: float = 10.0) -> list[float]:
    """Due times of a service that answers nobody for so long."""
    return [begin_s + index / rate for index in range(round(seconds * rate))]


def test_a_minute_without_service_is_a_minute_of_the_budget() -> None:
    found = burn(outage(60), 1200, 10.0, target=0.999, window_s=MONTH_S)
    assert found.bad == 600
    assert found.rate == pytest.approx(500)  # half of the stretch's requests, of a thousandth allowed
    assert found.spent_s == pytest.approx(60)
    assert found.budget_s == pytest.approx(43.2 * 60)
    assert found.share == pytest.approx(60 / 2592)


@pytest.mark.parametrize(("seconds", "fast_s", "slow_s"), [
    (50, None, None),          # 14.4 x 0.1 % of an hour are 51.84 s, 6 x 0.1 % of six hours 129.6 s
    (52, 51.84, None),
    (129, 51.84, None),
    (131, 51.84, 129.6),
])
def test_alerts_fire_when_both_windows_are_over(seconds: float, fast_s: float | None, slow_s: float | None) -> None:
    fast, slow = burn(outage(seconds, begin_s=100.0), 10_000, 10.0, target=0.999, window_s=MONTH_S).alerts
    assert (fast.factor, fast.long_s, fast.short_s) == (14.4, 3600, 300)
    assert (slow.factor, slow.long_s, slow.short_s) == (6.0, 21600, 1800)
    for alert, after in ((fast, fast_s), (slow, slow_s)):
        assert alert.at_s is None if after is None else alert.at_s == pytest.approx(100 + after, abs=0.11)


def test_the_short_window_keeps_an_old_failure_quiet() -> None:
    """50 bad seconds, and two more a quarter of an hour later: enough for the hour, too few for its last minutes."""
    late = outage(50) + outage(3, begin_s=900.0)
    assert burn(late, 36_000, 10.0, target=0.999, window_s=MONTH_S).alerts[0].at_s is None
    together = outage(53)
    assert burn(together, 36_000, 10.0, target=0.999, window_s=MONTH_S).alerts[0].at_s is not None


@given(st.lists(st.floats(0, 3000), max_size=300), st.sampled_from([0.9, 0.99, 0.999]))
def test_more_bad_requests_never_burn_less(bad: list[float], target: float) -> None:
    ordered = sorted(bad)
    less, more = (burn(items, 10_000, 5.0, target=target, window_s=MONTH_S) for items in (ordered[:-1], ordered))
    assert more.spent_s >= less.spent_s and more.rate >= less.rate
    for before, after in zip(less.alerts, more.alerts, strict=True):
        assert before.at_s is None or after.at_s == before.at_s


def test_an_slo_as_people_write_it() -> None:
    slo = SloSpec.model_validate({"target": "99.9%", "window": "4w"})
    assert slo.target == pytest.approx(0.999)
    assert slo.window == 28 * 86400
    assert SloSpec.model_validate({"target": 0.99}).window == 30 * 86400
    assert parse_span("12h") == 43200


@pytest.mark.parametrize("value", [{"target": "100%"}, {"target": 0}, {"target": "99%", "window": 0},
                                   {"target": "99%", "window": "30 days"}, {}])
def test_an_slo_without_a_budget_is_a_mistake(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="target|window"):
        SloSpec.model_validate(value)
