"""What a real browser lets through to the live page, and what not: cookies, other servers of this machine, scripts of
reports."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from support.page_view import CHROMIUM, PageView
from support.page_world import PageWorld

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.asyncio(loop_scope="module"),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]

KILL = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
REPORT = f"""<!doctype html><title>report</title><p id=said>no script</p><a href="./logs/web.log">its log</a>
<script>
document.getElementById("said").textContent = "script ran";
fetch("{KILL}", {{method: "POST", credentials: "include", headers: {{"X-Testbed-Page": "1"}}, body: "{{}}"}})
  .then(() => "sent", () => "kept in").then(text => {{ document.title = text; }});
</script>"""


async def go(view: PageView, url: str) -> None:
    """Again, where the browser drops it because an address of this machine has changed."""
    for tries in range(6):
        try:
            await view.page.goto(url)
            return
        except Exception as error:
            if tries == 5 or not ("ERR_NETWORK_CHANGED" in str(error) or "interrupted by another" in str(error)):
                raise


async def report_of_a_run(view: PageView, world: PageWorld) -> str:
    """The address of its report that the page links to."""
    folder = world.instance.runs / "crash-1"
    (folder / "logs").mkdir(parents=True)
    (folder / "result.json").write_text('{"name": "crash"}')
    (folder / "report.html").write_text(REPORT)
    (folder / "logs" / "web.log").write_text("the log of web")
    await view.enter(world.entrance)
    await view.page.wait_for_selector("tr[data-run=crash-1] a")
    return world.url + str(await view.page.get_attribute("tr[data-run=crash-1] a", "href"))


async def test_the_token_and_the_cookie_are_nowhere_a_script_could_read_them(view: PageView, world: PageWorld) -> None:
    assert view.page.url == f"{world.url}/ui/"
    assert await view.page.evaluate("document.cookie") == ""
    assert "token" not in str(await view.page.evaluate("JSON.stringify([document.referrer, {...localStorage}])"))
    [cookie] = await view.page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")


async def test_the_scripts_of_a_report_run_and_reach_nothing(view: PageView, world: PageWorld) -> None:
    await go(view, await report_of_a_run(view, world))
    assert await view.page.inner_text("#said") == "script ran"
    await view.page.wait_for_function("document.title === 'kept in'")
    assert world.registry.store.count("podchaos.chaos-mesh.org") == 0
    assert await view.page.evaluate("try { document.cookie } catch (error) { error.name }") in ("", "SecurityError")


async def test_a_link_of_a_report_leads_to_the_runs_other_files(view: PageView, world: PageWorld) -> None:
    """The report's origin is none, so the browser keeps the cookie back at first."""
    await go(view, await report_of_a_run(view, world))
    await view.page.click("a")
    await view.page.wait_for_function("document.body.innerText.includes('the log of web')")
    assert view.page.url.endswith("/crash-1/logs/web.log")


async def test_what_another_server_of_this_machine_gets_opens_nothing(view: PageView, world: PageWorld) -> None:
    """Browsers do not tell ports apart where cookies and sites are concerned: it is even sent the cookie."""
    got: list[str] = []

    async def other(request: web.BaseRequest) -> web.Response:
        got.append(request.headers.get("Cookie", ""))
        return web.Response(text="<title>other</title>", content_type="text/html")

    runner = web.ServerRunner(web.Server(other))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        await go(view, f"http://127.0.0.1:{port}/")
        asked = f"""fetch("{world.url}/testbed/v1/live", {{credentials: "include", mode: "MODE"}})
                    .then(answer => answer.type + answer.status, () => "refused")"""
        assert await view.page.evaluate("localStorage.getItem('testbed-key')") is None
        assert await view.page.evaluate(asked.replace("MODE", "cors")) == "refused"
        assert await view.page.evaluate(asked.replace("MODE", "no-cors")) in ("refused", "opaque0")
        sent = f"""fetch("{world.url}{KILL}", {{method: "POST", credentials: "include", mode: "no-cors", body: "{{}}"}})
                   .then(answer => answer.type, () => "refused")"""
        await view.page.evaluate(sent)
        assert await view.page.evaluate(f"""new Promise(done => {{
            const frame = document.createElement("iframe");
            frame.src = "{world.url}/ui/";
            frame.onload = frame.onerror = () => {{
                try {{ done(frame.contentDocument ? "read" : "kept out") }} catch {{ done("kept out") }} }};
            document.body.append(frame); }})""") == "kept out"
    finally:
        await runner.cleanup()
    assert got
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls())) as thief:
        for cookie in got:
            for path in ("/testbed/v1/live", "/testbed/v1/runs"):
                async with thief.get(world.url + path, headers={"Cookie": cookie}) as answer:
                    assert answer.status == 401
            async with thief.post(world.url + KILL, json={}, headers={
                    "Cookie": cookie, "Origin": world.url, "X-Testbed-Page": "1"}) as answer:
                assert answer.status == 401
    assert world.registry.store.count("podchaos.chaos-mesh.org") == 0
