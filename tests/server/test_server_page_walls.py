"""The live page's walls, over the real HTTP face: what a session may do, and what pages of others see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yarl
from page_browser import CUT, KILL, NODECHAOS, PODCHAOS, SEES_NOTHING, Browser, browsing
from support.page_world import PageWorld, page_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with page_world(tmp_path) as world:
        yield world


@pytest.fixture
async def browser(world: PageWorld) -> AsyncIterator[Browser]:
    async with browsing(world) as browser:
        yield browser


async def test_the_two_buttons_of_the_page_work(browser: Browser) -> None:
    await browser.enter()
    assert (await browser.post(PODCHAOS, KILL))[0] == 201
    assert (await browser.post(NODECHAOS, CUT))[0] == 201


@pytest.mark.parametrize("headers", [
    {"X_Testbed_Page": ""}, {"X_Testbed_Page": "1"}, {"Origin": ""}, {"Origin": "https://evil.example"},
    {"Origin": "null"}, {"Origin": "https://127.0.0.1:1"}, {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
])
async def test_a_post_that_is_not_the_pages_own_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    await browser.enter()
    status, _ = await browser.post(PODCHAOS, KILL, **headers)
    assert status in (401, 403)
    assert browser.world.registry.store.count("podchaos.chaos-mesh.org") == 0


@pytest.mark.parametrize("method, path", [
    ("GET", "/api/v1/secrets"), ("GET", "/api/v1/namespaces/default/secrets"), ("GET", "/api/v1/pods"),
    ("GET", "/metrics"), ("GET", "/version"), ("GET", PODCHAOS), ("GET", "/api/v1/pods?watch=1"),
    ("DELETE", "/api/v1/namespaces/default/pods/web-1"), ("POST", "/api/v1/namespaces/default/pods"),
    ("PUT", "/api/v1/nodes/node-1"), ("PATCH", "/apis/apps/v1/namespaces/default/deployments/web"),
    ("DELETE", PODCHAOS), ("POST", "/apis/testbed.io/v1alpha1/namespaces/default/experiments"),
    ("POST", "/testbed/v1/alerts"), ("GET", "/testbed/v1/../../api/v1/secrets"), ("GET", "//api/v1/secrets"),
    ("GET", "/testbed/v1/%2e%2e/%2e%2e/api/v1/secrets"), ("GET", "/ui/..%2f..%2fapi/v1/secrets"),
])
async def test_a_session_may_nothing_else(browser: Browser, method: str, path: str) -> None:
    await browser.enter()
    url = yarl.URL(browser.world.url + path, encoded=True)
    headers = {"Origin": browser.world.url, "X-Testbed-Page": browser.key}
    async with browser.session.request(method, url, headers=headers, json={} if method != "GET" else None) as answer:
        text = await answer.text()
    assert answer.status in (403, 404), text
    assert "web-1" not in text


async def test_who_names_a_token_is_judged_by_it_alone(browser: Browser) -> None:
    await browser.enter()
    assert (await browser.ask("GET", "/ui/", headers={"Authorization": "Bearer wrong"}))[0] == 401
    headers = {"Authorization": f"Bearer {browser.world.token}"}
    assert (await browser.ask("GET", "/api/v1/pods", headers=headers))[0] == 200


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": "rebound.example:443"},
    {"Origin": "https://evil.example"}, {"Origin": "http://127.0.0.1"}, {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
])
@pytest.mark.parametrize("path", ["/ui/", "/testbed/v1/live", "/testbed/v1/runs"])
async def test_other_pages_and_other_names_of_this_machine_see_nothing(
    browser: Browser, path: str, headers: dict[str, str],
) -> None:
    await browser.enter()
    status, text, _ = await browser.ask("GET", path, headers={"X-Testbed-Page": browser.key} | headers)
    assert status in (401, 403)
    assert not any(word in text for word in SEES_NOTHING)


async def test_a_token_is_not_taken_under_another_name_of_this_machine(browser: Browser) -> None:
    address = await browser.world.entrance()
    assert (await browser.ask("GET", address, headers={"Host": "evil.example"}))[0] == 403
    assert (await browser.ask("GET", address))[0] == 200


async def test_a_browser_that_was_sent_here_asks_once_more_by_itself(browser: Browser) -> None:
    """SameSite=Strict: it keeps the cookie back when another page sends it, until our own page does."""
    sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert 'http-equiv="refresh"' in (await browser.ask("GET", "/ui/", headers=sent))[1]
    again = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
    assert "refresh" not in (await browser.ask("GET", "/ui/", headers=again))[1]


async def test_a_person_is_answered_in_words(browser: Browser) -> None:
    await browser.enter()
    person = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
    person["X-Testbed-Page"] = browser.key
    status, text, answer = await browser.ask("GET", "/testbed/v1/runs/<b>x", headers=person)
    assert (status, answer.content_type) == (404, "text/html") and "there is no such run" in text
    status, text, answer = await browser.ask("GET", "/testbed/v1/compare?a=<b>x", headers=person)
    assert (status, answer.content_type) == (400, "text/html") and "names no run" in text and "<b>" not in text
    del person["Sec-Fetch-Dest"]
    assert (await browser.ask("GET", "/testbed/v1/runs/x", headers=person))[2].content_type == "application/json"
