"""The entrance of the live page, over the real HTTP face: who gets a session, and what nobody sees without one."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from page_browser import KILL, PODCHAOS, SEES_NOTHING, Browser, browsing
from support.page_world import PageWorld, page_world

from testbed.server.sessions import SESSION_LIFETIME_S, TOKEN_LIFETIME_S


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with page_world(tmp_path) as world:
        yield world


@pytest.fixture
async def browser(world: PageWorld) -> AsyncIterator[Browser]:
    async with browsing(world) as browser:
        yield browser


# --- the entrance


async def test_a_one_time_token_opens_the_page_and_is_not_in_the_address_after(browser: Browser) -> None:
    _, text, answer = await browser.ask("GET", await browser.world.entrance())
    assert "script-src 'sha256-" in answer.headers["Content-Security-Policy"]  # its one script, and no other
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    status, text, answer = await browser.ask("GET", "/ui/")
    assert status == 200 and "<html" in text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert (answer.headers["X-Frame-Options"], answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == (
        "DENY", "no-referrer", "no-store")


async def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(browser: Browser) -> None:
    _, _, answer = await browser.ask("GET", await browser.world.entrance())
    [cookie] = answer.headers.getall("Set-Cookie")
    value, *attributes = cookie.split("; ")
    assert value.startswith("testbed-page-t=")
    assert sorted(attributes) == ["HttpOnly", f"Max-Age={SESSION_LIFETIME_S}", "Path=/", "SameSite=Strict", "Secure"]


async def test_without_a_session_nothing_is_shown_but_how_to_get_one(browser: Browser) -> None:
    for path in ("/ui/", "/ui/main.js", "/ui/nothing", "/testbed/v1/live", "/testbed/v1/runs"):
        status, text, _ = await browser.ask("GET", path)
        assert status == 401, path
        assert not any(word in text for word in SEES_NOTHING), text
    assert "run: testbed ui" in (await browser.ask("GET", "/ui/"))[1]


async def _spent(browser: Browser) -> str:
    address = await browser.world.entrance()
    await browser.ask("GET", address)
    browser.session.cookie_jar.clear()
    return address


async def _old(browser: Browser) -> str:
    address = await browser.world.entrance()
    browser.world.clock.advance(TOKEN_LIFETIME_S)
    return address


async def _wrong(browser: Browser) -> str:
    return (await browser.world.entrance())[:-1] + "x"


async def _none(browser: Browser) -> str:
    return browser.world.url + "/ui/enter"


@pytest.mark.parametrize("address", [_spent, _old, _wrong, _none])
async def test_a_token_that_is_spent_old_wrong_or_missing_shows_nothing(browser: Browser, address: Any) -> None:
    status, text, answer = await browser.ask("GET", await address(browser))
    assert status == 401 and "testbed ui" in text and "Set-Cookie" not in answer.headers
    assert not any(word in text for word in SEES_NOTHING)
    assert (await browser.ask("GET", "/ui/"))[0] == 401


async def test_only_opening_an_address_spends_its_token(browser: Browser) -> None:
    address = await browser.world.entrance()
    assert (await browser.ask("HEAD", address))[0] == 401
    assert (await browser.ask("POST", address))[0] == 405
    assert (await browser.ask("GET", address))[0] == 200


async def test_the_bearers_token_is_no_one_time_token(browser: Browser) -> None:
    assert (await browser.ask("GET", f"/ui/enter?token={browser.world.token}"))[0] == 401


async def test_only_the_bearer_gets_one_time_tokens(browser: Browser) -> None:
    assert (await browser.ask("POST", "/testbed/v1/sessions"))[0] == 401
    await browser.enter()
    assert (await browser.post("/testbed/v1/sessions", {}))[0] == 403


async def test_a_session_ends_after_twelve_hours(browser: Browser) -> None:
    await browser.enter()
    browser.world.clock.advance(SESSION_LIFETIME_S - 2)
    assert (await browser.ask("GET", "/ui/"))[0] == 200
    browser.world.clock.advance(2)
    assert (await browser.ask("GET", "/ui/"))[0] == 401


async def test_any_number_of_sessions_cost_nothing_and_all_are_good(browser: Browser) -> None:
    await browser.enter()
    for _ in range(200):
        await browser.ask("GET", await browser.world.entrance())
    assert (await browser.ask("GET", "/ui/"))[0] == 200


async def test_a_cookie_that_another_server_of_this_machine_has_set_beside_ours_locks_nobody_out(
    browser: Browser,
) -> None:
    await browser.enter()
    [mine] = [cookie.value for cookie in browser.session.cookie_jar]
    browser.session.cookie_jar.clear()
    headers = {"Cookie": f"testbed-page-t=1.x.y; testbed-page-t={mine}; other=1"}
    assert (await browser.ask("GET", "/ui/", headers=headers))[0] == 200


async def test_a_cookie_alone_shows_the_pages_code_and_nothing_of_the_cluster(browser: Browser) -> None:
    """Browsers send it to every server of this machine, so others may come to have it."""
    await browser.enter()
    mine, first = browser.key, [cookie.value for cookie in browser.session.cookie_jar]
    assert (await browser.look("/testbed/v1/runs"))[0] == 200
    await browser.enter()
    for key in ("", "1", mine, browser.key[:-1], browser.world.token, "ü"):
        for path in ("/testbed/v1/live", "/testbed/v1/runs", "/testbed/v1/targets", "/testbed/v1/files/x/r/a.html"):
            status, text = await browser.look(path, X_Testbed_Page=key)
            assert status == 401 and not any(word in text for word in SEES_NOTHING), (key, path)
        assert (await browser.post(PODCHAOS, KILL, X_Testbed_Page=key))[0] == 401
    assert first != [cookie.value for cookie in browser.session.cookie_jar]


async def test_a_key_without_its_cookie_opens_nothing(browser: Browser) -> None:
    await browser.enter()
    browser.session.cookie_jar.clear()
    assert (await browser.look("/testbed/v1/runs"))[0] == 401


async def test_files_of_runs_are_linked_to_with_a_key_of_their_own(browser: Browser) -> None:
    folder = browser.world.instance.runs / "crash-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"name": "crash"}')
    (folder / "report.html").write_text("the report")
    await browser.enter()
    [entry] = json.loads((await browser.look("/testbed/v1/runs"))[1])
    link = f"{entry['base']}crash-1/report.html"
    assert browser.key not in link
    assert (await browser.ask("GET", link))[:2] == (200, "the report")
    assert (await browser.ask("GET", f"{entry['base']}crash-1/none"))[0] == 404
    assert (await browser.ask("GET", f"{entry['base']}compare?a=crash-1&b=none"))[0] == 400
    assert (await browser.look("/testbed/v1/live", X_Testbed_Page=entry["base"].split("/")[4]))[0] == 401
    assert (await browser.ask("POST", link, headers={"Origin": browser.world.url}))[0] == 403
    browser.session.cookie_jar.clear()
    assert (await browser.ask("GET", link))[0] == 401


# --- the rest


@pytest.mark.parametrize("name", ["nothing.js", "../server.py", "..%2fserver.py", ".hidden", "main.js/", "sub/main.js"])
async def test_only_the_pages_own_files_are_there(browser: Browser, name: str) -> None:
    await browser.enter()
    assert (await browser.ask("GET", f"/ui/{name}"))[0] in (403, 404)


async def test_a_control_plane_that_was_started_again_knows_its_pages(tmp_path: Path) -> None:
    world = PageWorld(tmp_path)
    async with browsing(world) as browser:
        async with world.serving():
            await browser.enter()
        with pytest.raises(aiohttp.ClientError):
            await browser.ask("GET", "/ui/")
        async with world.serving():
            assert (await browser.ask("GET", "/ui/"))[0] == 200


async def test_neither_tokens_nor_cookies_are_logged(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = await browser.world.entrance()
    token = address.rpartition("=")[2]
    await browser.ask("GET", address)
    await browser.ask("GET", address)
    [cookie] = [cookie.value for cookie in browser.session.cookie_jar]
    await browser.ask("GET", "/ui/")
    said = caplog.text
    assert token not in said and cookie not in said and browser.world.token not in said
    assert browser.world.sessions.page_key(cookie) not in said
