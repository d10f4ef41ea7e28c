"""Counters of names that anybody may choose do not grow for ever, and lose nothing."""

from __future__ import annotations

from testbed.server.metrics_totals import MOST_BOUNDS, OTHER, Totals


def test_names_beyond_the_most_are_counted_together_and_the_first_ones_stay_apart() -> None:
    totals = Totals(most_names=3)
    for number in [*range(10), 0]:
        totals.add(("requests", "", (f"experiment-{number}", "web", "ok")), 2.0)
    found = dict(totals.items())
    assert len(found) == 4 and sum(found.values()) == 22
    assert found["requests", "", ("experiment-0", "web", "ok")] == 4
    assert found["requests", "", (OTHER, OTHER, "ok")] == 14, "what became of them is still told apart"


def test_families_have_room_of_their_own() -> None:
    totals = Totals(most_names=1)
    totals.add(("runs", "", ("a", "passed")), 1.0)
    totals.add(("requests", "", ("b", "web", "ok")), 1.0)
    assert dict(totals.items()).keys() == {("runs", "", ("a", "passed")), ("requests", "", ("b", "web", "ok"))}


def test_buckets_of_ever_new_bounds_are_left_out_and_the_whole_is_not() -> None:
    totals = Totals()
    for number in range(MOST_BOUNDS * 3):
        totals.add(("latency", "_bucket", ("a", "web", f"{number}")), 1.0)
    totals.add(("latency", "_bucket", ("a", "web", "+Inf")), 7.0)
    found = dict(totals.items())
    assert len(found) == MOST_BOUNDS and found["latency", "_bucket", ("a", "web", "+Inf")] == 7
