"""A study on a terminal: one table for each disruption, what each variant's timers are, who missed what."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from testbed.experiment.result import Study
from testbed.report.study.rows import disruption_names, judged_badly, rows, say_timing, titles, whole_runs
from testbed.report.terminal import MINIMUM_WIDTH
from testbed.report.words import OUTAGE_NOTE, clean

if TYPE_CHECKING:
    from rich.console import Console


def render(study: Study, *, width: int = 100, color: bool = False) -> str:
    """The report as text; with ANSI colours when ``color``."""
    from rich.console import Console
    from rich.text import Text

    stream = io.StringIO()
    console = Console(file=stream, width=max(width, MINIMUM_WIDTH), force_terminal=color, no_color=not color,
                      highlight=False, color_system="standard" if color else None)
    title = Text(clean(study.name), style="bold")
    title.append(f"   {len(study.variants)} variants in turns, {len(study.turns)} runs, seed {study.seed}", style="dim")
    console.print(title)
    console.print()
    for name in disruption_names(study):
        _table(console, study, name)
    console.print(Text(OUTAGE_NOTE, style="dim"))
    for line in whole_runs(study):
        console.print(Text(line))
    for item in study.variants:
        console.print(Text(f"{clean(item.name)}: {say_timing(item)}", style="dim"))
    for line in judged_badly(study):
        console.print(Text(line, style="yellow"))
    return stream.getvalue()


def _table(console: Console, study: Study, disruption: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=clean(disruption), title_justify="left",
                  title_style="bold")
    for column in ("variant", "runs", *titles(study), "restored, against the first"):
        table.add_column(column, justify="left")
    for row in rows(study, disruption):
        table.add_row(Text(row.variant, style="bold"), row.runs, *row.cells, row.against)
    console.print(table)
    console.print()
