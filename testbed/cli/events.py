"""``testbed events``: what happened, with its reasons, in the order of its times; of everything or about one thing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from testbed.api.instance_files import instance_directory, load_instance
from testbed.api.resources import EVENTS
from testbed.cli import output as printing
from testbed.cli.connection import connect
from testbed.cli.event_rows import HEADER, as_line, in_order, last_seen, row
from testbed.cli.log_about import Trail

if TYPE_CHECKING:
    from testbed.client.protocol import Client

app = typer.Typer()
Json = dict[str, Any]
_LOOK_S = 0.2
_WIDTHS = (29, 7, 22, 34, 0)  # of the columns while more rows may come


class _Shown:
    """Which events are shown, and how. ``since_s``: not what was seen last longer ago; 0: everything."""

    def __init__(self, since_s: float, word: str, types: str, *, exact: bool, namespaces: bool) -> None:
        self._since_s, self._exact, self._namespaces = since_s, exact, namespaces
        self._types = {text.strip().lower() for text in types.split(",") if text.strip()}
        self._trail = Trail(word) if word else None
        self.header = ("NAMESPACE", *HEADER) if namespaces else HEADER

    def rows(self, events: Iterable[Json], now: datetime) -> list[tuple[str, ...]]:
        return [tuple(row(event, now, exact=self._exact, namespaces=self._namespaces))
                for ns, event in in_order(events) if self._takes(ns, event, now)]

    def _takes(self, ns: int, event: Json, now: datetime) -> bool:
        concerns = self._trail is None or self._trail.takes(as_line(ns, event))
        moment = last_seen(event)
        new = not self._since_s or moment is None or (now - moment).total_seconds() <= self._since_s
        return concerns and new and (not self._types or str(event.get("type", "")).lower() in self._types)


@app.command()
def events(
    follow: bool = typer.Option(False, "-f", "--follow", "-w", "--watch", help="Go on, through restarts of the API."),
    since: str = typer.Option("", "--since", help="Only what was seen since, e.g. 5m."),
    about: str = typer.Option("", "--about", "--for", metavar="POD|NODE|FAULT", help="Only what concerns it."),
    types: str = typer.Option("", "--types", help="Normal, Warning."),
    timestamps: bool = typer.Option(False, "--timestamps", help="Moments instead of ages; so with -f too."),
    all_namespaces: bool = typer.Option(False, "-A", "--all-namespaces", help="All namespaces."),
    no_headers: bool = typer.Option(False, "--no-headers", help="No column titles."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """What happened, in the order of its times."""
    scope = None if all_namespaces else namespace
    shown = _Shown(printing.seconds(since) if since else 0.0, about, types, exact=timestamps or follow,
                   namespaces=all_namespaces)
    if follow:
        from testbed.client.aio import HttpClient

        client = HttpClient.of_instance(load_instance(instance_directory(name)))
        asyncio.run(_follow(client, scope, shown, headers=not no_headers))
        return
    listed = connect(name).json("GET", EVENTS.path(scope))["items"]
    rows = shown.rows(listed, datetime.now(UTC))
    if rows:
        printing.out(printing.columns(shown.header, rows, headers=not no_headers))
    else:
        printing.say("No events found" + (f" about {about!r}." if about else "."))


async def _follow(client: Client, scope: str | None, shown: _Shown, *, headers: bool) -> None:
    """What there is, then every occurrence. Until cancelled."""
    from testbed.client.informer import Informer

    news: list[Json] = []

    def changed(old: Json | None, new: Json | None) -> None:
        if new is not None:
            news.append(new)

    await client.list(EVENTS, scope)  # raises when the API cannot be asked at all
    informer = Informer(client, EVENTS, scope, on_change=changed)
    watching = asyncio.create_task(informer.run(), name="events")
    try:
        await informer.synced.wait()
        if headers:
            printing.out(_columns(shown.header))
        while True:
            if watching.done():
                watching.result()
            came, news[:] = list(news), []
            for cells in shown.rows(came, datetime.now(UTC)):
                printing.out(_columns(cells))
            await asyncio.sleep(_LOOK_S)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await client.close()


def _columns(cells: tuple[str, ...]) -> str:
    widths = (12, *_WIDTHS) if len(cells) > len(_WIDTHS) else _WIDTHS
    return "   ".join(printing.plain(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
