"""Sessions of the live page: one-time tokens, cookies, keys, and what a page may do. Pure; chance and time come in.

A cookie is a sealed statement (when it ends, 256 random bits, and a MAC under a key of this cluster), so nothing is
kept of it: a control plane that was killed and started again knows its pages still, and there is no table that could
be filled. It ends after twelve hours, or with the cluster. A one-time token is kept, as a digest, until it is spent or
a minute has passed; a control plane that is started again knows none.

Browsers send a cookie to every server of 127.0.0.1, whatever its port and whoever's it is, ``Secure`` ones too (tried:
Chromium). So a cookie alone opens nothing but the page's own code. The page also has a key, which it keeps where only
its own origin can read it, and links to files of runs hold another one, because links cannot send headers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from testbed.api.resources import CHAOS_MESH_GROUP, TESTBED_GROUP

TOKEN_LIFETIME_S = 60.0
SESSION_LIFETIME_S = 12 * 3600
MAX_TOKENS = 16  # that wait to be spent; the oldest goes first
SECRET_BYTES = 32
OWN, PAGE = "/testbed/v1/", "/ui/"
FILES = f"{OWN}files/"  # behind it a key, then what is handed out to whoever follows a link
RUNBOOKS = f"{OWN}runbooks"  # what alerts link to; holds no secret, so everybody on this machine may read it
PAGE_HEADER = "X-Testbed-Page"  # holds the page's key

_SEALED = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})", re.ASCII)
_NAMESPACE = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_MAY_CREATE = re.compile(
    rf"/apis/(?:{re.escape(CHAOS_MESH_GROUP)}/v1alpha1/namespaces/{_NAMESPACE}/podchaos"
    rf"|{re.escape(TESTBED_GROUP)}/v1alpha1/namespaces/{_NAMESPACE}/nodechaos)", re.ASCII)


def session_may(method: str, path: str) -> bool:
    """Look at the page and its feeds, kill a pod, cut a node's power: nothing else. With the page's key, that is."""
    if method in ("GET", "HEAD"):
        return path.startswith((PAGE, OWN))
    return method == "POST" and _MAY_CREATE.fullmatch(path) is not None


class OneTimeTokens:
    """Those that were given out and not spent. Kept as digests: a dump of this process opens nothing."""

    def __init__(self) -> None:
        self._left: dict[bytes, float] = {}  # digest -> when it ends, oldest first

    def issue(self, token: str, now_s: float) -> None:
        self._left[_digest(token)] = now_s + TOKEN_LIFETIME_S
        while len(self._left) > MAX_TOKENS:
            del self._left[next(iter(self._left))]

    def spend(self, token: str, now_s: float) -> bool:
        """Whether it was good. It is not any more. All are compared, in constant time."""
        given = _digest(token)
        self._left = {digest: ends for digest, ends in self._left.items() if ends > now_s}
        found = [digest for digest in self._left if hmac.compare_digest(digest, given)]
        for digest in found:
            del self._left[digest]
        return bool(found)


class SessionSeal:
    """``secret``: the cluster's own token. Times are of the wall clock, in seconds since 1970."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"page sessions", hashlib.sha256)

    def seal(self, chance: bytes, now_s: float) -> str:
        """The value of a new session's cookie. ``chance``: ``SECRET_BYTES`` random ones."""
        body = f"{int(now_s) + SESSION_LIFETIME_S}.{_text(chance)}"
        return f"{body}.{_text(self._mac(body))}"

    def holds(self, cookie: str, now_s: float) -> bool:
        """Whether this cluster made it, and its time is not over."""
        match = _SEALED.fullmatch(cookie)
        if match is None:
            return False
        body, _, mac = cookie.rpartition(".")
        return hmac.compare_digest(_text(self._mac(body)), mac) and now_s < int(match[1])

    def page_key(self, cookie: str) -> str:
        """What a page with that cookie sends as ``PAGE_HEADER``."""
        return _text(self._mac(f"page {cookie}"))

    def files_key(self, cookie: str) -> str:
        """What is in the addresses of files that such a page links to. It is not the page's: reports have scripts, and
        may read their own address."""
        return _text(self._mac(f"files {cookie}"))

    def _mac(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode(), hashlib.sha256)


def cookie_values(header: str, name: str) -> list[str]:
    """All values of that name in a Cookie header: other servers of this machine may have set one too, for browsers do
    not tell ports apart."""
    pairs = (part.strip().partition("=") for part in header[:8192].split(";"))
    return [value for key, _, value in pairs if key == name]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
