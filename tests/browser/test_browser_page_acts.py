"""The two acts of the live page: what is said before, what is created, what is told of it; and all by keyboard."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from support.page_view import CHROMIUM, PageView, tab
from support.page_world import NODE_CHAOS, POD_CHAOS, PageWorld

from testbed.api import resources as r
from testbed.api.labels import MONOTONIC_NS

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]

Json = dict[str, Any]


def created(world: PageWorld) -> list[Json]:
    """All fault objects there are."""
    return [item.value for resource in (POD_CHAOS, NODE_CHAOS) for item in world.registry.list(resource, None).items]


async def test_the_button_kills_one_pod_once_it_was_said_what_that_means(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").click()
    await view.says("#pod-title", "web-1")
    await view.page.click("#pod-kill")
    said = await view.text("#act")
    assert "The pod web-1 on node-1 is deleted at once" in said
    assert "It hits 1 of the 6 pods of Deployment web; 5 ready ones remain." in said
    assert "At most half of a workload's pods may be hit at a time" in said
    assert created(world) == []
    await view.page.click("#act-do")
    await view.says("#act-fate", "Waiting for the chaos daemon")
    [fault] = created(world)
    assert (fault["apiVersion"], fault["kind"], fault["metadata"]["namespace"]) == (
        "chaos-mesh.org/v1alpha1", "PodChaos", "default")
    assert fault["spec"] == {"action": "pod-kill", "mode": "one", "selector": {"pods": {"default": ["web-1"]}}}
    world.fault(fault["metadata"]["name"], "default/web-1", action="pod-kill")
    await view.says("#act-fate", "Done: default/web-1.")
    await view.page.click("#act-cancel")
    assert await view.page.locator("dialog[open]").count() == 0


async def test_the_button_cuts_one_nodes_power_for_as_long_as_was_asked(view: PageView, world: PageWorld) -> None:
    await view.room("node-2").get_by_role("button", name="Cut power of node-2").click()
    said = await view.text("#act")
    assert "Everything on node-2 goes silent for 20 seconds: its network first, then its agent and 2 pods." in said
    assert "Deployment web: 2 of 6 pods, 4 ready elsewhere" in said
    for wrong in ("", "0", "601", "1.5"):
        await view.page.fill("#act-seconds", wrong)
        await view.page.click("#act-do")
        assert created(world) == [], wrong
    await view.page.fill("#act-seconds", "7")
    assert "silent for 7 seconds" in await view.text("#act-said")
    await view.page.click("#act details summary")
    shown = json.loads(await view.page.inner_text("#act-object"))
    await view.page.click("#act-do")
    await view.says("#act-fate", "Waiting for the chaos daemon")
    [fault] = created(world)
    assert fault["spec"] == {"action": "kill", "mode": "one", "selector": {"nodes": ["node-2"]}, "duration": "7s"}
    assert (fault["apiVersion"], fault["kind"]) == ("testbed.io/v1alpha1", "NodeChaos")
    assert shown["metadata"]["name"] == fault["metadata"]["name"] and shown["spec"] == fault["spec"]
    assert "broken already" not in said
    world.fault(fault["metadata"]["name"], "node-2", kind="NodeChaos", action="kill", node="node-2")
    await view.says("#act-fate", "In effect: node-2.")
    await view.page.keyboard.press("Escape")
    await view.says(".room[data-node=node-2] header .state", "power cut")
    assert await view.room("node-2").get_by_role("button", name="Cut power").is_disabled()
    await view.room("node-1").get_by_role("button", name="Cut power").click()
    assert "node-2 is broken already." in await view.text("#act-said")


async def test_cancelling_creates_nothing(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").click()
    await view.page.click("#pod-kill")
    assert await view.page.evaluate("document.activeElement.id") == "act-cancel"  # Enter by mistake breaks nothing
    await view.page.keyboard.press("Enter")
    await view.room("node-1").get_by_role("button", name="Cut power").click()
    await view.page.keyboard.press("Escape")
    assert await view.page.locator("dialog[open]").count() == 0
    assert created(world) == []


async def test_a_refusal_of_the_chaos_daemon_is_shown_with_its_words(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").click()
    await view.page.click("#pod-kill")
    await view.page.click("#act-do")
    await view.says("#act-fate", "Waiting")
    [fault] = created(world)
    words = "this would hit 4 of the 6 pods of Deployment web; the limit is 50%, which is 3"
    world.fault(fault["metadata"]["name"], "default/web-1", phase="Refused", message=words)
    await view.says("#act-fate", f"Refused: {words}")
    assert await view.page.get_attribute("#act-fate", "role") == "status"


async def test_a_refusal_of_the_api_is_shown_with_its_words_and_can_be_tried_again(
    view: PageView, world: PageWorld,
) -> None:
    async def refuse(route: Any) -> None:
        await route.fulfill(status=507, json={"kind": "Status", "message": "the disk is full"})

    await view.page.route("**/podchaos*", refuse)
    await view.cell("web-1").click()
    await view.page.click("#pod-kill")
    await view.page.click("#act-do")
    await view.says("#act-fate", "Refused: the disk is full")
    await view.page.unroute("**/podchaos*")
    await view.page.click("#act-do")
    await view.says("#act-fate", "Waiting")
    assert len(created(world)) == 1


async def test_an_answer_that_got_lost_creates_no_second_object(view: PageView, world: PageWorld) -> None:
    tries = []

    async def lose(route: Any) -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            await route.fetch()  # it gets there; its answer does not get back
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await view.page.route("**/podchaos*", lose)
    await view.cell("web-1").click()
    await view.page.click("#pod-kill")
    await view.page.click("#act-do")
    await view.says("#act-fate", "Created.")
    assert len(tries) == 2 and len(created(world)) == 1


async def test_an_answer_that_comes_after_the_dialog_was_closed_is_not_told_in_the_next_one(
    view: PageView, world: PageWorld,
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def dawdle(route: Any) -> None:
        arrived.set()
        await go_on.wait()
        await route.fulfill(status=507, json={"kind": "Status", "message": "the disk is full"})

    await view.page.route("**/podchaos*", dawdle)
    await view.cell("web-1").click()
    await view.page.click("#pod-kill")
    await view.page.click("#act-do")
    await view.says("#act-fate", "Sending")
    await arrived.wait()
    await view.page.keyboard.press("Escape")
    await view.room("node-2").get_by_role("button", name="Cut power of node-2").click()
    assert await view.text("#act-fate") == ""
    async with view.page.expect_response("**/podchaos*") as answered:
        go_on.set()
    await (await answered.value).finished()
    await view.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert await view.text("#act-fate") == ""
    await view.page.click("#act-do")
    await view.says("#act-fate", "Waiting for the chaos daemon")
    assert [fault["kind"] for fault in created(world)] == ["NodeChaos"]


async def test_what_may_never_be_hit_has_no_button(view: PageView, world: PageWorld) -> None:
    world.registry.create(r.PODS, {"metadata": {"name": "dns"}, "spec": {
        "nodeName": "node-1", "containers": [{"name": "dns", "image": "sample:v1"}]}}, "kube-system")
    await view.cell("kube-system/dns").click()
    assert await view.page.is_disabled("#pod-kill")
    assert await view.text("#pod-spared") == "Pods of kube-system are never hit."


async def test_the_dialog_of_a_pod_goes_on_living(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").click()
    assert await view.text("#pod-containers") == "web running 0 readiness passes, liveness passes"
    world.pod("web-1", "node-1", ready=False, restarts=2, waiting="CrashLoopBackOff")
    world.event("Pod", "web-1", "ContainerDied", "container web ended with 137", warning=True)
    await view.says("#pod-containers", "waiting: CrashLoopBackOff 2 readiness waiting, liveness waiting")
    await view.says("#pod-events", "ContainerDied: container web ended with 137")
    world.kill("web-1")
    await view.says("#pod-state", "gone")
    assert await view.page.is_disabled("#pod-kill")


async def test_the_events_of_a_pod_within_one_second_are_in_the_order_of_the_one_clock(
    view: PageView, world: PageWorld,
) -> None:
    """What came again has no fractions in its time, by which it would be the first of its second."""
    for monotonic_s, at, reason in ((6, ".900000", "Killing"), (7, "", "Unhealthy"), (5, ".100000", "Started")):
        world.registry.create(r.EVENTS, {
            "metadata": {"name": reason.lower(), "annotations": {MONOTONIC_NS: str(monotonic_s * 10**9)}},
            "reason": reason, "message": "", "type": "Normal", "count": 1,
            "lastTimestamp": f"2026-11-29T12:00:05{at}Z",
            "involvedObject": {"kind": "Pod", "name": "web-1", "namespace": "default"}}, "default")
    await view.cell("web-1").click()
    await view.until("document.querySelectorAll('#pod-events li').length === 3")
    assert re.findall(r"[A-Z]\w+", await view.text("#pod-events")) == ["Unhealthy", "Killing", "Started"]


# --- by keyboard


async def test_everything_can_be_reached_by_keyboard_and_the_focus_is_seen(chrome: Any, busy: PageWorld) -> None:
    async with busy.serving(), tab(chrome) as view:
        await view.enter(busy.entrance)
        await view.page.wait_for_selector("[data-run]")
        wanted = await view.page.evaluate("""() => [
            ...document.querySelectorAll('a[href], button, input, select, summary')].filter(found =>
                found.checkVisibility() && !found.disabled && found.tabIndex >= 0).length""")
        reached, unseen = 0, []
        await view.page.evaluate("document.activeElement.blur()")
        for _ in range(wanted + 20):
            await view.page.keyboard.press("Tab")
            name, is_control, is_seen = await view.page.evaluate("""() => {
                const at = document.activeElement, style = getComputedStyle(at);
                return [at.outerHTML.slice(0, 80), at.matches('a[href], button, input, select, summary'),
                        at === document.body || style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
            }""")
            reached += is_control
            unseen += [] if is_seen else [name]
            if "report" in name and reached >= wanted:
                break
        assert unseen == []
        assert reached >= wanted > 20


async def test_arrow_keys_walk_among_the_pods_of_a_room_which_is_one_stop(view: PageView, world: PageWorld) -> None:
    for number in range(7, 25):
        world.pod(f"web-{number}", "node-1")
    await view.until("document.querySelectorAll('[data-node=node-1] .cell').length === 20")

    async def at() -> str:
        return str(await view.page.evaluate("document.activeElement.dataset.pod ?? document.activeElement.innerText"))

    await view.room("node-1").get_by_role("button", name="Cut power").focus()
    await view.page.keyboard.press("Tab")
    assert await at() == "default/web-1"
    await view.page.keyboard.press("ArrowRight")
    assert await at() == "default/web-4"
    await view.page.keyboard.press("End")
    assert await at() == "default/web-24"
    await view.page.keyboard.press("ArrowRight")
    assert await at() == "default/web-24"
    await view.page.keyboard.press("Home")
    await view.page.keyboard.press("ArrowDown")
    assert await view.page.evaluate("""() => {
        const here = document.activeElement, first = document.querySelector('.cell');
        return here.offsetTop > first.offsetTop && here.offsetLeft === first.offsetLeft;
    }""")
    here = await at()
    await view.page.keyboard.press("Tab")
    assert await at() == "Cut power…"
    await view.page.keyboard.press("Shift+Tab")
    assert await at() == here  # back where one was


async def test_a_pod_is_killed_by_keyboard_alone(view: PageView, world: PageWorld) -> None:
    await view.cell("web-1").focus()
    await view.page.keyboard.press("Enter")
    await view.says("#pod-title", "web-1")
    await view.page.keyboard.press("Escape")
    assert await view.page.evaluate("document.activeElement.dataset.pod") == "default/web-1"
    await view.page.keyboard.press("Enter")
    for _ in range(8):
        if await view.page.evaluate("document.activeElement.id") == "pod-kill":
            break
        await view.page.keyboard.press("Tab")
    await view.page.keyboard.press("Enter")
    for _ in range(4):
        if await view.page.evaluate("document.activeElement.id") == "act-do":
            break
        await view.page.keyboard.press("Tab")
    await view.page.keyboard.press("Enter")
    await view.says("#act-fate", "Created.")
    assert len(created(world)) == 1
    await view.page.keyboard.press("Escape")
    assert await view.page.locator("dialog[open]").count() == 0
    assert await view.page.evaluate("document.activeElement.dataset.pod") == "default/web-1"
