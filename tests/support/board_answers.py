"""Whether a Prometheus has something to show for everything that a dashboard asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from support.boards import Json, annotations, panels, plain, variable_source, variables
from support.prometheus import Prometheus, Series

RATE_INTERVAL = "4s"  # as Grafana computes $__rate_interval for a look a second: four of them


@dataclass(frozen=True)
class Span:
    """The time that the dashboard shows, in seconds since 1970."""

    start: float
    end: float

    def query(self, expression: str) -> str:
        return plain(expression, RATE_INTERVAL, f"{max(1, round(self.end - self.start))}s")


def answer(prometheus: Prometheus, target: Json, span: Span) -> list[Series]:
    """As the panel's query is asked; only series with a number in them."""
    query = span.query(target["expr"])
    found = prometheus.at(query, span.end) if target.get("instant") else prometheus.over(query, span.start, span.end)
    return [series for series in found if series.samples]


def offered(prometheus: Prometheus, variable: Json, span: Span) -> list[str]:
    """The values of a variable, as Grafana asks for them."""
    series, label = variable_source(variable)
    return sorted(prometheus.values(span.query(series), label, span.start, span.end))


def unanswered(prometheus: Prometheus, span: Span, board: Json) -> Iterator[str]:
    """Queries of panels, annotations and variables that have nothing to show."""
    for panel in panels(board):
        for target in panel["targets"]:
            if not answer(prometheus, target, span):
                yield f"{board['title']}: {panel['title']}: {target['expr']}"
    for annotation in annotations(board):
        if not answer(prometheus, annotation, span):
            yield f"{board['title']}: annotation {annotation['name']}: {annotation['expr']}"
    for variable in variables(board):
        if not offered(prometheus, variable, span):
            yield f"{board['title']}: variable {variable['name']}: {variable['query']}"
