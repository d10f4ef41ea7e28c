"""What the HTML report's charts draw, as plain rows, each with the words of its chart: from a result, with nothing that
its charts do not need. Pure."""

from __future__ import annotations

from typing import Any

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, Gap, Result, RunResult
from testbed.report.chart_words import overview_words, spread_words, waterfall_words
from testbed.report.timeline_words import KIND_WORDS, length, parts_of, since
from testbed.report.words import COLUMNS, MARK_WORDS, QUANTITY_WORDS, clean, say_quantity

Rows = list[dict[str, Any]]

# What comes later than this many times the whole recovery is left to the text: it would squeeze the recovery itself.
BEYOND = 1.5

# Colours are tokens; the page knows them for light and dark.
GAP_TONES = {
    "detected": "@gap1", "unready": "@gap2", "isolated": "@gap3", "acted": "@gap4", "running": "@gap5",
    "ready": "@gap6", "in_rotation": "@gap3", "restored": "@gap7", "stalled": "@bad",
}
WINDOW_TONES = {
    "fault": "@bad", "rollout": "@accent", "scale": "@accent", "apply": "@accent", "patch": "@accent",
    "uninvited": "@warm",
}
EVENT_GROUPS = {
    "ContainerDied": "died", "Killing": "stopped", "Evicted": "stopped", "TaintManagerEviction": "stopped",
    "Unhealthy": "unhealthy", "ContainerUnready": "unhealthy", "BackOff": "unhealthy", "NodeNotReady": "node",
    "NodeReady": "node", "Created": "started", "Started": "started", "ContainerReady": "ready",
    "EndpointsProgrammed": "endpoints", "ScalingReplicaSet": "scaling",
    "AlertFiring": "alert", "AlertResolved": "alert",
}
EVENT_TONES = {
    "alert": "@bad", "died": "@bad", "unhealthy": "@bad", "node": "@bad", "stopped": "@warm", "started": "@accent",
    "ready": "@good", "endpoints": "@muted", "scaling": "@muted", "other": "@muted",
}


def run_data(run: RunResult) -> dict[str, Any]:
    """Columns of the shared time axis, windows and events of one run."""
    series = run.series
    return {
        "number": run.number, "bin": series.bin_s, "start": series.start_s, "due": list(series.due),
        "failed": list(series.failed), "p50": _ms(series.p50), "p95": _ms(series.p95), "p99": _ms(series.p99),
        "ready": list(series.ready), "desired": list(series.desired), "restarts": list(series.restarts),
        "locust": list(run.locust.rate) if run.locust else [],
        "locustFailed": list(run.locust.failures_rate) if run.locust and run.locust.failures else [],
        "windows": windows(run), "events": events(run), "duration": run.duration_s,
        "words": overview_words(run),
    }


def _ms(values: tuple[float | None, ...]) -> list[float | None]:
    return [None if value is None else round(max(value, 1e-4) * 1000, 2) for value in values]


def windows(run: RunResult) -> Rows:
    """Disruptions: how long each was in force, and when everything was restored."""
    return [{"name": item.name, "what": clean(item.what), "start": round(item.window_s[0], 3),
             "end": round(item.window_s[1], 3), "restored": item.marks.restored, "tone": WINDOW_TONES[item.kind]}
            for item in run.disruptions if item.window_s is not None]


def events(run: RunResult) -> Rows:
    rows = []
    for event in run.events:
        group = EVENT_GROUPS.get(event.kind, "other")
        rows.append({"t": round(event.at_s, 3), "kind": event.kind, "group": group, "tone": EVENT_TONES[group],
                     "object": clean(event.object), "message": clean(event.message)[:160]})
    order = list(EVENT_TONES)
    return sorted(rows, key=lambda row: (order.index(str(row["group"])), row["t"]))


def waterfall_data(item: Disruption) -> dict[str, Any]:
    """Gaps and marks of one disruption, in seconds since its injection."""
    zero = item.marks.injected or 0.0
    gaps: Rows = [bar for gap in item.gaps if item.disrupted for bar in _bars(item, gap, zero)]
    horizon = BEYOND * max((float(gap["end"]) for gap in gaps), default=float("inf"))
    gaps += [{
        "lane": "clients", "start": round(outage.start_s - zero, 4), "end": round(outage.end_s - zero, 4),
        "said": say_duration(outage.seconds, outage.length_uncertainty_s), "tone": "@bad" if outage.failed else "@warm",
        "label": "outage as clients saw it" if outage.failed else "slower than normal",
        "cause": f"{outage.failed} requests failed, {outage.slow} were slower than normal",
    } for outage in item.outages if outage.start_s - zero <= horizon]
    marks: Rows = []
    resolution_s = next((seen.uncertainty_s for seen in item.sightings if seen.witness == "clients"), 0.0)
    for name, tone in (("first_failed", "@bad"), ("last_failed", "@bad"), ("latency_normal", "@good")):
        at = item.marks.get(name)
        if at is not None and at - zero <= horizon:
            marks.append({"lane": "clients", "at": round(at - zero, 4), "label": MARK_WORDS[name], "tone": tone,
                          "said": say_duration(at - zero, resolution_s)})
    if item.marks.alerted is not None and item.marks.alerted - zero <= horizon:
        marks.append({"lane": "alerts", "at": round(item.marks.alerted - zero, 4), "tone": "@bad",
                      "label": f"alerted: {clean(item.alerts[0].name)}" if item.alerts else MARK_WORDS["alerted"],
                      "said": since(item, "alerted")})
    if item.marks.undone is not None and item.marks.undone - zero <= horizon:
        marks.append({"lane": "repair", "at": round(item.marks.undone - zero, 4), "label": "fault undone",
                      "tone": "@muted", "said": say_duration(item.marks.undone - zero, item.uncertainty_of("undone"))})
    return {"gaps": gaps, "marks": marks, "zero": [{"at": 0}], "words": waterfall_words(item.name, gaps, marks)}


def _bars(item: Disruption, gap: Gap, zero: float) -> Rows:
    """One bar for each part of a gap, or for the whole where it has none."""
    label = f"{MARK_WORDS.get(gap.start_mark, gap.start_mark)} → {MARK_WORDS.get(gap.end_mark, gap.end_mark)}"
    tone, bars = GAP_TONES.get(gap.end_mark, "@muted"), list[dict[str, Any]]()
    at = gap.start_s - zero
    for part, said in parts_of(item, gap):
        bars.append({
            "lane": gap.path, "start": round(at, 4), "end": round(at + part.seconds, 4),
            "said": said, "cause": clean(part.words),
            "tone": "@muted" if part.kind == "unexplained" else tone, "label": f"{label}: {KIND_WORDS[part.kind]}"})
        at += part.seconds
    return bars or [{
        "lane": gap.path, "start": round(at, 4), "end": round(gap.end_s - zero, 4), "said": length(item, gap),
        "tone": tone, "cause": clean(gap.cause), "label": label}]


def spread_data(result: Result) -> dict[str, Any]:
    """Values over runs, for the quantities that are times."""
    statistics: Rows = []
    values: Rows = []
    said: list[tuple[str, str]] = []
    for item in result.statistics:
        if item.unit != "s" or not item.values or item.quantity not in COLUMNS:
            continue
        label = f"{item.disruption}: {QUANTITY_WORDS[item.quantity]}"
        statistics.append({"label": label, "median": item.median, "low": item.ci_low, "high": item.ci_high})
        values += [{"label": label, "value": round(value, 4)} for value in item.values]
        said.append((label, say_quantity(result, item.disruption, item.quantity)))
    return {"statistics": statistics, "values": values, "words": spread_words("Spread over runs", said)}
