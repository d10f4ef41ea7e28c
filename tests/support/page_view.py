"""The live page in a real browser: opened, listened to, looked at. What a test of the page needs and no test says."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 375, "height": 812}
# Chromium drops what it is asking for whenever an address of this machine changes: tests beside us start containers.
_UNSETTLED = "net::ERR_NETWORK_CHANGED"
_SERIOUS = ("serious", "critical")
AXE_RUN = "axe.run(document, {resultTypes: ['violations']})"


def serious(found: Any) -> list[str]:
    """Of what axe-core answered all that is serious or critical, each with where it is."""
    assert found["passes"], "axe looked at nothing"
    return [f"{item['id']}: {item['help']}: {node['html'][:160]} {node['failureSummary']}"
            for item in found["violations"] if item["impact"] in _SERIOUS for node in item["nodes"]]


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            await browser.close()


class PageView:
    """A tab. ``requests``: every address it asked for; ``complaints``: what it said on the console or threw."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._unsettled = False  # an address of this machine changed meanwhile
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self._heard(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self._heard(str(error)))

    def _heard(self, text: str) -> None:
        if _UNSETTLED in text:
            self._unsettled = True
        else:
            self.complaints.append(text)

    async def enter(self, entrance: Callable[[], Awaitable[str]]) -> None:
        """Through a one-time address, until the first picture is drawn."""
        for tries in range(6):
            try:
                await self.page.goto(await entrance())
                await self.page.wait_for_selector("html[data-feed=live] .room", timeout=20_000)
                return
            except Exception as error:
                self._unsettled |= _UNSETTLED in str(error)
                if tries == 5 or not self._unsettled:
                    raise
                await asyncio.sleep(1)

    def cell(self, pod: str) -> Any:
        return self.page.locator(f".cell[data-pod='{pod if '/' in pod else 'default/' + pod}']")

    def room(self, node: str) -> Any:
        return self.page.locator(f".room[data-node='{node}']")

    async def text(self, selector: str) -> str:
        """As a person sees it, with single spaces."""
        return re.sub(r"\s+", " ", await self.page.inner_text(selector)).strip()

    async def until(self, condition: str, argument: Any = None) -> None:
        """Waits until that JavaScript is true: an expression, or a function of ``argument``."""
        is_function = re.match(r"[\w(\[\], ]*\)? =>", condition)
        await self.page.wait_for_function(condition if is_function else f"() => {condition}", arg=argument)

    async def says(self, selector: str, words: str) -> None:
        """Waits until those words are shown there."""
        await self.until("""([selector, words]) => {
            const found = document.querySelector(selector);
            return found?.checkVisibility() && found.innerText.replace(/\\s+/g, ' ').includes(words);
        }""", [selector, words])

    async def follow(self, link: str) -> Any:
        """The page that a link opens beside this one."""
        async with self.page.context.expect_page() as opened:
            await self.page.click(link)
        beside = await opened.value
        for _ in range(5):
            await beside.wait_for_load_state()
            if beside.url.startswith("http") and await beside.locator("h1").count():
                break
            await asyncio.sleep(1)
            await beside.goto(await self.page.eval_on_selector(link, "link => link.href"))
        return beside

    async def is_too_wide(self) -> bool:
        return bool(await self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    async def violations(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        from axe_playwright_python.base import AXE_SCRIPT

        await self.page.evaluate(AXE_SCRIPT)
        return serious(await self.page.evaluate(AXE_RUN))

    async def screenshot(self, name: str, *, whole: bool = True) -> None:
        """``whole``: not only what is on the screen."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)


@asynccontextmanager
async def tab(browser: Any, *, viewport: dict[str, int] = DESKTOP, scheme: str = "light", **more: Any) -> AsyncIterator[
        PageView]:
    """A browser of its own: no cookie, nothing kept. ``more``: of Playwright's ``new_context``."""
    context = await browser.new_context(viewport=viewport, color_scheme=scheme, ignore_https_errors=True, **more)
    try:
        yield PageView(await context.new_page())
    finally:
        await context.close()
