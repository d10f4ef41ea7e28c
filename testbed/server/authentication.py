"""Who may speak to this API: the bearer of its token, through this machine's own addresses, and no web page.

The Host check is against DNS rebinding, the Origin check against pages in a person's browser. The token is compared
in constant time and is never taken from a URL.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from testbed.errors import Forbidden, Unauthorized

HEALTH_PATHS = frozenset({"/healthz", "/livez", "/readyz"})
_OWN_NAMES = ("127.0.0.1", "localhost", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
              "kubernetes.default.svc.cluster.local")


class Gatekeeper:
    """``addresses``: more hosts this API is known by (the ``kubernetes`` Service's address)."""

    def __init__(self, token: str, addresses: Iterable[str] = ()) -> None:
        if len(token) < 16:
            raise ValueError("a token has at least 16 characters")
        self._token = token.encode()
        self._hosts = frozenset((*_OWN_NAMES, *addresses))

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises: Forbidden (host, origin), Unauthorized (token)."""
        host = headers.get("Host", "")
        if _without_port(host).lower() not in self._hosts:
            raise Forbidden("this API is not known by that host name")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"https://{host.lower()}":
            raise Forbidden("requests from other origins are refused")
        if path in HEALTH_PATHS:
            return
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token):
            raise Unauthorized("Unauthorized")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
