"""Earlier runs as they are kept on disk, and the real HTTP face in front of some."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yarl
from support.page_world import PageWorld

SECRET = "a secret that lies beside"


def keep(root: Path, run: str, file: str = "result.json", **value: Any) -> Path:
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(value))
    return folder


@asynccontextmanager
async def served_runs(tmp_path: Path) -> AsyncIterator[PageWorld]:
    """A run with files of all kinds, and secrets beside and inside its folder."""
    world = PageWorld(tmp_path)
    root = world.instance.runs
    folder = keep(root, "r", name="crash", verdict="passed")
    (folder / "report.html").write_text("<script>1</script>")
    (folder / "logs").mkdir()
    (folder / "logs" / "run-1-web.log").write_text("<b>text")
    (folder / "manifests").mkdir()
    (folder / "manifests" / "web.yaml").write_text(SECRET)
    (folder / ".env").write_text(SECRET)
    (tmp_path / "beside").write_text(SECRET)
    (folder / "link.log").symlink_to(tmp_path / "beside")
    (folder / "way").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.log")
    async with world.serving():
        yield world


async def get(world: PageWorld, path: str, method: str = "GET") -> tuple[int, str, aiohttp.ClientResponse]:
    headers = {"Authorization": f"Bearer {world.token}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls())) as session, session.request(
            method, yarl.URL(f"{world.url}/testbed/v1/{path}", encoded=True), headers=headers) as answer:
        return answer.status, await answer.text(), answer
