"""What this server has beside Kubernetes' API: the live page below ``/ui/``, and what is below ``/testbed/v1/``.

Here is only whose a path is; each subject has a table of its own: by method and first word below ``/testbed/v1/``, with
an answer that gets the words after that. Who may come this far is the gatekeeper's affair: everybody here has the token
or a session, but at the page's entrance and before the runbooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from testbed.errors import ApiError, MethodNotAllowed, NotFound, Unauthorized
from testbed.server import page
from testbed.server.answers import error_answer, json_answer
from testbed.server.authentication import ENTER
from testbed.server.live import Live
from testbed.server.page_sessions import PageSessions
from testbed.server.sessions import OWN, PAGE

Answer = Callable[[web.BaseRequest, tuple[str, ...]], Awaitable[web.StreamResponse]]
Routes = Mapping[tuple[str, str], Answer]

LIVE = f"{OWN}live"


class OwnPaths:
    """``more``: the tables of other subjects."""

    def __init__(self, sessions: PageSessions, live: Live, *more: Routes) -> None:
        self._sessions, self._live = sessions, live
        self._routes: dict[tuple[str, str], Answer] = {
            ("GET", "live"): self._feed, ("POST", "sessions"): self._issue,
            **{key: answer for table in more for key, answer in table.items()}}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """None when the path is none of these. Raises: ApiError."""
        path = request.path
        if path.startswith(PAGE):
            return self._page(request, path.removeprefix(PAGE))
        if not path.startswith(OWN):
            return None
        first, *rest = path.removeprefix(OWN).split("/")
        found = self._routes.get(("GET" if request.method == "HEAD" else request.method, first))
        if found is not None:
            return await found(request, tuple(rest))
        if any(first == known for _, known in self._routes):
            raise _not_allowed()
        raise not_found()

    @staticmethod
    def refusal(request: web.BaseRequest, error: ApiError) -> web.Response:
        """To a person's browser in words, to everybody else as a Status."""
        if not page.is_looked_at(request):
            return error_answer(error)
        return page.closed(request) if isinstance(error, Unauthorized) else page.words(error.message, error.code)

    def _page(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise _not_allowed()
        if request.path == ENTER:
            return page.enter(request, self._sessions)
        if (found := page.file_answer(name)) is None:
            raise not_found()
        return found

    async def _feed(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.StreamResponse:
        if rest:
            raise not_found()
        if request.method != "GET":  # HEAD has no end to wait for
            raise _not_allowed()
        return await self._live.answer(request)

    async def _issue(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.StreamResponse:
        """A one-time token, as the path to spend it at."""
        if rest:
            raise not_found()
        return json_answer({"path": f"{ENTER}?token={self._sessions.issue()}"}, 201)


def not_found() -> NotFound:
    return NotFound("the server could not find the requested resource")


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")
