"""The report as Markdown, for job summaries and merge requests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment.result import Disruption, Result, RunResult
from testbed.report.client_words import client_lines
from testbed.report.comparison import markdown_lines
from testbed.report.load_tables import generator_line, load_tables, machine_line
from testbed.report.log_words import log_lines
from testbed.report.state_words import shipping_lines, state_lines
from testbed.report.statistics_words import over_runs_lines, void_line
from testbed.report.timeline_words import (
    NOTHING_CAME,
    PATHS,
    alert_lines,
    at_mark,
    length,
    parts_line,
    why_not_faster,
    witnesses_line,
)
from testbed.report.words import (
    MARK_WORDS,
    OUTAGE_NOTE,
    clean,
    columns,
    headline,
    main_run,
    passed,
    say_measured,
    say_quantity,
    statistics_of,
)


def render(result: Result) -> str:
    return "\n".join(_lines(result)) + "\n"


def cell(text: str) -> str:
    """Text inside a table cell: it may not end the cell, begin markup or HTML."""
    plain = " ".join(clean(text).split())
    for character in "\\`*_[]|#":
        plain = plain.replace(character, f"\\{character}")
    # Inside an HTML block a backslash does not count: angle brackets are entities everywhere.
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(result: Result) -> Iterator[str]:
    yield f"## {'✅' if passed(result) else '❌'} {cell(result.name)}: {cell(headline(result))}"
    yield ""
    yield (f"{len(result.runs)} run{'s' if len(result.runs) != 1 else ''}, profile {cell(result.profile or '–')}, "
           f"seed {result.seed}, run id {cell(result.run_id)}")
    yield ""
    if result.objectives:
        yield "| | objective | measured |"
        yield "|---|---|---|"
        for item in result.objectives:
            mark = {True: "✅", False: "❌", None: "❔"}[item.met]
            note = f" ({cell(item.note)})" if item.note else ""
            yield f"| {mark} | {cell(item.text)} | {say_measured(result, item)}{note} |"
        yield ""
    yield from _recovery(result)
    if result.comparison is not None:
        yield from markdown_lines(result.comparison)
    run = main_run(result)
    for disruption in run.disruptions if run else ():
        yield from _timeline(disruption)
        yield from _alerts(disruption)
    yield from _clients(run)
    if run is not None:
        yield from _load(run)
    for note in result.notes:
        yield f"- {cell(note)}"


def _recovery(result: Result) -> Iterator[str]:
    names = [name for name in result.disruption_names() if statistics_of(result, name)]
    if not names:
        return
    shown = columns(result)
    yield f"| disruption | {' | '.join(shown.values())} |"
    yield "|---|" + "---|" * len(shown)
    for name in names:
        cells = [say_quantity(result, name, quantity) for quantity in shown]
        yield f"| **{cell(name)}** | {' | '.join(cells)} |"
    yield ""
    yield f"<sub>{cell(OUTAGE_NOTE)}</sub>"
    yield ""
    lines = list(over_runs_lines(result))
    if void := void_line(result):
        lines.append(void)
    yield from (f"- {cell(line)}" for line in lines)
    if lines:
        yield ""


def _clients(run: RunResult | None) -> Iterator[str]:
    """What clients met and what became of what they wrote, of each disruption and of the whole run; what shipping cost.
    """
    subjects: list[tuple[str, Disruption | RunResult]] = []
    if run is not None:
        subjects = [*((item.name, item) for item in run.disruptions), ("the whole run", run)]
    for name, subject in subjects:
        told = {"as clients met it": client_lines(subject), "what became of what was written": state_lines(subject),
                "what shipping cost": shipping_lines(subject) if isinstance(subject, RunResult) else []}
        for title, lines in told.items():
            if lines:
                yield f"**{cell(name)}**, {title}:"
                yield ""
                yield from (f"- {cell(line)}" for line in lines)
                yield ""


def _load(run: RunResult) -> Iterator[str]:
    for item in load_tables(run):
        if item.rows:
            yield f"**{item.title}**"
            yield ""
            yield f"| {' | '.join(item.header)} |"
            yield "|" + "---|" * len(item.header)
            yield from (f"| {' | '.join(cell(text) for text in row)} |" for row in item.rows)
            yield ""
        yield from (f"<sub>{cell(note)}</sub>" for note in item.notes)
        yield ""
    yield from (f"- {cell(line)}" for line in log_lines(run))
    for title, line in (("the load's own use of a core", generator_line(run)), ("this machine", machine_line(run))):
        if line:
            yield f"<sub>{title}: {cell(line)}</sub>"
            yield ""


def _alerts(item: Disruption) -> Iterator[str]:
    if lines := alert_lines(item):
        yield f"**{cell(item.name)}**, alerts:"
        yield ""
        yield from (f"- {cell(line)}" for line in lines)
        yield ""


def _timeline(item: Disruption) -> Iterator[str]:
    if not item.disrupted:
        yield f"**{cell(item.name)}**: {NOTHING_CAME}"
        yield ""
    if item.marks.injected is None or not item.gaps or not item.disrupted:
        return
    yield f"<details><summary>{cell(item.name)}: where the time went</summary>"
    yield ""
    yield "| path | mark | after | gap | cause |"
    yield "|---|---|---|---|---|"
    for gap in item.gaps:
        yield (f"| {gap.path} | {MARK_WORDS.get(gap.end_mark, gap.end_mark)} | "
               f"{at_mark(item, gap)} | {length(item, gap)} | {cell(gap.cause)}"
               + (f"<br>{cell(parts)}" if (parts := parts_line(item, gap)) else "") + " |")
    yield ""
    yield from (f"- {path}: {cell(why)}" for path in PATHS if (why := why_not_faster(item, path)))
    if seen := witnesses_line(item):
        yield f"- witnesses: {cell(seen)}"
    yield from (f"- {cell(note)}" for note in item.notes)
    yield ""
    yield "</details>"
    yield ""
