"""The report as one HTML file that needs nothing else: no network, no server, no font, no second file.

Charts are Vega-Lite, drawn by the libraries that vl-convert carries, embedded as they are. Everything that comes from a
cluster is escaped: text by the template, data as JSON in which no tag can end. Heavy libraries are imported here and
only when a report is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, Result, RunResult
from testbed.report import comparison
from testbed.report.client_words import client_lines
from testbed.report.html_data import GAP_TONES, run_data, spread_data, waterfall_data
from testbed.report.load_tables import generator_line, load_tables, machine_line
from testbed.report.log_words import logs_of, missing_lines, said
from testbed.report.state_words import shipping_lines, state_lines
from testbed.report.statistics_words import over_runs_lines, void_line
from testbed.report.timeline_words import (
    NOTHING_CAME,
    alert_lines,
    at_mark,
    largest,
    length,
    parts_line,
    since,
    why_not_faster,
    witnesses_line,
)
from testbed.report.words import (
    MARK_WORDS,
    OUTAGE_NOTE,
    QUANTITY_WORDS,
    clean,
    columns,
    headline,
    main_run,
    passed,
    say_measured,
    say_quantity,
    statistics_of,
)

if TYPE_CHECKING:
    from jinja2 import Environment

DATA_BUDGET_BYTES = 420_000  # of charts' data; with the libraries' 900 KB a report stays below 1.5 MB
TEMPLATES = Path(__file__).parent


def render(result: Result) -> str:
    """The whole page."""
    environment = page_environment()
    environment.filters.update(
        seconds=say_duration, clean=clean, met=client_lines, load=load_tables, generator=generator_line,
        machine=machine_line, state=state_lines, shipping=shipping_lines,
        log=said, missing_logs=missing_lines, beside=beside, mark=lambda name: MARK_WORDS.get(name, name),
        tone=lambda name: GAP_TONES.get(name, "@muted")[1:],
    )
    runs = detailed_runs(result)
    return environment.get_template("report.html.j2").render(
        result=result, passed=passed(result), headline=headline(result), runs=runs, shown=main_run(result),
        left_out=len(result.runs) - len(runs), data=script_json(page_data(result, runs)), library=library(),
        say_measured=say_measured, cards=[_card(result, name) for name in result.disruption_names()],
        quantity=QUANTITY_WORDS, slowest_gap=largest, outage_note=OUTAGE_NOTE, at_mark=at_mark, length=length,
        parts_line=parts_line, why_not_faster=why_not_faster, witnesses_line=witnesses_line, since=since,
        nothing_came=NOTHING_CAME, shown_quantities=list(columns(result)), alert_lines=alert_lines,
        logs_of=logs_of, over_runs=_over_runs(result), compared=_compared(result),
        files=artefact_links(result),
    )


def artefact_links(result: Result) -> list[tuple[str, str]]:
    """(name, link) of what lies beside the page, in the run's folder; nowhere else: a result may be a stranger's."""
    return [(clean(name), link) for name, path in sorted(result.artefacts.items())
            if path != "report.html" and (link := beside(path))]


def beside(path: str) -> str:
    """The link to a file in the run's folder; empty for a path that leads out of it."""
    return "" if path.startswith("/") or ".." in path.split("/") else "./" + quote(path)


def _over_runs(result: Result) -> list[str]:
    lines = list(over_runs_lines(result))
    void = void_line(result)
    return [*lines, void] if void else lines


def _compared(result: Result) -> dict[str, Any]:
    """The comparison with a baseline; empty without one."""
    return {} if result.comparison is None else comparison.as_table(result.comparison)


def page_environment() -> Environment:
    """Templates of pages: everything is escaped."""
    from jinja2 import Environment, FileSystemLoader

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(TEMPLATES))


def write(result: Result, path: Path) -> None:
    """Writes the page by rename: whoever has it open never sees half of it."""
    temporary = path.with_suffix(".html.new")
    temporary.write_text(render(result), encoding="utf-8")
    temporary.replace(path)


def detailed_runs(result: Result) -> list[RunResult]:
    """The runs whose charts are in the page: the shown one first, then others while there is room."""
    first = main_run(result)
    if first is None:
        return []
    chosen, size = [first], _size(first)
    for run in result.runs:
        size += _size(run)
        if run is not first and size < DATA_BUDGET_BYTES:
            chosen.append(run)
    return sorted(chosen, key=lambda run: run.number)


def _size(run: RunResult) -> int:
    return len(json.dumps(run_data(run)))


def page_data(result: Result, runs: Sequence[RunResult]) -> dict[str, Any]:
    """All that the page's charts need: specifications once, data by run."""
    from testbed.report import charts

    shown = main_run(result)
    return {
        "specs": {"overview": charts.overview(), "waterfall": charts.waterfall(), "spread": charts.spread()},
        "runs": {str(run.number): run_data(run) for run in runs},
        "waterfalls": {str(run.number): [waterfall_data(item) for item in run.disruptions] for run in runs},
        "spread": spread_data(result) if len(result.trusted_runs) > 1 else None,
        "shown": str(shown.number) if shown else "",
    }


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: no tag, no comment and no line separator can appear in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def library() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _card(result: Result, name: str) -> dict[str, Any]:
    """One disruption over all runs."""
    found = [item for run in result.runs for item in run.disruptions if item.name == name]
    example: Disruption = found[-1]
    return {"name": name, "kind": example.kind, "what": clean(example.what),
            "cells": {quantity: say_quantity(result, name, quantity) for quantity in statistics_of(result, name)},
            "example": example}
