"""The HTML report in a real browser: charts drawn, nothing fetched, nothing complained of; light, dark, narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.page_outline import CHARTS, OPEN_ALL, UNTOLD
from support.page_view import AXE_RUN, CHROMIUM, serious
from support.report_sample import sample_result

from testbed.report import html

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (a development tool)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    html.write(sample_result(6), path)
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


def test_axe_finds_nothing_serious_and_headings_and_tables_are_whole(opened: Opened) -> None:
    from axe_playwright_python.base import AXE_SCRIPT

    opened.page.evaluate(OPEN_ALL)
    opened.page.evaluate(AXE_SCRIPT)
    assert serious(opened.page.evaluate(AXE_RUN)) == []
    assert opened.page.evaluate(UNTOLD) == []


def test_each_chart_says_what_is_in_it(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, viewport=WIDE)
    spread, overview, *waterfalls = opened.page.evaluate(CHARTS)
    assert spread.startswith("Spread over runs") and "hang: restored after: 5.72 s (5.72 s – 5.72 s)" in spread
    assert "98 of 5600 requests failed; latency p50 2.1 ms" in overview
    assert "Between 3 and 4 pods were ready" in overview
    assert [words.partition(",")[0] for words in waterfalls] == ["crash", "hang", "lose-a-node", "ship-v2"]
    assert "clients: outage as clients saw it 2.50 s" in waterfalls[1]
    assert "repair: injected → detected" in waterfalls[1]
    opened.page.evaluate("document.documentElement.dataset.drawn = ''")
    opened.page.select_option("#run", "2")
    opened.drawn()
    other = opened.page.evaluate(CHARTS)[1]
    assert other.startswith("Run 2 over time") and other != overview
    opened.page.close()


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


# --- a total outage

FAULT_S, BACK_S, ONCE_S = 10.05, 12.05, 11.0  # in the bin at ``ONCE_S`` half of the requests are answered
PANEL = """panel => {
  const all = (marks, ...names) => [...document.querySelectorAll(`#overview .concat_${panel}_group ${marks} path`)].map(
    path => names.map(name => path.getAttribute(name)));
  return {lines: all("g.mark-line", "d", "stroke", "stroke-width"), shades: all("g.mark-rect", "d"),
          dots: all("g.mark-symbol", "fill")};
}"""
FILLED = """([x, y, colour]) => [...document.querySelectorAll("#overview .concat_1_group g.mark-area path")].some(
  path => path.getAttribute("fill") === colour && path.isPointInFill(new DOMPoint(x, y)))"""


@pytest.fixture(scope="module")
def out(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A run in which everything fails for two seconds, but for one tenth of a second, and all pods are away."""
    sample = sample_result(1)
    run = sample.runs[0]
    fault = run.disruptions[0].model_copy(update={"window_s": (FAULT_S, BACK_S)})
    bins = range(len(run.series.due))
    gone = [FAULT_S - 0.1 < index / 10 < BACK_S - 0.1 for index in bins]
    once = [index == round(ONCE_S * 10) for index in bins]
    latency = tuple(None if out and not one else 0.002 for out, one in zip(gone, once, strict=True))
    series = run.series.model_copy(update={
        "due": tuple(10 for _ in bins), "p50": latency, "p95": latency, "p99": latency,
        "failed": tuple((5 if one else 10) if out else 0 for out, one in zip(gone, once, strict=True)),
        "ready": tuple(0 if out else 4 for out in gone)})
    path = tmp_path_factory.mktemp("outage") / "report.html"
    html.write(sample.model_copy(update={"runs": (run.model_copy(update={
        "series": series, "disruptions": (fault,), "locust": None}),)}), path)
    opened = Opened(browser, path, viewport=WIDE)
    yield opened
    opened.page.close()


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]


def shade(panel: dict[str, Any]) -> tuple[float, float]:
    """Where the fault begins, and how wide a second is, in a panel's pixels."""
    begin, width = re.findall(r"M([\d.]+),0h([\d.]+)", panel["shades"][0][0])[0]
    return float(begin), float(width) / (BACK_S - FAULT_S)


def test_a_total_outage_is_one_block(out: Opened) -> None:
    begin, second = shade(out.page.evaluate(PANEL, 1))
    bad = out.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bad').trim()")
    inside = range(round(begin + 0.1 * second), round(begin + (BACK_S - FAULT_S - 0.1) * second))
    assert len(inside) > 10 and all(out.page.evaluate(FILLED, [x, 125, bad]) for x in inside)
    assert not out.page.evaluate(FILLED, [begin - 0.2 * second, 125, bad])


def test_no_latency_is_drawn_where_nobody_was_answered(out: Opened) -> None:
    panel = out.page.evaluate(PANEL, 2)
    begin, second = shade(panel)
    assert len(panel["lines"]) == 3
    for path, _, _ in panel["lines"]:
        for part in path.split("M")[1:]:
            xs = [x for x, _ in points(part)]
            assert max(xs) <= begin + 0.1 * second or min(xs) >= begin + (ONCE_S - FAULT_S) * second, "it runs through"
            assert max(xs) - min(xs) < 0.1 or min(xs) < begin or min(xs) > begin + 1.8 * second
    assert len(panel["dots"]) == 3  # the one tenth of a second in between, of each quantile


def test_percentiles_can_be_told_apart_even_where_they_are_the_same(out: Opened) -> None:
    p99, p95, p50 = out.page.evaluate(PANEL, 2)["lines"]
    bad = out.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bad').trim()")
    assert len({p99[1], p95[1], p50[1], bad}) == 4
    assert float(p99[2]) > 2 * float(p95[2])  # the one below shows on both sides of the one on top


def test_pods_are_not_away_before_the_fault(out: Opened) -> None:
    panel = out.page.evaluate(PANEL, 3)
    begin, second = shade(panel)
    ready = points(panel["lines"][-1][0])
    fell = next(x for (x, y), (_, before) in zip(ready[1:], ready, strict=False) if y > before)
    assert begin <= fell <= begin + 0.2 * second


def test_the_verdict_is_what_one_sees_first(opened: Opened) -> None:
    box = opened.page.locator("#verdict").bounding_box()
    assert box["y"] < 200
    assert opened.page.locator("#verdict").inner_text() == "passed"
