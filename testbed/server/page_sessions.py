"""Who looks at the live page of this cluster: one-time tokens given out and spent, sessions begun and found again.

What makes one good is ``sessions``; here it meets the clock and chance.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.api.clock import WallClock
from testbed.server.sessions import SECRET_BYTES, OneTimeTokens, SessionSeal, cookie_values


class PageSessions:
    """``secret``: the cluster's token. ``cookie``: its name, another one for each cluster of this machine, since
    browsers do not tell ports apart. ``chance``: gives so many random bytes."""

    def __init__(self, secret: str, cookie: str, clock: WallClock, chance: Callable[[int], bytes]) -> None:
        self.cookie = cookie
        self._seal, self._clock, self._chance = SessionSeal(secret), clock, chance
        self._tokens = OneTimeTokens()

    def find(self, cookies: str) -> str | None:
        """The session that a Cookie header holds; None when it holds none that is good."""
        now_s = self._now_s()
        return next((value for value in cookie_values(cookies, self.cookie) if self._seal.holds(value, now_s)), None)

    def begin(self) -> str:
        """A new session: the value of its cookie."""
        return self._seal.seal(self._chance(SECRET_BYTES), self._now_s())

    def page_key(self, session: str) -> str:
        return self._seal.page_key(session)

    def files_key(self, session: str) -> str:
        return self._seal.files_key(session)

    def issue(self) -> str:
        """A new one-time token."""
        token = self._chance(SECRET_BYTES).hex()
        self._tokens.issue(token, self._now_s())
        return token

    def spend(self, token: str) -> bool:
        """Whether it was good; it is not any more."""
        return self._tokens.spend(token, self._now_s())

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
