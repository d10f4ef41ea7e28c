"""Who may ask what is served at kubelet's paths, and how it is refused: always by a Kubernetes Status."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from testbed.errors import ApiError, NoSuchContainer, NotFound, TestbedError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(token: bytes, open_paths: Collection[str] = ()) -> Middleware:
    """A middleware. ``token``: what a caller must bear. ``open_paths``: asked without one."""
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in open_paths:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(given, token):
                return _refusal(ApiError("Unauthorized", code=401, reason="Unauthorized"))
        try:
            return await handler(request)
        except ApiError as error:
            return _refusal(error)
        except NoSuchContainer as error:
            return _refusal(NotFound(error.message))
        except TestbedError as error:
            return _refusal(ApiError(error.message))

    return guarded


def _refusal(error: ApiError) -> web.Response:
    return web.json_response(error.status(), status=error.code)
