"""The live view of a cluster as something rich can print: tables and lines, cut to the height of the terminal. Pure.

What does not fit is counted, never silently left out; pods get the room that the others leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from testbed.cli import top_rows as rows
from testbed.cli.output import plain
from testbed.cli.top_run import Line, run_lines, shown_runs

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {rows.GOOD: "green", rows.BAD: "bold red", rows.WARN: "yellow", rows.QUIET: "dim", rows.PLAIN: ""}
MOST = {"nodes": 8, "workloads": 6, "services": 6, "faults": 5, "events": 10}
LEAST_PODS = 5
LONG = ("SAYS", "TARGETS")  # columns that give way where the terminal is narrow, before any name does
GIVES_WAY = ("events", "workloads", "services", "faults", "nodes")


@dataclass(frozen=True)
class Connection:
    """``away_s``: for how long the control plane has not answered; None while it does."""

    away_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Part:
    """One table. ``left_out``: how many rows are not shown; all of them where there was no room for it."""

    name: str
    header: tuple[str, ...]
    rows: tuple[rows.Row, ...]
    left_out: int = 0


def parts_of(picture: rows.Json, now: datetime, height: int | None, lines: int) -> list[Part]:
    """The tables from top to bottom. ``height``: rows of the terminal, None for all; ``lines``: how many are used
    already."""
    found = {"nodes": (rows.NODE_HEADER, list(rows.node_rows(picture))),
             "pods": (rows.POD_HEADER, rows.pod_rows(picture, now)),
             "workloads": (rows.WORKLOAD_HEADER, list(rows.workload_rows(picture))),
             "services": (rows.SERVICE_HEADER, list(rows.service_rows(picture))),
             "faults": (rows.FAULT_HEADER, rows.fault_rows(picture, now)),
             "events": (rows.EVENT_HEADER, rows.event_rows(picture, now))}
    counts = shares({name: len(content) for name, (_, content) in found.items()}, height, lines)
    return [Part(name, header, tuple(content[:counts[name]]), len(content) - counts[name])
            for name, (header, content) in found.items() if content]


def shares(counts: dict[str, int], height: int | None, lines: int) -> dict[str, int]:
    """How many rows of each table are shown; 0: the table is left out. Where room is short, all but pods give way: to
    one row each, then altogether, in the order of ``GIVES_WAY``."""
    if height is None:
        return counts
    shown = {name: min(count, MOST.get(name, LEAST_PODS)) for name, count in counts.items()}

    def free() -> int:
        return height - lines - 1 - sum(  # one line names the tables that are left out
            2 + shown[name] + (shown[name] < count) for name, count in counts.items() if shown[name])

    for least in (1, 0):
        for name in GIVES_WAY:
            while free() < 0 and shown[name] > least:
                shown[name] -= 1
    while free() < 0 and shown["pods"] > 1:
        shown["pods"] -= 1
    while shown["pods"] < counts["pods"]:
        shown["pods"] += 1
        if free() < 0:  # the last one takes no more room: no line counts what is left out any more
            shown["pods"] -= 1
            break
    return shown


def render(picture: rows.Json, now: datetime, connection: Connection, *, height: int | None = None) -> RenderableType:
    """The whole view."""
    from rich.console import Group
    from rich.text import Text

    lines = [_header(picture, now), *_connection_lines(connection),
             *(line for name, status in shown_runs(picture, now) for line in run_lines(name, status, now))]
    parts = parts_of(picture, now, height, len(lines))
    told = [Text(text, style=STYLES[tone], no_wrap=True, overflow="ellipsis") for text, tone in lines]
    missing = ", ".join(f"{part.left_out} {part.name}" for part in parts if not part.rows)
    tail = [Text(f"no room for {missing}: make the terminal higher", style=STYLES[rows.QUIET])] if missing else []
    return Group(*told, *(_table(part) for part in parts if part.rows), *tail)


def _header(picture: rows.Json, now: datetime) -> Line:
    cluster: dict[str, Any] = dict(picture.get("cluster") or {})
    if not cluster:
        return "waiting for the control plane", rows.QUIET
    nodes = _ready("node", [node["ready"] == "True" for node in picture["nodes"].values()])
    pods = _ready("pod", [pod["ready"] for pod in picture["pods"].values()])
    supervisor = "" if cluster["supervisor"] == "testbed" else f" · {cluster['supervisor']}"
    return (plain(f"cluster {cluster['name']} · profile {cluster['profile']}{supervisor} · "
                  f"{nodes} · {pods} · {now.astimezone():%H:%M:%S}"),
            rows.PLAIN)


def _ready(what: str, ready: Sequence[bool]) -> str:
    return f"{sum(ready)} of {len(ready)} {what}{'s' if len(ready) != 1 else ''} ready"


def _connection_lines(connection: Connection) -> Sequence[Line]:
    if connection.away_s is None:
        return ()
    why = f" ({plain(connection.why)})" if connection.why else ""
    return ((f"the control plane is away for {connection.away_s:.0f} s{why}; what is below is as it was then; "
             "trying again", rows.BAD),)


def _table(part: Part) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    for index, name in enumerate(part.header):
        table.add_column(name, no_wrap=name not in LONG, overflow="ellipsis", min_width=4 if index else 12)
    for row in part.rows:
        table.add_row(*(Text(cell, style=STYLES[row.tone] if index == row.telling else "", no_wrap=True)
                        for index, cell in enumerate(row.cells)))
    more = [Text(f"and {part.left_out} more", style="dim")] if part.left_out else []
    return Group(Text(""), table, *more)
