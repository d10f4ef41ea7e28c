"""Probe kind ``http``: a GET whose status is 200 to 399 is success.

A light client of its own: one fresh connection per request, no keep-alive, no proxies, certificates not verified, at
most 10 KiB of body read. A redirect to the same host is followed (10 times at most), one to another host is not: it is
success with a warning. Everything network-like is a failure; a body that breaks off is an error.
Source: kubernetes pkg/probe/http/{http,request}.go.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from probes.ports import NoSuchPort, port_number
from probes.protocol import Outcome, ProbeTarget, Sample
from probes.sockets import without_linger, words

BODY_LIMIT = 10 * 1024
HEAD_LIMIT = 16 * 1024
MAX_REDIRECTS = 10
USER_AGENT = "kube-probe/1.32"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class BodyBroken(Exception):
    """The answer's body ended before its promised length."""


class NotHttp(Exception):
    """What came back is no HTTP answer."""


@dataclass(frozen=True)
class Url:
    tls: bool
    host: str
    port: int
    path: str  # with its query

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


@dataclass(frozen=True)
class Answer:
    status: int
    location: str = ""


class HttpProbe:
    """Fields: ``path``, ``port``, ``host``, ``scheme``, ``httpHeaders`` ([{name, value}]); ``status`` (steady states
    only): the one status that is success."""

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            url = _url(fields, target)
        except NoSuchPort as error:
            return Sample(Outcome.ERROR, str(error))
        headers = [(str(item["name"]), str(item.get("value") or "")) for item in fields.get("httpHeaders") or ()]
        wanted = fields.get("status")
        try:
            async with asyncio.timeout(timeout_s):
                outcome, message = await _follow(url, headers, int(wanted) if wanted else None)
        except TimeoutError:
            outcome, message = Outcome.FAILURE, f"Get {_shown(url)}: context deadline exceeded"
        except BodyBroken as error:
            outcome, message = Outcome.ERROR, str(error)
        except NotHttp as error:
            outcome, message = Outcome.FAILURE, f"Get {_shown(url)}: {error}"
        except (OSError, EOFError) as error:
            outcome, message = Outcome.FAILURE, f"Get {_shown(url)}: {words(error, url.host, url.port)}"
        return Sample(outcome, message, loop.time() - begun)


async def _follow(url: Url, headers: list[tuple[str, str]], wanted: int | None) -> tuple[Outcome, str]:
    first = url
    for _ in range(MAX_REDIRECTS + 1):
        answer = await get(url, headers)
        if wanted is not None:
            good = answer.status == wanted
            return (Outcome.SUCCESS, "") if good else (Outcome.FAILURE, f"HTTP status {answer.status}, wanted {wanted}")
        if answer.status not in _REDIRECTS or not answer.location:
            if 200 <= answer.status < 400:
                return Outcome.SUCCESS, ""
            return Outcome.FAILURE, f"HTTP probe failed with statuscode: {answer.status}"
        following = redirected(url, answer.location)
        if following is None or following.host != first.host:
            return Outcome.WARNING, "Probe terminated redirects, Response body not shown"
        url = following
    return Outcome.FAILURE, f"Get {_shown(first)}: stopped after {MAX_REDIRECTS} redirects"


async def get(url: Url, headers: Iterable[tuple[str, str]]) -> Answer:
    """One GET, its body read up to the limit.

    Raises: OSError, NotHttp, BodyBroken.
    """
    loop = asyncio.get_running_loop()
    exchange = Exchange(request_bytes(url, headers), loop.create_future())
    transport, _ = await loop.create_connection(
        lambda: exchange, url.host, url.port, ssl=_unverified() if url.tls else None,
        server_hostname=url.host if url.tls else None,
    )
    try:
        return await exchange.answer
    finally:
        transport.abort()


class Exchange(asyncio.Protocol):
    """One request and its answer on one connection: a stream reader's work without its cost, as an agent makes tens of
    probes a second."""

    def __init__(self, request: bytes, answer: asyncio.Future[Answer]) -> None:
        self._request, self.answer = request, answer
        self._received = bytearray()
        self._head: _Head | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        without_linger(transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        self._received += data
        try:
            self._look()
        except NotHttp as error:
            self.answer.set_exception(error)

    def _look(self) -> None:
        while self._head is None or self._head.informational:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                if len(self._received) > HEAD_LIMIT:
                    raise NotHttp("server sent too many header bytes")
                return
            self._head = _Head.of(bytes(self._received[:end]))
            del self._received[:end + 4]
        if self._head.body_complete(self._received):
            self.answer.set_result(self._head.answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer.done():
            return
        if self._head is None or self._head.informational:
            self.answer.set_exception(error or NotHttp("unexpected EOF" if self._received else "EOF"))
        elif self._head.needs_more:
            self.answer.set_exception(BodyBroken("failed to read the body: unexpected EOF"))
        else:
            self.answer.set_result(self._head.answer)


@dataclass(frozen=True)
class _Head:
    status: int
    length: int | None  # of the body; None: until the connection ends
    chunked: bool
    location: str

    @staticmethod
    def of(head: bytes) -> _Head:
        """Raises: NotHttp."""
        lines = head.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines[1:]:
            name, found, value = line.partition(":")
            if found:
                fields.setdefault(name.strip().lower(), value.strip())
        status, length = _status(lines[0]), fields.get("content-length", "")
        chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        none = status in (204, 304)
        return _Head(status, 0 if none else int(length) if length.isdecimal() and not chunked else None,
                     chunked and not none, fields.get("location", ""))

    @property
    def informational(self) -> bool:
        return 100 <= self.status < 200 and self.status != 101

    @property
    def answer(self) -> Answer:
        return Answer(self.status, self.location)

    @property
    def needs_more(self) -> bool:
        """Whether an end of the connection before ``body_complete`` cuts something off."""
        return self.length is not None or self.chunked

    def body_complete(self, body: bytearray) -> bool:
        if len(body) >= BODY_LIMIT:
            return True
        if self.length is not None:
            return len(body) >= self.length
        return self.chunked and body.endswith(b"0\r\n\r\n")


def request_bytes(url: Url, headers: Iterable[tuple[str, str]]) -> bytes:
    """The request's head: order and repeats of headers kept; ``Host`` sets the host; an empty ``Accept`` or
    ``User-Agent`` removes the default."""
    host, lines = url.host_header, []
    headers = list(headers)
    own = {name.lower() for name, _ in headers}
    if "user-agent" not in own:
        lines.append(f"User-Agent: {USER_AGENT}")
    if "accept" not in own:
        lines.append("Accept: */*")
    for name, value in headers:
        if name.lower() == "host":
            host = value
        elif value or name.lower() not in ("accept", "user-agent"):
            lines.append(f"{name}: {value}")
    head = [f"GET {url.path} HTTP/1.1", f"Host: {host}", *lines, "Connection: close"]
    return ("\r\n".join(_one_line(line) for line in head) + "\r\n\r\n").encode("latin-1", "replace")


def redirected(url: Url, location: str) -> Url | None:
    """Where ``location`` leads from ``url``; None when it is no http(s) address."""
    scheme = "https" if url.tls else "http"
    parts = urlsplit(urljoin(f"{scheme}://{url.host_header}{url.path}", location))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    tls = parts.scheme == "https"
    try:
        port = parts.port or (443 if tls else 80)
    except ValueError:
        return None
    return Url(tls, parts.hostname, port, _path(parts.path, parts.query))


def _status(line: str) -> int:
    parts = line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdecimal():
        raise NotHttp("malformed HTTP response")
    return int(parts[1])


def _url(fields: Mapping[str, Any], target: ProbeTarget) -> Url:
    port = port_number(fields.get("port", 80), target.ports)
    tls = str(fields.get("scheme") or "HTTP").upper() == "HTTPS"
    parts = urlsplit(str(fields.get("path") or "/"))
    return Url(tls, str(fields.get("host") or target.address), port, _path(parts.path, parts.query))


def hook_url(fields: Mapping[str, Any], address: str, ports: Mapping[str, int]) -> Url:
    """The address of a lifecycle hook's request. Raises: NoSuchPort."""
    return _url(fields, ProbeTarget(address, ports))


def _path(path: str, query: str) -> str:
    whole = "/" + path.lstrip("/") if not path.startswith("/") else path
    return quote(whole, safe="/%:@!$&'()*+,;=-._~") + (f"?{quote(query, safe='/%:@!$&()*+,;=-._~?')}" if query else "")


def _one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")


def _shown(url: Url) -> str:
    return f'"{"https" if url.tls else "http"}://{url.host_header}{url.path}"'


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
