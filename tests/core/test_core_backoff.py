"""The back-off schedule (kubernetes: test/e2e_node/container_restart_test.go)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.core.backoff import BackoffEntry, BackoffRule, advanced, caught_up, reconstructed, remaining_s
from testbed.core.profile import FAST, KUBERNETES

UPSTREAM = BackoffRule.of_crashes(KUBERNETES)


def schedule(rule: BackoffRule, lives_s: list[float], restart_of_agent: frozenset[int] = frozenset()) -> list[float]:
    """Start times of a container that lives for each of these times; at some restarts the agent has lost its mind and
    has only what it wrote down."""
    now_s, starts = 1000.0, [1000.0]
    entry: BackoffEntry | None = None
    for index, life_s in enumerate(lives_s):
        finished_s = now_s + life_s
        now_s = finished_s
        if index in restart_of_agent and entry is not None:
            entry = BackoffEntry(entry.delay_s, entry.updated_s)
        now_s += remaining_s(rule, entry, finished_s, now_s)
        entry = advanced(rule, entry, finished_s, now_s)
        starts.append(now_s)
    return [start - 1000.0 for start in starts]


def test_row35_start_times_of_an_always_failing_container() -> None:
    assert schedule(UPSTREAM, [0.0] * 7) == [0, 0, 10, 30, 70, 150, 310, 610]
    assert schedule(UPSTREAM, [0.0] * 7, frozenset(range(7))) == [0, 0, 10, 30, 70, 150, 310, 610]


def test_the_fast_profile_scales_it() -> None:
    starts = schedule(BackoffRule.of_crashes(FAST), [0.0] * 8)
    assert starts == [0, 0, 1, 3, 7, 15, 31, 61, 91]


def test_a_container_that_ran_longer_than_the_window_starts_over() -> None:
    starts = schedule(UPSTREAM, [0.0, 0.0, 0.0, 601.0, 0.0])
    assert starts[4] - starts[3] == 601.0  # no wait
    assert starts[5] - starts[4] == 10.0


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=20))
def test_i7_delays_never_shrink_inside_the_window_and_never_pass_the_maximum(lives_s: list[float]) -> None:
    now_s, entry = 0.0, None
    for life_s in lives_s:
        finished_s = now_s + life_s
        wait_s = remaining_s(UPSTREAM, entry, finished_s, finished_s)
        assert 0 <= wait_s <= UPSTREAM.max_s + 1e-6
        now_s = finished_s + wait_s
        following = advanced(UPSTREAM, entry, finished_s, now_s)
        if entry is not None and life_s + 0.0 <= UPSTREAM.reset_s - 1:
            assert following.delay_s >= entry.delay_s
        assert UPSTREAM.initial_s <= following.delay_s <= UPSTREAM.max_s
        entry = following


@given(st.floats(0, 300), st.floats(0, 1000))
def test_time_that_passed_counts(delay_s: float, passed_s: float) -> None:
    entry = BackoffEntry(delay_s, 100.0)
    assert remaining_s(UPSTREAM, entry, 100.0, 100.0 + passed_s) == max(0.0, 100.0 + delay_s - (100.0 + passed_s))


def test_what_is_rebuilt_from_attempts_errs_on_the_side_of_waiting() -> None:
    assert reconstructed(UPSTREAM, 0, 5.0) is None
    for restarts, delay_s in ((1, 10), (2, 20), (3, 40), (9, 300), (10_000, 300)):
        entry = reconstructed(UPSTREAM, restarts, 5.0)
        assert entry is not None
        assert entry.delay_s == delay_s


def test_restarts_that_nobody_remembered_are_counted_by_their_containers() -> None:
    entry = BackoffEntry(20, 100.0, attempt=2)
    for attempt in (0, 1, 2):
        assert caught_up(UPSTREAM, entry, attempt, 130.0) == entry
    assert caught_up(UPSTREAM, entry, 3, 130.0) == BackoffEntry(40, 130.0, 3)
    assert caught_up(UPSTREAM, entry, 4, 130.0) == BackoffEntry(80, 130.0, 4)
    assert caught_up(UPSTREAM, entry, 10_000, 130.0) == BackoffEntry(300, 130.0, 10_000)
