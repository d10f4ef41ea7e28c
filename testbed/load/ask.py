"""What one request of a pulse is: an HTTP request, or a TCP connection with or without words. Pure.

``{index}`` and ``{stream}`` stand for the arrival's number in its stream and for the stream's name wherever they are
written (path, header values, body, words): each request can be told from every other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from testbed.errors import UsageError
from testbed.load.answers import Judge, judge_http, judge_http_head, judge_tcp
from testbed.load.records import FRESH

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding")  # what the pulse itself says
MOST_BYTES = 16_384  # of a request: it must fit into an empty socket buffer
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110: field-name
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class Ask:
    """One kind of request.

    Attributes:
        url: ``http://address:port/path`` or ``tcp://address:port``.
        host: the Host header, where it is not the address.
        send, expect: of TCP: what is sent, and what the answer must contain; empty: a connection is enough.
    """

    url: str
    host: str = ""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    send: str = ""
    expect: str = ""

    @property
    def tcp(self) -> bool:
        return self.url.startswith("tcp://")

    @property
    def judge(self) -> Judge:
        if self.tcp:
            return judge_tcp(self.expect.encode())
        return judge_http_head if self.method == "HEAD" else judge_http

    def address(self) -> tuple[str, int]:
        """Raises: UsageError when the URL is none, or something in the request cannot be sent."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{self.url!r} is no address: {error}") from error
        if parts.scheme not in ("http", "tcp") or not host:
            raise UsageError(f"{self.url!r} is not an http:// or tcp:// address",
                             hint="for example http://10.1.128.5:80/")
        if self.tcp and not port:
            raise UsageError(f"{self.url!r} has no port")
        if problem := self._problem():
            raise UsageError(problem)
        return host, port or 80

    def _problem(self) -> str:
        if any(character in self.url + self.host for character in "\r\n \0"):
            return f"{self.url!r} has characters that an address cannot have"
        if self.method not in METHODS:
            return f"{self.method!r} is not a method ({', '.join(METHODS)})"
        if problem := header_problem(self.headers):
            return problem
        size = len(self.render(2**31, FRESH))
        return f"a request of {size} bytes is too long; at most {MOST_BYTES}" if size > MOST_BYTES else ""

    @property
    def varies(self) -> bool:
        """Whether each request differs."""
        return any(mark in text for mark in ("{index}", "{stream}")
                   for text in (self.url, self.body, self.send, *(value for _, value in self.headers)))

    def render(self, index: int, stream: str) -> bytes:
        """The bytes of arrival ``index`` of ``stream``."""
        if self.tcp:
            return _filled(self.send, index, stream).encode()
        parts = urlsplit(self.url)
        path = _filled((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), index, stream)
        body = _filled(self.body, index, stream).encode()
        given = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {self.host or parts.netloc.rpartition('@')[2]}"]
        lines += [line for line in ("User-Agent: testbed-pulse", "Accept: */*")
                  if line.partition(":")[0].lower() not in given]
        lines += [f"{name}: {_filled(value, index, stream)}" for name, value in self.headers]
        if body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        if stream == FRESH:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def header_problem(headers: Iterable[tuple[str, str]]) -> str:
    """What is wrong with these headers; "" when nothing is."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            return f"{name!r} is not the name of a header"
        if name.lower() in OWN_HEADERS:
            return f"the header {name} is the pulse's own" + ("; give host" if name.lower() == "host" else "")
        if _CONTROL.search(value):
            return f"the header {name} has a line break or another control character in it"
    return ""


def parse_header(text: str) -> tuple[str, str]:
    """``Name: value``. Raises: UsageError."""
    name, separator, value = text.partition(":")
    if not separator:
        raise UsageError(f"{text!r} is not a header", hint="written as 'Name: value'")
    return name.strip(), value.strip()


def _filled(text: str, index: int, stream: str) -> str:
    return text.replace("{index}", str(index)).replace("{stream}", stream)
