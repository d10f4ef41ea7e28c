"""A study on a terminal: one table for each disruption, what each variant's timers are, who missed what."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from testbed.experiment.result import Study
from testbed.report import comparison
from testbed.report.study.names import caption, in_lines
from testbed.report.study.rows import (
    Row,
    decision,
    disruption_names,
    judged_badly,
    rows,
    timing_lines,
    titles,
    whole_runs,
)
from testbed.report.terminal import MINIMUM_WIDTH
from testbed.report.words import OUTAGE_NOTE, clean

if TYPE_CHECKING:
    from rich.console import Console

AGAINST = "restored, against the first"
NAME_WIDTH = 30
GAP = 2  # between columns


def render(study: Study, *, width: int = 100, color: bool = False) -> str:
    """The report as text; with ANSI colours when ``color``."""
    from rich.console import Console
    from rich.text import Text

    stream = io.StringIO()
    console = Console(file=stream, width=max(width, MINIMUM_WIDTH), force_terminal=color, no_color=not color,
                      highlight=False, color_system="standard" if color else None)
    title = Text()
    title.append(f" {study.verdict.value.upper()} ", style="bold white on red" if study.exit_code else
                 "bold black on green")
    title.append(f"  {clean(study.name)}", style="bold")
    title.append(f"   {len(study.variants)} variants in turns, {len(study.turns)} runs, seed {study.seed}", style="dim")
    console.print(title)
    for line, style in ((study.reason, ""), (decision(study), ""), (caption(study), "dim")):
        if line:
            console.print(Text(clean(line), style=style))
    console.print()
    for name in disruption_names(study):
        _table(console, study, name)
    if study.gated is not None:
        comparison.show(console, study.gated)
        console.print()
    console.print(Text(OUTAGE_NOTE, style="dim"))
    for line in whole_runs(study):
        console.print(Text(line))
    for line in timing_lines(study):
        console.print(Text(line, style="dim"))
    for line in judged_badly(study):
        console.print(Text(line, style="yellow"))
    return stream.getvalue()


def _table(console: Console, study: Study, disruption: str) -> None:
    """As a table; where it is too wide for the terminal, a block for each variant: nothing is ever cut."""
    from rich.table import Table
    from rich.text import Text

    heads = ("variant", "runs", "verdict", *titles(study), AGAINST)
    found = list(rows(study, disruption))
    cells = [(in_lines(row.variant, NAME_WIDTH), row.runs, row.verdict, *row.cells, row.against) for row in found]
    sizes = widths([heads, *cells], console.width - GAP * len(heads))
    if sizes is None:
        _blocks(console, disruption, heads, found)
        return
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", title=clean(disruption), title_justify="left",
                  title_style="bold")
    for head, size in zip(heads, sizes, strict=True):
        table.add_column(head, width=size)
    for row, (name, runs, verdict, *others) in zip(found, cells, strict=True):
        table.add_row(Text(name, style="bold"), runs, Text(verdict, style=_style(row)), *others)
    console.print(table)
    console.print()


def widths(cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Of the columns of a table: no word is broken, and whose cells are the longest gets the rest. None: no room."""
    columns = list(zip(*cells, strict=True))
    found = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    wanted = [max(len(line) for cell in column for line in (cell.splitlines() or [""])) for column in columns]
    spare = room - sum(found)
    if spare < 0:
        return None
    for _ in range(spare):
        most = max(range(len(found)), key=lambda index: wanted[index] - found[index])
        if wanted[most] <= found[most]:
            break
        found[most] += 1
    return found


def _blocks(console: Console, disruption: str, heads: Sequence[str], found: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(clean(disruption), style="bold"))
    for row in found:
        console.print(Text(row.variant, style="bold"), overflow="fold")
        block = Table(box=None, padding=(0, GAP, 0, GAP), show_header=False)
        cells: tuple[str | Text, ...] = (row.runs, Text(row.verdict, style=_style(row)), *row.cells, row.against)
        for head, cell in zip(heads[1:], cells, strict=True):
            if cell:
                block.add_row(Text(head, style="dim"), cell)
        console.print(block)
    console.print()


def _style(row: Row) -> str:
    return "green" if row.passed else "yellow"
