"""The report on a terminal: verdict and objectives first, then what each disruption cost and why."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, Result, RunResult
from testbed.experiment.result.timeline import Path
from testbed.report import comparison
from testbed.report.client_words import client_lines
from testbed.report.load_tables import Table as LoadTable
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

if TYPE_CHECKING:
    from rich.console import Console

MINIMUM_WIDTH = 60


def render(result: Result, *, width: int = 100, color: bool = False) -> str:
    """The report as text; with ANSI colours when ``color``."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, width=max(width, MINIMUM_WIDTH), force_terminal=color, no_color=not color,
                      highlight=False, color_system="standard" if color else None)
    _header(console, result)
    _objectives(console, result)
    _recovery(console, result)
    _comparison(console, result)
    run = main_run(result)
    if run is not None:
        _timelines(console, result, run)
        _clients(console, run)
    _notes(console, result)
    return stream.getvalue()


def _header(console: Console, result: Result) -> None:
    from rich.text import Text

    line = Text()
    line.append(" PASSED " if passed(result) else f" {result.verdict.value.upper()} ",
                style="bold black on green" if passed(result) else "bold white on red")
    line.append(f"  {clean(result.name)}", style="bold")
    line.append(f"   {len(result.runs)} run{'s' if len(result.runs) != 1 else ''}, profile {result.profile or '–'}, "
                f"seed {result.seed}", style="dim")
    console.print(line)
    if not passed(result):
        console.print(Text(headline(result)))
    console.print()


def _objectives(console: Console, result: Result) -> None:
    from rich.table import Table
    from rich.text import Text

    if not result.objectives:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for item in result.objectives:
        mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("?", "yellow")}[item.met]
        table.add_row(Text(mark, style=style), Text(clean(item.text)), Text(say_measured(result, item),
                      style=style), Text(clean(item.note), style="dim"))
    console.print(table)
    console.print()


def _recovery(console: Console, result: Result) -> None:
    """One line per disruption, over all trusted runs."""
    from rich.table import Table
    from rich.text import Text

    names = [name for name in result.disruption_names() if statistics_of(result, name)]
    if not names:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    shown = columns(result)
    for title in ("disruption", *shown.values()):
        table.add_column(title, justify="left")
    for name in names:
        table.add_row(Text(name, style="bold"), *(Text(say_quantity(result, name, quantity)) for quantity in shown))
    console.print(table)
    console.print(Text(OUTAGE_NOTE, style="dim"))
    for line in over_runs_lines(result):
        console.print(Text(line, style="dim"))
    if void := void_line(result):
        console.print(Text(void, style="yellow"))
    console.print()


def _comparison(console: Console, result: Result) -> None:
    if result.comparison is not None:
        comparison.show(console, result.comparison)
        console.print()


def _timelines(console: Console, result: Result, run: RunResult) -> None:
    """Both paths of every disruption of one run, each gap with its cause."""
    from rich.text import Text

    if len(result.runs) > 1:
        console.print(Text(f"timelines of run {run.number}", style="dim"))
    for item in run.disruptions:
        title = Text(item.name, style="bold")
        title.append(f"  {clean(item.what)}", style="")
        title.append("  " + clean(", ".join(item.targets)), style="dim")
        console.print(title)
        if not item.disrupted:
            console.print(Text(f"  {NOTHING_CAME}", style="green"))
        for path in PATHS if item.disrupted else ():
            _path(console, item, path)
        _sentences(console, "witnesses", [line] if (line := witnesses_line(item)) else [])
        _sentences(console, "alerts", alert_lines(item))
        _sentences(console, "clients", client_lines(item))
        _sentences(console, "state", state_lines(item))
        for note in item.notes:
            console.print(Text(f"  {clean(note)}", style="yellow"))
        console.print()


def _sentences(console: Console, title: str, lines: list[str]) -> None:
    """One below the other, beside their title."""
    from rich.table import Table
    from rich.text import Text

    if not lines:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(width=11)
    table.add_column(ratio=1)
    for index, line in enumerate(lines):
        table.add_row(Text(f"  {title}" if index == 0 else "", style="cyan"), Text(line))
    console.print(table)


def _path(console: Console, item: Disruption, path: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    gaps = [gap for gap in item.gaps if gap.path == path]
    if not gaps or item.marks.injected is None:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(width=11)
    table.add_column(width=11)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(ratio=1)
    for index, gap in enumerate(gaps):
        told = Text(clean(gap.cause))
        if parts := parts_line(item, gap):
            told.append(f"\n{parts}", style="dim")
        table.add_row(
            Text(f"  {path}" if index == 0 else "", style="cyan"), Text(MARK_WORDS.get(gap.end_mark, gap.end_mark)),
            Text(at_mark(item, gap)), Text(f"+{length(item, gap)}", style="dim"), told)
    console.print(table)
    _sentences(console, "", [why] if (why := why_not_faster(item, path)) else [])


def _clients(console: Console, run: RunResult) -> None:
    from rich.text import Text

    if run.requests.due:
        counts = run.requests
        console.print(Text(
            f"pulse: {counts.due} requests due, {counts.ok} ok, {counts.late} late, {counts.failed} failed"
            + (f" ({counts.unsent} unsent)" if counts.unsent else "")
            + f"; latency p50 {say_duration(run.latency.p50)}, p99 {say_duration(run.latency.p99)}"))
    _sentences(console, "whole run", client_lines(run))
    _sentences(console, "state", state_lines(run))
    _sentences(console, "shipping", shipping_lines(run))
    if run.locust is not None:
        console.print(Text(f"locust: {run.locust.users} users, {run.locust.requests} requests, "
                           f"{run.locust.failures} failed; p95 {say_duration(run.locust.p95)}"))
    for item in load_tables(run):
        _load_table(console, item)
    if used := generator_line(run):
        console.print(Text(f"the load's own use of a core: {used}", style="dim"))
    if went := machine_line(run):
        console.print(Text(f"this machine: {went}", style="dim"))
    for line in log_lines(run):
        console.print(Text(line, style="dim"))
    for state in run.steady_states:
        if not state.met:
            console.print(Text(f"steady state {state.when}: {clean(state.what)}: {clean(state.message)}", style="red"))


def _load_table(console: Console, item: LoadTable) -> None:
    from rich.table import Table
    from rich.text import Text

    if item.rows:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for title in item.header:
            table.add_column(title)
        for row in item.rows:
            table.add_row(*(Text(clean(text)) for text in row))
        console.print(table)
    for note in item.notes:
        console.print(Text(note, style="dim"))


def _notes(console: Console, result: Result) -> None:
    from rich.text import Text

    notes = [*result.notes, *(f"run {run.number}: {note}" for run in result.runs for note in run.notes)]
    for note in notes:
        console.print(Text(clean(note), style="dim"))
