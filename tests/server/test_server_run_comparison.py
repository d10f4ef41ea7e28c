"""Two earlier runs compared over HTTP, by a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kept_runs import get, served_runs
from support.page_world import PageWorld

from testbed.errors import ApiUnavailable, BadRequest, TooManyRequests
from testbed.server import comparing
from testbed.server.comparing import Comparer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with served_runs(tmp_path) as world:
        yield world


@pytest.mark.parametrize("query", ["", "?a=r", "?a=r&b=none", "?a=r&b=../r", "?a=r&b=r/../r", "?a=r&b=/etc",
                                   "?a=-o&b=r", "?a=r&b=r/x/y", "?a=r&b=%2e%2e"])
async def test_only_runs_with_a_result_are_compared(world: PageWorld, query: str) -> None:
    status, text, _ = await get(world, f"compare{query}")
    assert status == 400 and "names no run with a result" in text


async def test_what_cannot_be_compared_is_told_in_the_words_of_the_command_line(world: PageWorld) -> None:
    status, text, _ = await get(world, "compare?a=r&b=r")
    assert status == 400
    assert "is not a result of this version" in json.loads(text)["message"], text


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(comparing, "LOWEST_PRIORITY", (sys.executable, "-c", text))


async def test_a_comparison_is_a_page_made_by_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "import sys; print(sys.argv[1:])")
    argv = (await Comparer().page(Path("/a"), Path("/b"))).decode()
    assert argv.strip() == str([sys.executable, "-m", "testbed", "compare", "/a", "/b", "-o", "html"])


async def test_comparisons_come_one_at_a_time_and_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(comparing, "DEADLINE_S", 0.3)
    comparer = Comparer()
    first = asyncio.create_task(comparer.page(Path("/a"), Path("/b")))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await comparer.page(Path("/a"), Path("/b"))
    with pytest.raises(ApiUnavailable, match="not done within"):
        await first
    program(monkeypatch, "import sys; sys.exit('error: no')")
    with pytest.raises(BadRequest, match="^no$"):
        await comparer.page(Path("/a"), Path("/b"))
