"""The HTML report in a real browser: charts drawn, nothing fetched, nothing complained of; light, dark, narrow."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testbed.report import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (a development tool)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


def _sample() -> ModuleType:
    """The sample result lives with the tests of the reports."""
    path = Path(__file__).parents[1] / "report" / "report_sample.py"
    spec = importlib.util.spec_from_file_location("report_sample_for_browser", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    html.write(_sample().sample_result(6), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


class Opened:
    """A page with the report, and everything it asked for or complained of."""

    def __init__(self, browser: Any, report: Path, *, viewport: dict[str, int], scheme: str = "light") -> None:
        self.page = browser.new_page(viewport=viewport, color_scheme=scheme)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog was opened"))
        self.page.goto(report.as_uri())
        self.drawn()

    def drawn(self) -> None:
        self.page.wait_for_function("document.documentElement.dataset.drawn === 'true'")

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def colour(self, selector: str, name: str) -> str:
        return str(self.page.eval_on_selector(selector, f"element => getComputedStyle(element)['{name}']"))


@pytest.fixture(params=[("light", WIDE), ("dark", WIDE), ("light", PHONE), ("dark", PHONE)],
                ids=["light", "dark", "phone", "phone-dark"])
def opened(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Opened]:
    scheme, viewport = request.param
    found = Opened(browser, report, viewport=viewport, scheme=scheme)
    yield found
    found.page.close()


def test_everything_is_drawn_without_network_or_complaint(opened: Opened, report: Path) -> None:
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]
    for chart in ("#overview", "#spread", ".of-run:not([hidden]) .waterfall"):
        assert opened.count(f"{chart} svg") >= 1, chart
        assert opened.count(f"{chart} svg path") > 5, chart
    shown = opened.count(".of-run:not([hidden]) .waterfall")
    assert shown == 4 and opened.count(".of-run:not([hidden]) .waterfall svg") == shown


def test_nothing_is_wider_than_the_screen(opened: Opened) -> None:
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dark_and_light_follow_the_system(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, viewport=WIDE)
    light = opened.colour("body", "backgroundColor"), opened.colour("#overview svg text", "fill")
    opened.page.evaluate("document.documentElement.dataset.drawn = ''")
    opened.page.emulate_media(color_scheme="dark")
    opened.drawn()
    dark = opened.colour("body", "backgroundColor"), opened.colour("#overview svg text", "fill")
    assert light[0] != dark[0] and light[1] != dark[1]
    assert opened.complaints == []
    opened.page.close()


def test_another_run_can_be_chosen(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, viewport=WIDE)
    opened.page.evaluate("document.documentElement.dataset.drawn = ''")
    opened.page.select_option("#run", "2")
    opened.drawn()
    assert opened.count(".of-run:not([hidden])[data-run='2']") == 1
    assert opened.count(".of-run:not([hidden]) .waterfall svg") == 4
    assert opened.complaints == []
    opened.page.close()


def test_charts_follow_the_width(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, viewport=WIDE)
    wide = opened.page.locator("#overview svg").bounding_box()["width"]
    opened.page.evaluate("document.documentElement.dataset.drawn = ''")
    opened.page.set_viewport_size(PHONE)
    opened.drawn()
    narrow = opened.page.locator("#overview svg").bounding_box()["width"]
    assert narrow < PHONE["width"] < wide
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.page.close()


def test_the_verdict_is_what_one_sees_first(opened: Opened) -> None:
    box = opened.page.locator("#verdict").bounding_box()
    assert box["y"] < 200
    assert opened.page.locator("#verdict").inner_text() == "passed"
