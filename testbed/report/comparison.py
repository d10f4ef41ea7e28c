"""Two sets of runs held against each other, as rows, for a terminal and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.experiment.durations import say_duration
from testbed.experiment.objectives import say_value
from testbed.experiment.quantities import named
from testbed.experiment.result.comparison import Compared, Comparison
from testbed.report.words import WHOLE_RUN, clean

if TYPE_CHECKING:
    from rich.console import Console

TITLES = ("disruption", "value", "A", "B", "B / A", "p", "B larger in", "verdict")
SIGNS = {"improved": "✓", "same": "=", "worse": "✗", "cannot tell": "?"}
STYLES = {"improved": "green", "same": "", "worse": "bold red", "cannot tell": "yellow"}


@dataclass(frozen=True)
class Row:
    """``cells``: one for each of ``TITLES``."""

    cells: tuple[str, ...]
    verdict: str
    reason: str


def rows(comparison: Comparison) -> Iterator[Row]:
    """What the verdict hangs on, then what else differs: it often says why."""
    rest = [item for item in comparison.quantities
            if not item.primary and item.verdict in ("worse", "improved")]
    for item in (*comparison.primary, *rest):
        yield Row(_cells(item), item.verdict, clean(item.reason))


def _cells(item: Compared) -> tuple[str, ...]:
    quantity = named(item.disruption, item.quantity)
    return (clean(item.disruption) or WHOLE_RUN, quantity.words if quantity else clean(item.quantity),
            _centre(item, item.centre_a, item.n_a, item.censored_a),
            _centre(item, item.centre_b, item.n_b, item.censored_b), _difference(item), _p(item),
            "–" if item.effect is None else f"{item.effect:.0%}", f"{SIGNS[item.verdict]} {item.verdict}")


def _centre(item: Compared, value: float | None, n: int, censored: int) -> str:
    """``1.15 s``; of counts, the mean per run."""
    if n == 0:
        return "–"
    told = "longer than watched" if value is None else _say(item, value)
    return f"{told} ({censored} of {n} not seen)" if censored else told


def _say(item: Compared, value: float) -> str:
    """No finer than one run's value is known."""
    if item.unit == "s":
        return say_duration(value, item.uncertainty_s).partition(" ± ")[0]
    return f"{value:.3g}" if item.unit == "" else say_value(value, item.unit)


def _difference(item: Compared) -> str:
    """The ratio with its interval; where there is none (a zero), the difference with its own."""
    if item.ratio is not None:
        ends = "" if item.ratio_low is None or item.ratio_high is None else (
            f" ({item.ratio_low:.2f} to {item.ratio_high:.2f})")
        return f"{item.ratio:.2f}{ends}"
    if item.shift is None:
        return "–"

    def say(value: float | None) -> str:
        return "?" if value is None else f"{'+' if value >= 0 else '-'}{_say(item, abs(value))}"

    return f"{say(item.shift)} ({say(item.shift_low)} to {say(item.shift_high)})"


def _p(item: Compared) -> str:
    p = item.p if item.p_adjusted is None else item.p_adjusted
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def headline(comparison: Comparison) -> str:
    """``worse: crash.repair``."""
    text = f"{comparison.verdict}: {comparison.reason}" if comparison.reason else comparison.verdict
    return clean(text)


def notes(comparison: Comparison) -> Iterator[str]:
    if comparison.not_comparable:
        yield "another class of machine: " + clean("; ".join(comparison.not_comparable))
    reasons: dict[str, list[str]] = {}
    for item in comparison.primary:
        if item.verdict == "cannot tell" and item.reason:
            reasons.setdefault(item.reason, []).append(item.name)
    for reason, names in reasons.items():
        yield clean(f"{', '.join(names)}: {reason}")
    first = next(iter(comparison.quantities), None)
    if first is not None:
        yield (f"B / A: ratio of the medians (of counts, of the means per run) with its {first.level:.0%} interval; p: "
               "Mann-Whitney, Holm-adjusted; B larger in: of all pairs of a run of A and one of B")


def as_table(comparison: Comparison) -> dict[str, Any]:
    """What ``comparison_table.html.j2`` shows."""
    return {"titles": TITLES, "rows": list(rows(comparison)), "notes": list(notes(comparison))}


def render(comparison: Comparison, *, width: int = 100, color: bool = False) -> str:
    """The report as text; with ANSI colours when ``color``."""
    from rich.console import Console

    stream = io.StringIO()
    show(Console(file=stream, width=max(width, 60), force_terminal=color, no_color=not color, highlight=False,
                 color_system="standard" if color else None), comparison)
    return stream.getvalue()


def show(console: Console, comparison: Comparison) -> None:
    """Verdict, table and what stands in its way, on a terminal."""
    from rich.table import Table
    from rich.text import Text

    title = Text(clean(comparison.verdict.upper()), style=STYLES[comparison.verdict] or "bold")
    title.append(f"   B {clean(comparison.b)} against A {clean(comparison.a)}", style="bold")
    console.print(title)
    if comparison.reason:
        console.print(Text(clean(comparison.reason)))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in TITLES:
        table.add_column(name, justify="left")
    for row in rows(comparison):
        table.add_row(*(Text(text) for text in row.cells[:-1]), Text(row.cells[-1], style=STYLES[row.verdict]))
    console.print(table)
    for note in notes(comparison):
        console.print(Text(note, style="dim"))


def markdown_lines(comparison: Comparison) -> Iterator[str]:
    """A heading, the table, what stands in its way."""
    from testbed.report.markdown import cell

    title = f"{comparison.b} against {comparison.a}: {headline(comparison)}"
    yield f"### {SIGNS[comparison.verdict]} {cell(title)}"
    yield ""
    yield "| " + " | ".join(TITLES) + " |"
    yield "|---" * len(TITLES) + "|"
    for row in rows(comparison):
        yield "| " + " | ".join(cell(text) for text in row.cells) + " |"
    yield ""
    for note in notes(comparison):
        yield f"- {cell(note)}"
    yield ""
