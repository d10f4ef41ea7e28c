"""How metrics are counted and written down: histograms, lines of text, and how late an event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from testbed.api.exposition import (
    COUNTER,
    HISTOGRAM,
    UNTYPED,
    Family,
    client_text,
    histogram_metric,
    metric,
    written,
)
from testbed.api.measures import LAG_UNSEEN_S, Histogram, LoopLag
from testbed.simulation.loop import run_virtual

LABEL = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BOUNDS = (0.1, 0.5, 2.5)


@given(LABEL, LABEL, st.floats(allow_nan=False))
def test_what_is_written_is_read_back(first: str, second: str, value: float) -> None:
    family = Family("a_thing", "Some \\ thing.\nOf two lines.", ("one", "two"))
    (read,) = text_string_to_metric_families(written(family, [((first, second), value)]))
    assert (read.name, read.type, read.documentation) == (family.name, family.type, family.text)
    assert [(item.labels, item.value) for item in read.samples] == [({"one": first, "two": second}, value)]


@pytest.mark.parametrize("family", [
    Family("a_total", "Counted.", ("l",), COUNTER), Family("b", "Measured.", ("l",)),
    Family("c", "A counter whose name does not say so.", ("l",), UNTYPED),
])
def test_both_ways_of_writing_say_the_same(family: Family) -> None:
    samples = [(("x",), 3.0), (("y",), 0.25)]
    mine = next(iter(text_string_to_metric_families(written(family, samples))))
    theirs = next(iter(text_string_to_metric_families(client_text(lambda: [metric(family, samples)]).decode())))
    assert (mine.name, mine.type, mine.samples) == (theirs.name, theirs.type, theirs.samples)


@given(st.lists(st.floats(0, 10)))
def test_a_histogram_counts_every_value_once_and_from_below(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    expected = [(f"{bound:g}", sum(value <= bound for value in values)) for bound in BOUNDS]
    assert list(histogram.cumulative()) == [*expected, ("+Inf", len(values))]
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_a_histogram_is_read_as_one() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(0.5)
    family = Family("took_seconds", "How long.", ("what",), HISTOGRAM)
    text = client_text(lambda: [histogram_metric(family, [(("a",), histogram)])]).decode()
    (read,) = text_string_to_metric_families(text)
    assert read.type == "histogram"
    assert {item.labels["le"]: item.value for item in read.samples if item.name.endswith("_bucket")} == {
        "0.1": 0, "0.5": 1, "2.5": 1, "+Inf": 1}


def test_lag_is_the_worst_of_the_last_seconds() -> None:
    async def story() -> None:
        lag = LoopLag(window_s=0.6)
        assert lag.worst_s() == 0.0
        await asyncio.sleep(0.05)
        time.sleep(0.5)  # noqa: ASYNC251  (this is what is measured)
        await asyncio.sleep(0.05)
        assert 0.2 < lag.worst_s() < 5
        async with asyncio.timeout(10):
            while lag.worst_s() > 0.2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await lag.close()

    asyncio.run(story())


def test_lag_is_watched_only_while_somebody_asks() -> None:
    async def story(loop: asyncio.AbstractEventLoop) -> None:
        lag = LoopLag()
        assert lag.worst_s() == 0.0
        assert len(asyncio.all_tasks()) == 2
        await asyncio.sleep(LAG_UNSEEN_S + 1)
        assert len(asyncio.all_tasks()) == 1
        await lag.close()

    run_virtual(story)
