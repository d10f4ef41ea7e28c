"""The live page in a real browser: what is in the cluster is drawn, what changes is drawn without reload, and a control
plane that goes away is said to be away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from busy_cluster import losing_a_node
from support.page_view import CHROMIUM, PageView, tab
from support.page_world import PageWorld, run_status

from testbed.api.experiment_status import SILENT_S
from testbed.api.labels import RUNBOOK
from testbed.api.meta import format_time
from testbed.server import live
from testbed.server.sessions import RUNBOOKS, SESSION_LIFETIME_S

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]


async def test_nodes_are_rooms_and_their_pods_are_cells_in_them(view: PageView) -> None:
    assert await view.page.locator(".room").count() == 3
    assert await view.room("node-2").locator(".cell").count() == 2
    label = await view.cell("web-1").get_attribute("aria-label")
    assert label == "web-1: ready"
    assert await view.cell("web-1").locator(".shape.ready").count() == 1
    assert await view.cell("web-1").locator(".probes").text_content() == "R✓L✓"
    assert await view.text("#number-nodes") == "3/3" and await view.text("#number-pods") == "6/6"


async def test_nothing_is_asked_of_another_machine_and_nothing_complained_of(view: PageView, world: PageWorld) -> None:
    assert view.requests and all(url.startswith(world.url) for url in view.requests)
    assert view.complaints == []
    assert await view.page.evaluate("document.querySelectorAll('[style], style, script:not([src])').length") == 0


async def test_without_a_session_or_with_a_wrong_token_nothing_is_shown(chrome: Any, world: PageWorld) -> None:
    for path in ("/ui/", "/ui/enter?token=" + "0" * 64):
        async with tab(chrome) as view:
            await view.page.goto(world.url + path)
            text = await view.page.inner_text("body")
            assert "testbed ui" in text and "node-1" not in text and "web" not in text
            assert await view.page.locator("script, .room").count() == 0


async def test_a_change_arrives_without_reload(view: PageView, world: PageWorld) -> None:
    await view.page.evaluate("window.isTheSamePage = true")
    world.pod("web-1", "node-1", ready=False, restarts=3, waiting="CrashLoopBackOff")
    await view.until("document.querySelector('[data-pod=\"default/web-1\"]').dataset.state === 'failing'")
    assert await view.cell("web-1").get_attribute("aria-label") == "web-1: CrashLoopBackOff, 3 restarts"
    world.node("node-2", ready="Unknown", reason="NodeStatusUnknown")
    await view.says(".room[data-node=node-2] header .state", "silent")
    assert await view.cell("web-2").get_attribute("data-state") == "unknown"  # nobody can know what became of it
    assert await view.text("#number-nodes") == "2/3"
    assert await view.page.evaluate("window.isTheSamePage")


async def test_a_pod_that_is_killed_leaves_and_its_neighbour_gets_the_focus(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").focus()
    world.kill("web-1")
    await view.until("!document.querySelector('[data-pod=\"default/web-1\"]')")
    assert await view.page.evaluate("document.activeElement.dataset.pod") == "default/web-4"
    await view.until("!document.querySelector('.cell.gone')")
    assert await view.page.locator(".cell").count() == 5


async def test_a_change_of_one_pod_touches_no_other_of_a_hundred(chrome: Any, world: PageWorld) -> None:
    for number in range(7, 101):
        world.pod(f"web-{number}", f"node-{number % 3 + 1}")
    async with tab(chrome) as view:
        await view.enter(world.entrance)
        await view.until("document.querySelectorAll('.cell').length === 100")
        await view.page.evaluate("""() => {
            window.touched = new Set();
            new MutationObserver(changes => changes.forEach(({target}) => window.touched.add(
              (target.nodeType === 1 ? target : target.parentElement).closest('[data-pod]')?.dataset.pod ?? 'else')))
              .observe(document.getElementById('rooms'), {subtree: true, childList: true, attributes: true,
                                                          characterData: true});
        }""")
        world.pod("web-50", "node-3", ready=False)
        await view.until("document.querySelector('[data-pod=\"default/web-50\"]').dataset.state === 'unready'")
        assert await view.page.evaluate("[...window.touched]") == ["default/web-50"]


async def test_a_fault_is_seen_on_its_victim_and_leaves_with_it(view: PageView, world: PageWorld) -> None:
    world.fault("stop-1", "default/web-1", action="pod-failure", node="node-1")
    await view.says("#faults-list", "pod-failure in effect default/web-1")
    assert await view.cell("web-1").get_attribute("aria-label") == "web-1: ready, hit by pod-failure"
    await view.says("#news", "Fault pod-failure hits default/web-1.")
    world.fault("stop-1", "default/web-1", action="pod-failure", phase="Recovered")
    await view.until("!document.querySelector('[data-hit]')")
    await view.says("#number-faults", "0")


async def test_a_kill_is_done_and_not_in_effect(view: PageView, world: PageWorld) -> None:
    """Chaos Mesh leaves such an object as injected for ever; nothing holds it."""
    world.fault("kill-1", "default/web-1", action="pod-kill")
    await view.says("#faults-list", "pod-kill done default/web-1")
    assert await view.text("#number-faults") == "0"


async def test_events_are_told_newest_first_and_can_be_filtered(view: PageView, world: PageWorld) -> None:
    world.event("Pod", "web-1", "Started", "Started container web")
    world.event("Pod", "web-2", "Unhealthy", "Readiness probe failed", warning=True)
    await view.says("#events-list li:first-child", "Unhealthy Pod/default/web-2 Readiness probe failed")
    await view.page.check("#events-warnings")
    assert await view.page.locator("#events-list li").count() == 1
    await view.page.uncheck("#events-warnings")
    await view.page.fill("#events-words", "web-1")
    await view.until("document.querySelectorAll('#events-list li').length === 1")
    assert "Started" in await view.text("#events-list")
    assert await view.text("#news") == ""  # a screen reader is not read all of that


async def test_an_alert_leads_to_its_runbook(view: PageView, world: PageWorld) -> None:
    world.event("Pod", "web-1", "Started", "Started container web")
    address = f"{world.url}{RUNBOOKS}#deploymentdown"
    world.event("Deployment", "web", "AlertFiring", "DeploymentDown: No replica of default/web is ready", warning=True,
                annotations={RUNBOOK: address})
    await view.says("#events-list li:first-child", "AlertFiring")
    assert await view.page.locator("#events-list li a:visible").count() == 1, "of an alert alone"
    link = view.page.get_by_role("link", name="Runbook of DeploymentDown")
    assert await link.get_attribute("href") == address
    async with view.page.context.expect_page() as opening:
        await link.click()
    page = await opening.value
    await page.wait_for_load_state()
    assert await page.locator(":target").inner_text() == "DeploymentDown"
    display = await page.locator("body").evaluate("body => getComputedStyle(body).display")
    assert display == "grid", "its style is let in"


# --- a run


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


# --- when it is away


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
