"""The live page in a real browser: what is in the cluster is drawn, and what changes is drawn without reload."""

from __future__ import annotations

from typing import Any

import pytest
from support.page_view import CHROMIUM, PageView, tab
from support.page_world import PageWorld

from testbed.api.labels import RUNBOOK
from testbed.server.sessions import RUNBOOKS

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
