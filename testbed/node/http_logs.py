"""``containerLogs``: what a container wrote, with kubelet's options.

Source: kubernetes pkg/kubelet/server/server.go getContainerLogs, staging apis core/v1 PodLogOptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import web

from testbed.api.clock import WallClock
from testbed.api.meta import parse_time
from testbed.errors import BadRequest
from testbed.runtime.protocol import Engine


async def serve_logs(request: web.Request, engine: Engine, container: str, clock: WallClock) -> web.StreamResponse:
    """``container``: its id. Raises: BadRequest, EngineError, EngineUnavailable (before the first byte)."""
    query = request.query
    left = _number(query, "limitBytes")
    chunks = engine.logs(
        container, follow=_flag(query, "follow"), tail=_number(query, "tailLines"), since=_since(query, clock),
        timestamps=_flag(query, "timestamps"),
    )
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    try:
        await response.prepare(request)
        async for chunk in chunks:
            part = chunk if left is None else chunk[:left]
            await response.write(part)
            left = left - len(part) if left is not None else None
            if left == 0:
                break
    except ConnectionResetError:
        pass
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    return response


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise BadRequest(f"{name} must be a number that is not negative")
    return int(text)


def _since(query: Mapping[str, str], clock: WallClock) -> datetime | None:
    seconds, moment = _number(query, "sinceSeconds"), query.get("sinceTime", "")
    if seconds is not None and moment:
        raise BadRequest("at most one of sinceTime or sinceSeconds may be specified")
    if seconds is not None:
        return clock.now() - timedelta(seconds=seconds)
    if not moment:
        return None
    try:
        return parse_time(moment).astimezone(UTC)
    except ValueError:
        raise BadRequest(f"sinceTime {moment!r} is not a time") from None
