"""The live page in a real browser when what it needs is away: the control plane, its session, a part of its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.page_view import CHROMIUM, tab
from support.page_world import PageWorld

from testbed.server import live
from testbed.server.sessions import SESSION_LIFETIME_S

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]


async def test_a_control_plane_that_stops_is_away_and_the_page_comes_back_by_itself(
    chrome: Any, tmp_path: Path,
) -> None:
    world = PageWorld(tmp_path)
    world.fill()
    async with tab(chrome) as view:
        async with world.serving():
            await view.enter(world.entrance)
            await view.page.evaluate("window.isTheSamePage = true")
        await view.says("#banner", "The control plane cannot be reached. What you see is from")
        await view.says("#news", "The control plane cannot be reached.")
        assert await view.text("#connection") == "no connection"
        assert await view.page.locator(".cell").count() == 6
        world.kill("web-6")
        async with world.serving():
            await view.says("#connection", "live")
            await view.until("!document.querySelector('[data-pod=\"default/web-6\"]')")
            assert await view.page.is_hidden("#banner")
            await view.says("#news", "The control plane is back.")
            assert await view.page.evaluate("window.isTheSamePage")


async def test_a_control_plane_that_stands_still_is_told_from_one_where_nothing_happens(
    chrome: Any, world: PageWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tab(chrome) as view:
        await view.page.clock.install()
        monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
        await view.enter(world.entrance)
        for _ in range(4):  # nothing happens, for longer than silence is borne
            await view.page.clock.fast_forward(5_000)
            await view.page.wait_for_timeout(300)
        assert await view.text("#connection") == "live"
        monkeypatch.setattr(live, "HEARTBEAT_S", 1e6)
        await view.page.wait_for_timeout(300)
        await view.page.clock.fast_forward(13_000)
        await view.says("#banner", "The control plane is silent.")
        await view.page.clock.fast_forward(3_000)
        await view.says("#connection", "live")


async def test_when_the_session_is_over_nothing_is_shown_any_more(chrome: Any, tmp_path: Path) -> None:
    world = PageWorld(tmp_path)
    world.fill()
    async with tab(chrome) as view:
        async with world.serving():
            await view.enter(world.entrance)
            await view.cell("web-1").click()
        world.clock.advance(SESSION_LIFETIME_S + 1)
        async with world.serving():
            await view.says("#over", "testbed ui")
            assert not await view.page.is_visible("#main") and await view.page.locator("dialog[open]").count() == 0
            assert "web-1" not in await view.page.inner_text("body")


async def test_a_part_of_the_page_that_did_not_arrive_is_asked_for_again(chrome: Any, world: PageWorld) -> None:
    async with tab(chrome) as view:
        refused = []

        async def once(route: Any) -> None:
            if refused:
                await route.continue_()
            else:
                refused.append(route.request.url)
                await route.abort("connectionreset")

        await view.page.route("**/room.js", once)
        await view.enter(world.entrance)
        assert refused and await view.page.locator(".cell").count() == 6
