"""Earlier runs over HTTP: ``GET /testbed/v1/runs``, a run, its files, and two of them compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from testbed.errors import BadRequest, NotFound
from testbed.server import run_files
from testbed.server.answers import json_answer
from testbed.server.comparing import Comparer
from testbed.server.own_paths import Answer, not_found
from testbed.server.page_sessions import PageSessions
from testbed.server.run_folders import RunFolders, is_name
from testbed.server.sessions import FILES, OWN


class RunPaths:
    """``root``: the instance's ``runs`` folder. A page, whose links cannot send its key, finds the same files below
    ``files/<key>/``, which the gatekeeper has judged."""

    def __init__(self, root: Path, sessions: PageSessions) -> None:
        self._folders, self._comparer, self._sessions = RunFolders(root), Comparer(), sessions

    @property
    def routes(self) -> Mapping[tuple[str, str], Answer]:
        return {("GET", "runs"): self._runs, ("GET", "compare"): self._compare, ("GET", "files"): self._linked}

    async def _runs(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.StreamResponse:
        """Raises: NotFound."""
        if not rest:
            base = self._base(request)
            return json_answer([{**entry, "base": base} for entry in self._folders.newest()])
        if len(rest) == 1:
            return self._run(rest[0], self._base(request))
        return await self._file(request, rest)

    async def _linked(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.StreamResponse:
        if rest[1:] == ("compare",):
            return await self._compare(request, ())
        return await self._file(request, rest[1:])

    def _base(self, request: web.BaseRequest) -> str:
        """What addresses of files begin with, for whoever asks."""
        session = self._sessions.find(request.headers.get("Cookie", ""))
        return f"{OWN}runs/" if session is None else f"{FILES}{self._sessions.files_key(session)}/"

    async def _file(self, request: web.BaseRequest, parts: tuple[str, ...]) -> web.StreamResponse:
        """Raises: NotFound."""
        found = run_files.open_inside(self._folders.root, parts) if len(parts) > 1 else None
        if found is None:
            raise not_found()
        return await run_files.send(request, found, parts[-1])

    def _run(self, run: str, base: str) -> web.Response:
        """Raises: NotFound."""
        if (entry := self._folders.find(run)) is None:
            raise NotFound(f"there is no run {run!r}" if is_name(run) else "there is no such run")
        return json_answer({**entry, "base": base, "files": self._folders.files(run)})

    async def _compare(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.StreamResponse:
        """``?a=<run>&b=<run>``, or ``<run>/<variant>``. Raises: BadRequest, TooManyRequests, ApiUnavailable."""
        if rest:
            raise not_found()
        page = await self._comparer.page(self._measured(request, "a"), self._measured(request, "b"))
        return web.Response(body=page, headers=run_files.headers_of("comparison.html"))

    def _measured(self, request: web.BaseRequest, which: str) -> Path:
        parts = request.query.get(which, "").split("/")
        if len(parts) > 2 or not run_files.is_there(self._folders.root, (*parts, "result.json")):
            raise BadRequest(f"{which} names no run with a result; of several variants: <run>/<variant>")
        return self._folders.root.joinpath(*parts)
