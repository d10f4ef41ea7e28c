"""Runs on the live page in a real browser: requests, recoveries and verdicts as they come, and which run is shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from busy_cluster import losing_a_node
from support.page_view import CHROMIUM, PageView, tab
from support.page_world import PageWorld, run_status

from testbed.api.experiment_status import SILENT_S
from testbed.api.meta import format_time

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]


async def test_requests_of_a_run_are_drawn_and_told_in_figures(view: PageView, world: PageWorld) -> None:
    assert "testbed run quickstart" in await view.text("#requests-none")
    world.experiment("crash-1", losing_a_node(world))
    await view.until("document.querySelector('#requests-plot path.ok').getAttribute('d')?.length > 500")
    for bars in ("failed", "late"):
        assert await view.page.evaluate(f"document.querySelector('#requests-plot path.{bars}').getBBox().height > 3")
    assert await view.text("#requests-ok") == "100/s"
    assert await view.page.text_content(".windows text") == "lose-a-node"
    assert "answered" in str(await view.page.get_attribute("#requests-plot", "aria-label"))
    await view.page.click("#requests-table summary")
    assert await view.page.locator("#requests-rows tr").count() == 12


async def test_a_recovery_grows_by_itself_until_it_is_over(view: PageView, world: PageWorld) -> None:
    status = losing_a_node(world, since_s=10)
    world.experiment("lose-1", status)
    await view.says("[data-path=Repair] [data-open]", "ready …")
    assert await view.text("[data-path=Isolation] [data-mark=isolated] .num") == "1.63 s"
    before = await view.text("[data-open] .num")
    await view.until("before => document.querySelector('[data-open] .num').innerText !== before", before)
    mended = {**status["disruptions"][-1]["marks"], "ready": 12.5, "restored": 12.6}
    status["disruptions"][-1] |= {"marks": mended, "restored": True, "outage_s": 1.7}
    world.experiment("lose-1", status)
    await view.says(".recovery", "restored after 12.6 s · outage 1.70 s")
    assert await view.page.locator("[data-open]").count() == 0
    assert "missed: 4.98s" in await view.text("#objectives-list")


async def test_a_verdict_is_told_to_eyes_and_ears(view: PageView, world: PageWorld) -> None:
    status = losing_a_node(world)
    world.experiment("lose-1", status)
    await view.says("#experiment-when", "run 3 of 10, step lose-a-node · so far 1 passed, 1 inconclusive")
    assert await view.text("#experiment-steps [aria-current=step]") == "observe"
    world.experiment("lose-1", {**status, "phase": "Finished", "verdict": "passed", "endedAt": world.stamp()})
    await view.says("#experiment-when", "passed · 1 passed, 1 inconclusive ·")
    assert "since" not in await view.text("#experiment-when") and " to " in await view.text("#experiment-when")
    await view.says("#news", "Experiment lose-a-node ended: passed.")


async def test_a_run_whose_runner_was_killed_ends_by_itself_and_stands_behind_newer_ones(
    chrome: Any, world: PageWorld,
) -> None:
    async with tab(chrome) as view:
        await view.page.clock.install()
        await view.enter(world.entrance)
        status = {**losing_a_node(world, since_s=10), "updatedAt": world.stamp()}
        world.experiment("killed-1", status)
        await view.says("[data-path=Repair] [data-open]", "ready …")
        await view.says("#experiment-when", "run 3 of 10, step lose-a-node")
        await view.page.clock.fast_forward(SILENT_S * 1000 + 5000)
        await view.says("#experiment-when", "its runner is gone · 1 passed, 1 inconclusive ·")
        assert "since" not in await view.text("#experiment-when")
        before = await view.text("[data-open] .num")
        assert before.startswith("10.")  # as long as when it was last heard of
        await view.page.clock.run_for(3000)
        assert await view.text("[data-open] .num") == before
        await view.says("#news", "Experiment lose-a-node ended: its runner is gone.")
        newer = {**run_status(9), "phase": "Finished", "verdict": "passed", "startedAt": world.stamp(),
                 "endedAt": world.stamp()}
        world.experiment("newer-1", newer)
        await view.says("#experiment-name", "crash")
        world.experiment("killed-1", {**status, "updatedAt": format_time(
            world.clock.now() + timedelta(seconds=SILENT_S + 60), micro=True)})
        await view.says("#experiment-when", "run 3 of 10, step lose-a-node")  # it was only slow


async def test_two_runs_can_be_chosen_and_compared(chrome: Any, busy: PageWorld) -> None:
    async with busy.serving(), tab(chrome) as view:
        await view.enter(busy.entrance)
        await view.page.wait_for_selector("[data-run]")
        links = await view.page.eval_on_selector_all("#runs-rows a", "links => links.map(link => link.pathname)")
        assert len(links) == 5 and all(link.endswith("/report.html") for link in links)
        assert await view.page.get_attribute("#compare", "href") is None
        boxes = view.page.locator("#runs-rows input:enabled")
        assert await boxes.count() == 6  # four runs and the variants of the fifth
        older, newer = boxes.nth(1), boxes.nth(0)
        chosen = [str(await box.get_attribute("aria-label")).split()[1] for box in (older, newer)]
        await newer.check()
        await older.check()
        link = str(await view.page.get_attribute("#compare", "href"))
        assert link.endswith(f"/compare?a={chosen[0]}&b={chosen[1]}")
        report = await view.follow("#runs-rows tr:first-child a")
        assert "Report of" in await report.inner_text("h1")


async def test_a_report_appears_however_long_after_the_run_it_is_written(view: PageView, world: PageWorld) -> None:
    folder = world.instance.runs / "lose-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"name": "lose-a-node", "verdict": "passed"}')
    world.experiment("lose-1", {**losing_a_node(world), "folder": "lose-1", "phase": "Finished", "verdict": "passed"})
    await view.says("[data-run=lose-1]", "none yet")
    (folder / "report.html").write_text("<!doctype html><title>Report</title>")
    await view.page.wait_for_selector("[data-run=lose-1] a")


async def test_a_status_of_another_form_stops_nothing_else_and_is_complained_of_once(
    chrome: Any, world: PageWorld,
) -> None:
    folder = world.instance.runs / "old-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"name": "old", "verdict": "passed"}')
    world.experiment("odd-1", {"phase": "Finished", "startedAt": world.stamp(), "objectives": "x", "disruptions": [7]})
    async with tab(chrome) as view:
        await view.enter(world.entrance)
        world.event("Pod", "web-1", "Started", "Started container web")
        await view.says("#events-list", "Started container web")
        await view.says("#runs-rows", "old-1")
        complaints = len(view.complaints)
        world.experiment("odd-1", {"phase": "Finished", "startedAt": world.stamp(), "objectives": "yz"})
        world.event("Pod", "web-2", "Killing", "Stopping container web")
        await view.says("#events-list", "Stopping container web")
        assert 1 <= complaints == len(view.complaints), view.complaints
