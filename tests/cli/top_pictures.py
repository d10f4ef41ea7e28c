"""A picture of a cluster as ``testbed top`` gets it, and what it draws of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.page_world import PageWorld

from testbed.cli.top_view import Connection, render
from testbed.server.picture import cluster
from testbed.server.sketch import Sketch

NOW = datetime.now(UTC)


def filled(directory: Path) -> PageWorld:
    """A small cluster, whose state directory is below this one as a command finds it."""
    world = PageWorld(directory / "testbed")
    world.fill()
    return world


def picture_of(world: PageWorld) -> dict[str, Any]:
    return {"cluster": cluster(world.instance, NOW), **Sketch(world.registry).whole()}


def drawn(picture: dict[str, Any], *, width: int = 100, height: int | None = None, away_s: float | None = None) -> str:
    import io

    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, no_color=True).print(render(picture, NOW, Connection(away_s), height=height))
    return stream.getvalue()
