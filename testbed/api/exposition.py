"""Families of metrics as values, and the two ways in which they are written down for Prometheus. Pure.

A family is declared once: what is exposed, what ``docs/metrics.md`` lists and what tests compare are made from it. What
there is few of becomes prometheus-client's metrics (loaded when the first is made). What there is of each object and
each container is written as text here, so that it can be kept from one scrape to the next: of 200 pods that is 13 000
lines, which must not be made anew every second.

Source: prometheus.io/docs/instrumenting/exposition_formats (text format 0.0.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.api.measures import Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGE, COUNTER, HISTOGRAM, UNTYPED = "gauge", "counter", "histogram", "untyped"

Sample = tuple[Sequence[str], float]  # values of the labels, in the family's order, and the number


@dataclass(frozen=True)
class Family:
    """``name``: as its samples are called. ``labels``: those that every sample has, in order (a histogram's without
    ``le``). ``type``: ``untyped`` for a counter whose name, by its source, does not end in ``_total``."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    type: str = GAUGE

    @property
    def head(self) -> str:
        text = self.text.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {self.name} {text}\n# TYPE {self.name} {self.type}\n"


# --- as text


def escaped(value: str) -> str:
    """A label's value between its quotes."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def labelled(names: Iterable[str], values: Iterable[str]) -> str:
    """``a="1",b="2"``."""
    return ",".join([f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True)])


def line(name: str, labels: str, value: float) -> str:
    """``labels``: as ``labelled`` makes them, empty where there are none."""
    return f"{name}{{{labels}}} {_number(value)}\n" if labels else f"{name} {_number(value)}\n"


def written(family: Family, samples: Iterable[Sample]) -> str:
    """The whole family."""
    return family.head + "".join([line(family.name, labelled(family.labels, values), value)
                                  for values, value in samples])


def _number(value: float) -> str:
    """As short as it is exact."""
    if math.isfinite(value) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")


# --- as prometheus-client's


def metric(family: Family, samples: Iterable[Sample]) -> Metric:
    from prometheus_client.core import Metric

    made = Metric(_base(family), family.text, family.type)
    for values, value in samples:
        made.add_sample(family.name, dict(zip(family.labels, values, strict=True)), value)
    return made


def histogram_metric(family: Family, histograms: Iterable[tuple[Sequence[str], Histogram]]) -> Metric:
    from prometheus_client.core import Metric

    made = Metric(family.name, family.text, family.type)
    for values, histogram in histograms:
        labels = dict(zip(family.labels, values, strict=True))
        for bound, count in histogram.cumulative():
            made.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
        made.add_sample(f"{family.name}_sum", labels, histogram.sum)
        made.add_sample(f"{family.name}_count", labels, histogram.count)
    return made


def client_text(collect: Callable[[], Iterable[Metric]]) -> bytes:
    """What prometheus-client writes of ``collect``'s metrics."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterable[Metric]:
            return collect()

    collected = CollectorRegistry(auto_describe=False)
    collected.register(Collector())
    return generate_latest(collected)


def _base(family: Family) -> str:
    """The client adds a counter's ending itself."""
    return family.name.removesuffix("_total") if family.type == COUNTER else family.name
