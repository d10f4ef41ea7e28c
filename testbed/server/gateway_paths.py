"""``GET /testbed/v1/gateway/metrics`` and ``/testbed/v1/haproxy/metrics``: asked of the gateway over its control
socket, since nobody else reaches it. A gateway that does not answer is a 503 that says so, and a target that is down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from testbed.api.exposition import CONTENT_TYPE
from testbed.errors import ApiUnavailable, NotFound
from testbed.network.gateway_metrics import gateway_text
from testbed.network.line import ask_once

Answer = Callable[[web.BaseRequest, tuple[str, ...]], Awaitable[web.Response]]

ANSWER_S = 2.0


class GatewayPaths:
    """``socket``: the gateway's ``control.sock``."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @property
    def routes(self) -> Mapping[tuple[str, str], Answer]:
        """By method and first word below ``/testbed/v1/``; an answer gets the words after that."""
        return {("GET", "gateway"): self._gateway, ("GET", "haproxy"): self._haproxy}

    async def _gateway(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.Response:
        """Raises: NotFound, ApiUnavailable."""
        _metrics_only(rest)
        try:
            return _answer(gateway_text(await self._ask("metrics")))
        except ValueError as error:
            raise ApiUnavailable(str(error), hint="its image is of another version, run: testbed setup") from error

    async def _haproxy(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.Response:
        """Raises: NotFound, ApiUnavailable."""
        _metrics_only(rest)
        text = await self._ask("haproxy")
        if text is None:
            raise ApiUnavailable("HAProxy does not run: there is no Ingress")
        return _answer(str(text).encode())

    async def _ask(self, what: str) -> Any:
        """Raises: ApiUnavailable."""
        try:
            answer = await ask_once(self._socket, {"op": what}, ANSWER_S)
        except TimeoutError:
            raise ApiUnavailable(f"the gateway did not answer within {ANSWER_S:g} s") from None
        except (OSError, ValueError) as error:
            raise ApiUnavailable(f"the gateway does not answer: {error}") from error
        if "error" in answer:
            raise ApiUnavailable(f"the gateway has no metrics of {what} now: {answer['error']}")
        if what not in answer:
            raise ApiUnavailable("the gateway counts nothing", hint="its image is old, run: testbed setup")
        return answer[what]


def _metrics_only(rest: tuple[str, ...]) -> None:
    if rest != ("metrics",):
        raise NotFound("the server could not find the requested resource")


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
