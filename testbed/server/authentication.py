"""Who may speak to this API: the bearer of its token, through this machine's own addresses, and no web page but ours.

The Host check is against DNS rebinding, the Origin check against pages in a person's browser. The token is compared
in constant time and is never taken from a URL. The live page has a session instead, which may do little (``sessions``);
a cookie alone does nothing: what it asks for must come from the page itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from testbed.errors import Forbidden, Unauthorized
from testbed.server.page_sessions import PageSessions
from testbed.server.sessions import FILES, PAGE, PAGE_HEADER, RUNBOOKS, session_may

HEALTH_PATHS = frozenset({"/healthz", "/livez", "/readyz"})
ENTER = f"{PAGE}enter"  # judges its one-time token itself
_OPEN = HEALTH_PATHS | {ENTER, RUNBOOKS}
_OWN_NAMES = ("127.0.0.1", "localhost", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
              "kubernetes.default.svc.cluster.local")
_OWN_SITES = (None, "none", "same-origin")  # Sec-Fetch-Site: servers on other ports of this machine are "same-site"


class Gatekeeper:
    """``addresses``: more hosts this API is known by (the ``kubernetes`` Service's address). ``sessions``: of the live
    page; None where there is none."""

    def __init__(self, token: str, addresses: Iterable[str] = (), *, sessions: PageSessions | None = None) -> None:
        if len(token) < 16:
            raise ValueError("a token has at least 16 characters")
        self._token = token.encode()
        self._hosts = frozenset((*_OWN_NAMES, *addresses))
        self._sessions = sessions

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises: Forbidden (host, origin, what a page may not do), Unauthorized (neither token nor session)."""
        host = headers.get("Host", "")
        if _without_port(host).lower() not in self._hosts:
            raise Forbidden("this API is not known by that host name")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"https://{host.lower()}":
            raise Forbidden("requests from other origins are refused")
        if path in _OPEN:
            return
        session = self._sessions.find(headers.get("Cookie", "")) if self._sessions is not None else None
        if "Authorization" in headers or self._sessions is None or session is None:
            self._check_token(headers.get("Authorization", ""))
        else:
            _check_session(self._sessions, session, method, path, headers)

    def _check_token(self, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token):
            raise Unauthorized("Unauthorized")


def _check_session(
    sessions: PageSessions, session: str, method: str, path: str, headers: Mapping[str, str],
) -> None:
    if headers.get("Sec-Fetch-Site") not in _OWN_SITES:
        raise Unauthorized("Unauthorized")  # as if the browser had not sent the cookie
    if not session_may(method, path):
        raise Forbidden("the live page may look, kill a pod and cut a node's power, nothing else")
    if path.startswith(PAGE):  # its code, which tells nothing
        return
    if path.startswith(FILES):
        given, wanted = path.removeprefix(FILES).partition("/")[0], sessions.files_key(session)
    else:
        given, wanted = headers.get(PAGE_HEADER, ""), sessions.page_key(session)
    if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
        raise Unauthorized("Unauthorized")
    if method == "POST" and headers.get("Origin") is None:
        raise Forbidden("only the live page itself may ask for that")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
