"""What a chart shows, in words, for those who do not see it: its name for a screen reader. Pure.

Said from what is drawn, and as exactly as it is said elsewhere in the report. What a chart draws is `html_data`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, RunResult
from testbed.report.words import clean


def overview_words(run: RunResult) -> str:
    """The shared time axis of one run."""
    quantiles = {"p50": run.latency.p50, "p95": run.latency.p95, "p99": run.latency.p99}
    latency = ", ".join(f"{name} {say_duration(value)}" for name, value in quantiles.items())
    told = [f"Run {run.number} over time, {say_duration(run.duration_s)}",
            *(_in_force(item) for item in run.disruptions if item.window_s is not None),
            f"{run.requests.failed} of {run.requests.due} requests failed; latency {latency}"]
    ready = [count for count in run.series.ready if count is not None]
    if ready:
        told.append(f"Between {min(ready)} and {max(ready)} pods were ready")
    told.append(f"Container restarts: {sum(run.series.restarts)}; events: {len(run.events)}")
    return _sentences(told)


def _in_force(item: Disruption) -> str:
    start_s, end_s = item.window_s or (0.0, 0.0)
    restored = "" if item.marks.restored is None else f", all restored at {say_duration(item.marks.restored)}"
    return f"{item.name} from {say_duration(start_s)} to {say_duration(end_s)}{restored}"


def waterfall_words(name: str, gaps: Iterable[Mapping[str, Any]], marks: Iterable[Mapping[str, Any]]) -> str:
    """One disruption from its injection on: each lane with its bars, then with its marks."""
    lanes: dict[str, list[str]] = {}
    for bar in gaps:
        lanes.setdefault(bar["lane"], []).append(f"{bar['label']} {bar['said']}")
    for mark in marks:
        lanes.setdefault(mark["lane"], []).append(f"{mark['label']} after {mark['said']}")
    return _sentences([f"{name}, from its injection on",
                       *(f"{lane}: {', '.join(told)}" for lane, told in lanes.items())])


def spread_words(what: str, values: Iterable[tuple[str, str]]) -> str:
    """A row for each value over runs: what it is of, and its median with the least and the largest."""
    return _sentences([f"{what}, the median (least – largest)", *(f"{label}: {said}" for label, said in values)])


def _sentences(told: Iterable[str]) -> str:
    return clean(". ".join(told)) + "."
