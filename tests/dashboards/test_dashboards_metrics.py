"""What dashboards ask for is what our processes declare: each metric, and each label of it."""

from __future__ import annotations

import re

from support.boards import Json, every_board, expressions, selectors
from support.exposed import families

from testbed.api.exposition import HISTOGRAM

TARGET = {"job", "instance", "part", "node"}  # of every target that there is to scrape (testbed/server/targets.py)
PROMETHEUS = {"up": TARGET, "scrape_duration_seconds": TARGET, "scrape_samples_scraped": TARGET}
PROCESS = {"process_cpu_seconds_total": TARGET, "process_resident_memory_bytes": TARGET}  # of every client library
HAPROXY = {  # its manual, "Prometheus exporter"
    "haproxy_frontend_http_requests_total": TARGET | {"proxy"},
    "haproxy_frontend_current_sessions": TARGET | {"proxy"},
    "haproxy_backend_http_responses_total": TARGET | {"proxy", "code"},
}
ANY = {"ALERTS"}  # has its alert's labels


def declared() -> dict[str, set[str]]:
    """Metric -> its labels."""
    found = {**PROMETHEUS, **PROCESS, **HAPROXY}
    for family in families():
        labels = TARGET | set(family.labels)
        if family.type == HISTOGRAM:
            found |= {f"{family.name}_bucket": labels | {"le"}, f"{family.name}_sum": labels,
                      f"{family.name}_count": labels}
        else:
            found[family.name] = labels
    return found


@every_board
def test_every_metric_is_exposed_and_has_the_labels_it_is_chosen_by(board: Json) -> None:
    known = declared()
    for who, expression in expressions(board):
        for selector in selectors(expression):
            for metric in set(selector.metrics) - ANY:
                assert metric in known, f"{who}: nobody exposes {metric}"
                assert selector.matchers.keys() <= known[metric], f"{who}: {metric} has no such label"


@every_board
def test_series_are_grouped_by_labels_that_they_have(board: Json) -> None:
    known = declared()
    for who, expression in expressions(board):
        made = set(re.findall(r"[)}], \"(\w+)\", \"", expression))  # the first label that label_replace names
        metrics = {metric for selector in selectors(expression) for metric in selector.metrics}
        if metrics & ANY:
            continue
        labels = made.union(*(known.get(metric, set()) for metric in metrics))
        grouped = {label.strip() for clause in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
                   for label in clause.split(",")}
        assert grouped <= labels, f"{who}: {grouped - labels}"


@every_board
def test_legends_name_labels_that_are_left(board: Json) -> None:
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            grouped = {label.strip() for clause in re.findall(r"\bby \(([^)]*)\)", target["expr"])
                       for label in clause.split(",")}
            assert shown <= grouped | {"le"}, f"{panel['title']}: {shown - grouped}"
