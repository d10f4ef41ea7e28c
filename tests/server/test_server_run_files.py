"""Files of earlier runs over HTTP: a run's own plain files are handed out, and nothing beside them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import SECRET, get, served_runs
from support.page_world import PageWorld

from testbed.server.run_files import open_inside


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with served_runs(tmp_path) as world:
        yield world


async def test_a_run_is_told_with_its_files(world: PageWorld) -> None:
    status, text, _ = await get(world, "runs/r")
    assert status == 200
    assert json.loads(text)["files"] == [
        {"name": "logs/run-1-web.log", "bytes": 7}, {"name": "report.html", "bytes": 18},
        {"name": "result.json", "bytes": 38}]
    [entry] = json.loads((await get(world, "runs"))[1])
    assert (entry["id"], entry["base"]) == ("r", "/testbed/v1/runs/")
    assert (await get(world, "runs/none"))[0] == 404


async def test_a_report_is_shut_in_so_that_its_scripts_cannot_act_for_the_page(world: PageWorld) -> None:
    status, text, answer = await get(world, "runs/r/report.html")
    assert (status, text, answer.content_type) == (200, "<script>1</script>", "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy
    assert "default-src 'none'" in policy and answer.headers["X-Frame-Options"] == "DENY"
    assert (await get(world, "runs/r/report.html", "HEAD"))[:2] == (200, "")


async def test_a_log_is_text_whatever_is_in_it(world: PageWorld) -> None:
    status, text, answer = await get(world, "runs/r/logs/run-1-web.log")
    assert (status, text, answer.content_type) == (200, "<b>text", "text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", [
    "../instance.json", "..", "r/..", "r/../../token", "%2e%2e/token", "r/%2e%2e/%2e%2e/token", "r%2f..%2f..%2ftoken",
    "..%5ctoken", "r//etc/passwd", "r/", "r/logs", "r/logs/", "r/link.log", "r/way/beside", "r/pipe.log", "r/.env",
    "r/manifests/web.yaml", "r/none.log", "r/report.html/x", "r/report.html%00.log", "/etc/passwd", "r/" + "a" * 300,
    "r/" + "a/" * 200 + "b",
])
async def test_nothing_else_is_handed_out(world: PageWorld, path: str) -> None:
    async with asyncio.timeout(5):
        status, text, _ = await get(world, f"runs/{path}")
    assert status in (400, 404), text
    assert SECRET not in text and world.token not in text and "root:" not in text


@given(st.lists(st.text(max_size=8) | st.sampled_from(["..", ".", "", "r", "/", "manifests"]), max_size=5))
def test_no_name_leads_out_of_the_folder(parts: list[str]) -> None:
    found = open_inside(Path(__file__).parent, parts)
    if found is not None:
        path = Path(f"/proc/self/fd/{found}").readlink()
        os.close(found)
        assert path.is_relative_to(Path(__file__).parent)


async def test_a_large_file_comes_whole(world: PageWorld) -> None:
    text = "0123456789" * 300_000
    (world.instance.runs / "r" / "pulse-1.csv").write_text(text)
    assert (await get(world, "runs/r/pulse-1.csv"))[:2] == (200, text)
