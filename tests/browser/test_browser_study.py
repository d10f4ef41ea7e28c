"""The page of a study in a real browser: every variant is told apart, on a phone too, light and dark. Its screenshots
are in build/screenshots."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.page_outline import CHARTS, UNTOLD
from support.page_view import CHROMIUM, PageView, tab
from support.report_sample import sample_result

from testbed.experiment.result import EXIT_CODES, Study, VariantResult, Verdict
from testbed.report.study import html

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = {"wide-light": (WIDE, "light"), "wide-dark": (WIDE, "dark"),
         "phone-light": (PHONE, "light"), "phone-dark": (PHONE, "dark")}
READY, LIVE = "readinessProbe.periodSeconds", "livenessProbe.periodSeconds"
CUT_OFF = """() => [...document.querySelectorAll("table.stack td")].filter(cell => {
  const box = cell.getBoundingClientRect();
  return box.right > innerWidth + 1 || box.left < 0 || cell.scrollWidth > cell.clientWidth + 1;
}).map(cell => cell.innerText)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants of two probes; the first one passed, the others missed."""
    result = sample_result(4)
    missed = Verdict.OBJECTIVE_MISSED
    settings = [{READY: ready, LIVE: live} for ready in (1, 5) for live in (1, 5)]
    variants = tuple(VariantResult(
        name=f"variant {index}", platform="simulation", settings=one, folder=f"{index}-v",
        timing=(("probes", "as the manifest says"),), result=result if index == 0 else result.model_copy(update={
            "verdict": missed, "exit_code": EXIT_CODES[missed], "reason": "crash.repair.max < 1s"}))
        for index, one in enumerate(settings))
    path = tmp_path_factory.mktemp("study") / "report.html"
    path.write_text(html.render(Study(
        run_id="probes-1", name="probes", started_at=result.started_at, ended_at=result.ended_at,
        verdict=Verdict.PASSED, exit_code=0, variants=variants)))
    return path


@pytest_asyncio.fixture(params=LOOKS, loop_scope="module")
async def look(request: pytest.FixtureRequest, chrome: Any, page: Path) -> AsyncIterator[tuple[str, PageView]]:
    viewport, scheme = LOOKS[request.param]
    async with tab(chrome, viewport=viewport, scheme=scheme) as view:
        await view.page.goto(page.as_uri())
        await view.until("document.documentElement.dataset.drawn === 'true'")
        yield request.param, view


async def test_every_figure_of_every_variant_is_on_the_screen(look: tuple[str, PageView], page: Path) -> None:
    name, view = look
    assert view.complaints == [] and view.requests == [page.as_uri()]
    assert not await view.is_too_wide() and await view.page.evaluate(CUT_OFF) == []
    await view.screenshot(f"study-{name}")


async def test_each_chart_has_a_whole_label_for_each_variant_and_fits(look: tuple[str, PageView]) -> None:
    _, view = look
    charts = view.page.locator(".spread svg")
    assert await charts.count() == await view.page.locator(".spread").count() >= 3
    for index in range(await charts.count()):
        chart = charts.nth(index)
        labels = await chart.locator(".role-axis-label text").all_text_contents()
        named = [label for label in labels if "Probe" in label]
        assert len(named) == len(set(named)) == 4 and not any("…" in label for label in named)
        assert await chart.evaluate("svg => svg.getBoundingClientRect().width <= svg.parentElement.clientWidth + 1")


async def test_axe_finds_nothing_serious_and_headings_and_tables_are_whole(look: tuple[str, PageView]) -> None:
    _, view = look
    assert await view.violations() == []
    assert await view.page.evaluate(UNTOLD) == []


async def test_each_chart_says_what_is_in_it(look: tuple[str, PageView]) -> None:
    _, view = look
    told = await view.page.evaluate(CHARTS)
    assert len(told) == await view.page.locator(".spread").count() >= 3
    isolated = next(words for words in told if words.startswith("hang, isolated after, by variant"))
    assert isolated.count("Probe=") == 8 and isolated.count("2.44 s (2.44 s – 2.44 s)") == 4


async def test_that_others_missed_stands_beside_the_verdict_and_in_the_table(look: tuple[str, PageView]) -> None:
    _, view = look
    assert await view.text("#verdict") == "passed" and await view.text("#others") == "3 others did not pass"
    cells = view.page.locator(".card table.stack").first.locator("td[data-title=verdict]")
    assert [text.split()[-1] for text in await cells.all_inner_texts()] == ["passed", "missed", "missed", "missed"]
    assert (await view.text("body")).count("as the manifest says") == 1
