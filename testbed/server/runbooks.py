"""The runbooks as a page that alerts can link to: ``docs/runbooks.md``, each section at its name in small letters.

One page that needs nothing else: no script, no font, no picture, its style within. It says nothing of the cluster, so
it is shown without a token: whoever follows a link from Prometheus, Alertmanager or Grafana has none.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from testbed import resources
from testbed.errors import EnvironmentProblem
from testbed.server.own_paths import Routes, not_found
from testbed.server.page import HEADERS

if TYPE_CHECKING:
    from markdown_it.token import Token

_STYLE = Path(__file__).with_suffix(".css")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Runbooks of the testbed</title><style>{style}</style></head>
<body><nav aria-label="Alerts"><ul>{places}</ul></nav><main>{text}</main></body></html>
"""


def html_of(markdown: str, style: str = "") -> str:
    """The whole page. Raw HTML is shown as the text that it is."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens, places = parser.parse(markdown), []
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open" and token.tag == "h2":
            anchor = inline.content.lower()
            token.attrSet("id", anchor)
            places.append(f'<li><a href="#{escape(anchor)}">{escape(inline.content)}</a></li>')
    for token in tokens:
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # it scrolls where the window is narrow, by keyboard too
        token.children = _links_within(token.children) if token.children else token.children
    return _PAGE.format(style=style, places="".join(places),
                        text=parser.renderer.render(tokens, parser.options, {}))


def _links_within(children: list[Token]) -> list[Token]:
    """Without the links to other documents, which are not served: their words stay."""
    kept, leads_away = [], False
    for token in children:
        if token.type == "link_open":
            leads_away = not str(token.attrs.get("href", "")).startswith("#")
        if not (leads_away and token.type in ("link_open", "link_close")):
            kept.append(token)
    return kept


@cache
def whole_page() -> tuple[str, str]:
    """The page, and the policy that allows it its own style and nothing else.

    Raises: EnvironmentProblem.
    """
    try:
        style, markdown = _STYLE.read_text(), resources.runbooks().read_text()
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename} is missing from this installation",
                                 hint="install it again: pip install --force-reinstall selfheal-testbed") from error
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return html_of(markdown, style), (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
                                      "form-action 'none'; frame-ancestors 'none'")


async def _answer(_: web.BaseRequest, rest: tuple[str, ...]) -> web.Response:
    """Made once, when first asked for: the reader of Markdown is brought in only then (20 ms, 15 of them for that).

    Raises: NotFound, EnvironmentProblem.
    """
    if rest:
        raise not_found()
    text, policy = whole_page()
    return web.Response(text=text, headers={**HEADERS, "Content-Security-Policy": policy}, content_type="text/html",
                        charset="utf-8")


ROUTES: Routes = {("GET", "runbooks"): _answer}
