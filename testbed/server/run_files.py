"""Hands out the files of a run's folder: plain files that lie in it, and nothing that a link or a name leads to.

A report is a page with scripts. Whatever they are, they must not act for the live page, which has the same origin: so
every HTML file is shut into an origin of its own (``sandbox``), without a way to the network.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from testbed.server.page import HEADERS
from testbed.server.run_folders import is_name

CHUNK_BYTES = 256 * 1024
SHUT_IN = ("sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads; default-src 'none'; "
           "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:")
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_TYPES = {".html": _HTML, ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
          ".gz": "application/gzip"}


def open_inside(root: Path, parts: Sequence[str]) -> int | None:
    """A descriptor of the plain file ``root/part/part/...``; None when there is none. No link is followed."""
    if not parts or not all(is_name(part) for part in parts):
        return None
    held = -1
    try:
        held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for index, part in enumerate(parts):
            kind = os.O_DIRECTORY if index + 1 < len(parts) else os.O_NONBLOCK  # a pipe must not make us wait
            found = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=held)
            os.close(held)
            held = found
        if stat.S_ISREG(os.fstat(held).st_mode):
            return held
    except OSError:
        pass
    if held >= 0:
        os.close(held)
    return None


def is_there(root: Path, parts: Sequence[str]) -> bool:
    """Whether ``open_inside`` would open it."""
    found = open_inside(root, parts)
    if found is not None:
        os.close(found)
    return found is not None


def headers_of(name: str) -> dict[str, str]:
    kind = _TYPES.get(Path(name).suffix, _TEXT)
    policy = SHUT_IN if kind == _HTML else "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    return {**HEADERS, "Content-Type": kind, "Content-Security-Policy": policy}


async def send(request: web.BaseRequest, descriptor: int, name: str) -> web.StreamResponse:
    """The file, as long as it was when it was opened; closes it."""
    with os.fdopen(descriptor, "rb") as file:
        left = os.fstat(descriptor).st_size
        response = web.StreamResponse(headers=headers_of(name))
        response.content_length = left
        await response.prepare(request)
        while left > 0 and request.method != "HEAD" and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            await response.write(chunk)
        await response.write_eof()
    return response
