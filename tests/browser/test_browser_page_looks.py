"""How the live page looks: light and dark, desktop and phone, for those who do not see it, and soon. Its
screenshots are in build/screenshots."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.page_view import CHROMIUM, DESKTOP, PHONE, PageView, tab
from support.page_world import PageWorld, page_world

from testbed.server.sessions import RUNBOOKS

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]

LOOKS = {"desktop-light": (DESKTOP, "light"), "desktop-dark": (DESKTOP, "dark"),
         "phone-light": (PHONE, "light"), "phone-dark": (PHONE, "dark")}


@pytest_asyncio.fixture(params=LOOKS, loop_scope="module")
async def look(request: pytest.FixtureRequest, chrome: Any, busy: PageWorld) -> AsyncIterator[tuple[str, PageView]]:
    """Its name and the page, with everything on it that it can show."""
    viewport, scheme = LOOKS[request.param]
    async with busy.serving(), tab(chrome, viewport=viewport, scheme=scheme) as view:
        await view.enter(busy.entrance)
        await view.page.wait_for_selector("[data-run]")
        yield request.param, view


async def test_nothing_is_wider_than_the_screen_and_nothing_serious_is_found_by_axe(
    look: tuple[str, PageView],
) -> None:
    name, view = look
    assert not await view.is_too_wide()
    assert await view.violations() == []
    await view.screenshot(name)
    await view.cell("web-6c9f7-q7wzt").click()
    assert not await view.is_too_wide()
    assert await view.violations() == []
    await view.screenshot(f"{name}-pod", whole=False)
    await view.page.click("#pod-kill")
    assert await view.violations() == []
    await view.page.keyboard.press("Escape")
    await view.room("node-1").get_by_role("button", name="Cut power").click()
    assert not await view.is_too_wide()
    assert await view.violations() == []
    await view.screenshot(f"{name}-cut", whole=False)
    assert view.complaints == []


async def test_runbooks_are_read_on_every_screen_without_a_session(
    look: tuple[str, PageView], chrome: Any, busy: PageWorld,
) -> None:
    viewport, scheme = LOOKS[look[0]]
    async with tab(chrome, viewport=viewport, scheme=scheme) as view:
        address = f"{busy.url}{RUNBOOKS}#errorbudgetburnfast"
        await view.page.goto(address)
        assert not await view.is_too_wide()
        assert await view.violations() == []
        await view.screenshot(f"{look[0]}-runbooks", whole=False)
        background = await view.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(246, 245, 242)", "dark": "rgb(16, 19, 23)"}[scheme]
        assert set(view.requests) <= {address, address.partition("#")[0], f"{busy.url}/favicon.ico"}


async def test_no_text_is_cut_off_but_what_says_so_itself(look: tuple[str, PageView]) -> None:
    _, view = look
    cut = await view.page.evaluate("""() => [...document.querySelectorAll('main *')].filter(found => {
        const style = getComputedStyle(found);
        return found.checkVisibility() && style.overflow !== 'visible' && style.textOverflow !== 'ellipsis'
            && !found.matches('.scroll, .unseen, svg, svg *') && found.scrollWidth > found.clientWidth + 1;
    }).map(found => found.outerHTML.slice(0, 120))""")
    assert cut == []


async def test_a_state_is_told_by_shape_and_word_too(look: tuple[str, PageView]) -> None:
    _, view = look
    told = await view.page.eval_on_selector_all(".cell", """cells => cells.map(cell => [
        cell.dataset.state, cell.querySelector('.mark use').getAttribute('href'),
        cell.querySelector('.state').innerText])""")
    by_state = {state: (mark, word) for state, mark, word in told}
    assert set(by_state) == {"ready", "unready", "pending", "failing", "unknown", "done"}
    assert len({mark for mark, _ in by_state.values()}) == len(by_state)
    assert all(word for _, word in by_state.values())


async def test_light_and_dark_follow_the_system_until_a_person_chooses(chrome: Any, world: PageWorld) -> None:
    async with tab(chrome, scheme="dark") as view:
        await view.enter(world.entrance)

        async def colour() -> str:
            return str(await view.page.evaluate("getComputedStyle(document.body).backgroundColor"))

        dark = await colour()
        assert await view.page.get_attribute("#theme", "aria-pressed") == "true"
        await view.page.emulate_media(color_scheme="light")
        light = await colour()
        assert light != dark
        await view.page.click("#theme")
        assert await colour() == dark
        await view.page.reload()
        assert await colour() == dark
        assert await view.page.get_attribute("#theme", "aria-pressed") == "true"


async def test_who_wants_no_motion_gets_none(chrome: Any, world: PageWorld) -> None:
    async with tab(chrome, reduced_motion="reduce") as view:
        await view.enter(world.entrance)
        world.kill("web-1")
        await view.page.wait_for_selector(".cell.gone", state="attached")
        assert await view.page.evaluate("document.getAnimations().length") == 0


async def test_the_page_has_landmarks_headings_and_a_name(view: PageView) -> None:
    assert await view.page.locator("header, main").count() >= 2
    assert await view.page.get_by_role("banner").count() == 1 and await view.page.get_by_role("main").count() == 1
    regions = [await found.get_attribute("aria-labelledby") for found in await view.page.locator(
        "main section[aria-labelledby]").all()]
    assert len(regions) >= 7 and all(regions)
    assert await view.page.locator("h1").count() == 1
    assert await view.page.title() == "6/6 ready · t"
    await view.page.keyboard.press("Tab")
    await view.page.keyboard.press("Enter")
    assert await view.page.evaluate("document.activeElement.id") == "main"


async def test_something_is_seen_within_a_second(chrome: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The best of five, for this machine does other things meanwhile; with a hundred pods."""
    async with page_world(tmp_path_factory.mktemp("paint"), pods=100) as world:
        paints = []
        for _ in range(5):
            async with tab(chrome) as view:
                await view.enter(world.entrance)
                await view.until("document.querySelectorAll('.cell').length === 100")
                paints.append(float(await view.page.evaluate(
                    "performance.getEntriesByName('first-contentful-paint')[0].startTime")))
                if paints[-1] <= 1000:
                    return
        raise AssertionError(f"first paint after {paints} ms")
