"""The page that alerts link to: every alert has its place on it, whoever is on this machine may read it, and it needs
nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest
from http_world import World, http_world
from ruamel.yaml import YAML

from testbed import resources
from testbed.server.runbooks import html_of
from testbed.server.sessions import RUNBOOKS

ALERTS = [rule["alert"] for file in resources.rule_files()
          for group in YAML(typ="safe").load(file.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


class Page(HTMLParser):
    """``ids``: text of the headings by id; ``asks``: values of attributes that name another place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        self.asks: list[str] = []
        self.tags: set[str] = set()
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._within = dict(attrs).get("id") or ""
        self.asks += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "style")]

    def handle_data(self, data: str) -> None:
        if self._within:
            self.ids[self._within] = self.ids.get(self._within, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with http_world(tmp_path) as found:
        yield found


async def opened(world: World, path: str = RUNBOOKS, method: str = "GET", **headers: str) -> aiohttp.ClientResponse:
    """As a browser asks that has no token."""
    async with world.session.request(method, world.url + path, headers=headers) as answer:
        await answer.read()
        return answer


async def test_every_alert_has_its_place_on_the_page(world: World) -> None:
    page = Page(await (await opened(world)).text())
    assert ALERTS
    assert page.ids == {name.lower(): name for name in ALERTS}


async def test_whoever_follows_a_link_from_prometheus_reads_it_without_a_token(world: World) -> None:
    answer = await opened(world, **{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"})
    assert answer.status == 200 and answer.content_type == "text/html"
    assert "No replica of a Deployment" in await answer.text()
    assert (await opened(world, method="HEAD")).status == 200
    assert (await opened(world, Authorization="Bearer wrong")).status == 200, "an old token hides nothing"


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1"},
])
async def test_other_hosts_and_origins_are_refused_as_everywhere(world: World, headers: dict[str, str]) -> None:
    answer = await opened(world, **headers)
    assert answer.status == 403 and "DeploymentDown" not in await answer.text()


async def test_nothing_else_is_opened_by_it(world: World) -> None:
    for path in (f"{RUNBOOKS}/", f"{RUNBOOKS}/x", f"{RUNBOOKS}/../targets", "/testbed/v1/targets", "/testbed/v1/run"):
        assert (await opened(world, path)).status == 401, path
    assert (await world.ask("GET", f"{RUNBOOKS}/x"))[0] == 404
    assert (await opened(world, method="POST")).status == 405


async def test_the_page_asks_nobody_for_anything_and_its_style_is_allowed(world: World) -> None:
    answer = await opened(world)
    text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    page = Page(text)
    places = {place.removeprefix("#") for place in page.asks if place.startswith("#")}
    assert places == set(page.ids) and not [place for place in page.asks if not place.startswith("#")]
    assert not page.tags & {"script", "link", "img", "iframe"}
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style and "@import" not in style
    assert f"style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "color-scheme: light dark" in style


def test_links_to_documents_that_are_not_served_are_words_and_html_is_text() -> None:
    text = html_of("# A\n\n## Down\n\n"
                   "See [the *other*](other.md), [out](https://a.example/), [here](#down), <b>bold</b>.\n")
    assert '<p>See the <em>other</em>, out, <a href="#down">here</a>, &lt;b&gt;bold&lt;/b&gt;.</p>' in text
    assert '<h2 id="down">Down</h2>' in text
