"""What an answer so far means: whole and how it ended, or not whole yet. Pure; sockets are `exchange.py`'s."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from testbed.load.records import Outcome

_LIMIT = 1 << 20  # bytes of an answer that are read before it counts as malformed
_HEAD_LIMIT = 1 << 16
_BACKEND = re.compile(rb'"pod"\s*:\s*"([^"\\]{1,200})"')
_BACKEND_HEADER = re.compile(rb"\r\nx-(?:pod|backend|served-by)(?:-name)?:[ \t]*([^\r\n,]{1,200})", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Judged:
    """How a request ended. ``reusable``: its connection can carry another one."""

    outcome: Outcome
    status: int = 0
    backend: str = ""
    reusable: bool = False


Judge = Callable[[bytearray, bool], Judged | None]  # the answer so far, whether it has ended; None: not whole yet


def judge_http(answer: bytearray, ended: bool) -> Judged | None:
    """An HTTP/1.1 answer with its body."""
    return _judge_http(answer, ended=ended, bodiless=False)


def judge_http_head(answer: bytearray, ended: bool) -> Judged | None:
    """The answer to HEAD, which has no body whatever its headers say."""
    return _judge_http(answer, ended=ended, bodiless=True)


def _judge_http(answer: bytearray, *, ended: bool, bodiless: bool) -> Judged | None:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return _not_whole(len(answer), _HEAD_LIMIT, ended=ended)
    if not answer.startswith(b"HTTP/1.") or not answer[9:12].isdigit():
        return Judged(Outcome.MALFORMED)
    header = bytes(answer[: head + 2])
    if not bodiless and not _whole(answer, header, len(answer) - head - 4, ended=ended):
        return _not_whole(len(answer), _LIMIT, ended=ended)
    found = _BACKEND_HEADER.search(header) or _BACKEND.search(answer, head)
    backend = found.group(1).decode("ascii", "replace").strip() if found else ""
    return Judged(Outcome.OK, int(answer[9:12]), backend.replace(",", "_"), not ended and not _CLOSE.search(header))


def _not_whole(size: int, limit: int, *, ended: bool) -> Judged | None:
    if ended:
        return Judged(Outcome.CLOSED)
    return Judged(Outcome.MALFORMED) if size > limit else None


def _whole(answer: bytearray, header: bytes, body: int, *, ended: bool) -> bool:
    length = _LENGTH.search(header)
    if length:
        return body >= int(length.group(1))
    if _CHUNKED.search(header):
        return answer.endswith(b"\r\n0\r\n\r\n")
    return ended or header[9:12] in (b"204", b"304")


def judge_tcp(expect: bytes) -> Judge:
    """Right as soon as ``expect`` has been received; with nothing to expect, as soon as there is a connection."""

    def judge(answer: bytearray, ended: bool) -> Judged | None:
        if expect in answer:
            return Judged(Outcome.OK)
        return _not_whole(len(answer), _HEAD_LIMIT, ended=ended)

    return judge
