"""The live page's own HTTP: its files, its entrance, and what is shown to whoever has no session: nothing.

The files are those in the folder ``ui`` beside this one, all read once: what is not there by name cannot be asked
for. No inline script or style is needed, so none is allowed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path

from aiohttp import web

from testbed.server.page_sessions import PageSessions
from testbed.server.sessions import OWN, PAGE, SESSION_LIFETIME_S

FILES = Path(__file__).parent / "ui"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".json": "application/json"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_AGAIN = '<meta http-equiv="refresh" content="0">'
_WORDS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>testbed</title>
{again}</head><body><p>{words}</p></body></html>
"""
# The one script that is not a file: a second request might not arrive (Chromium drops requests whenever an address of
# the machine changes), and the token is spent.
_KEEP_KEY = ('localStorage.setItem("testbed-key", document.querySelector("meta[name=key]").content); '
             f'location.replace("{PAGE}")')
_ENTERED_POLICY = ("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                   f"script-src 'sha256-{b64encode(sha256(_KEEP_KEY.encode()).digest()).decode()}'")
_ENTERED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>testbed</title><meta name="key" content="{key}"></head>
<body><p>The page needs scripts, and to store something for this address; your browser does not allow that.</p>
<script>{script}</script></body></html>
"""
CLOSED, SPENT = "run: testbed ui", "this link was used already, or is older than a minute; run: testbed ui"


@cache
def files() -> Mapping[str, tuple[bytes, str]]:
    """Content and type by name below ``/ui/``; ``""`` is the page itself."""
    found = {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in sorted(FILES.iterdir())
             if path.suffix in TYPES}
    return {**found, "": found["index.html"]} if "index.html" in found else found


def file_answer(name: str) -> web.Response | None:
    """None when there is no such file."""
    found = files().get(name)
    if found is None:
        return None
    return web.Response(body=found[0], headers={**HEADERS, "Content-Type": found[1]})


def is_looked_at(request: web.BaseRequest) -> bool:
    """Whether a person would see the answer: words for a browser, not JSON."""
    return request.path.startswith(PAGE) or (
        request.path.startswith(OWN) and request.headers.get("Sec-Fetch-Dest") == "document")


def words(text: str, status: int, *, again: bool = False) -> web.Response:
    """A page that says one thing. ``again``: it asks for its address once more, at once."""
    body = _WORDS.format(words=escape(text), again=_AGAIN if again else "")
    return web.Response(status=status, text=body, headers=HEADERS, content_type="text/html", charset="utf-8")


def closed(request: web.BaseRequest, told: str = CLOSED) -> web.Response:
    """What is shown without a session. A browser that was sent here by another page (a report, whose scripts are shut
    in) has kept the cookie back (SameSite=Strict); then this page asks once more, by itself."""
    sent_here = request.method == "GET" and request.headers.get("Sec-Fetch-Dest") == "document" and \
        request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    return words(told, 401, again=sent_here and told == CLOSED)


def enter(request: web.BaseRequest, sessions: PageSessions) -> web.Response:
    """A one-time token becomes a session: a cookie, and the page's key, which the browser keeps for this origin alone.
    Neither is in the address; nor is the token any more."""
    if request.method != "GET" or not sessions.spend(request.query.get("token", "")):
        return closed(request, SPENT)
    session = sessions.begin()
    answer = web.Response(
        text=_ENTERED.format(key=sessions.page_key(session), script=_KEEP_KEY), content_type="text/html",
        charset="utf-8", headers={**HEADERS, "Content-Security-Policy": _ENTERED_POLICY})
    answer.set_cookie(sessions.cookie, session, max_age=SESSION_LIFETIME_S, path="/", secure=True, httponly=True,
                      samesite="Strict")
    return answer
