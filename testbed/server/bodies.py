"""Reads the body of a request, no more of it and no longer than is allowed. What it means, the caller finds out."""

from __future__ import annotations

import asyncio

from aiohttp import web

from testbed.errors import ApiError, BadRequest

DEADLINE_S = 10.0


class PayloadTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


async def read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    """Raises: BadRequest, PayloadTooLarge."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise BadRequest("compressed bodies are not read")
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    content = bytearray()
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise BadRequest(f"the body did not arrive within {DEADLINE_S:.0f} s") from None
    return bytes(content)


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"Request entity too large: limit is {max_bytes}")
