"""Asks a Prometheus that the user named for the value of one expression, now.

Source: prometheus.io HTTP API, GET /api/v1/query. Decides nothing about what is asked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from testbed.controlplane.usage import QueryFailed, Sample

DEADLINE_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024


async def query(address: str, promql: str) -> Sequence[Sample]:
    """The instant vector that the expression has now; values that are no numbers are left out.

    Raises: QueryFailed.
    """
    import aiohttp

    if not address.startswith(("http://", "https://")):
        raise QueryFailed(f"{address!r} is no address of a Prometheus: http://HOST:PORT")
    try:
        async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as session:
            url = f"{address.rstrip('/')}/api/v1/query"
            async with session.get(url, params={"query": promql}, allow_redirects=False) as answer:
                content = await _limited(answer)
                return _samples(address, answer.status, content)
    except TimeoutError:
        raise QueryFailed(f"{address} did not answer within {DEADLINE_S:.0f} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise QueryFailed(f"{address} cannot be asked: {error}") from error


async def _limited(answer: Any) -> bytes:
    content: bytes = await answer.content.read(MAX_ANSWER_BYTES)
    while more := await answer.content.read(MAX_ANSWER_BYTES):
        content += more
        if len(content) > MAX_ANSWER_BYTES:
            raise QueryFailed(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return content


def _samples(address: str, status: int, content: bytes) -> Sequence[Sample]:
    import json

    try:
        body = json.loads(content)
        if body["status"] != "success":
            raise QueryFailed(f"{address} refused: {body.get('error', status)}")
        found = [(dict(item["metric"]), str(item["value"][1])) for item in body["data"]["result"]]
        return [(labels, Decimal(text)) for labels, text in found if math.isfinite(float(text))]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError):
        raise QueryFailed(f"{address} answered {status}, which is no answer of a Prometheus") from None
