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
from probes.sockets import connect, drop

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
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            outcome, message = Outcome.FAILURE, f"Get {_shown(url)}: {reason}"
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
    reader, writer = await connect(url.host, url.port, tls=_unverified() if url.tls else None)
    try:
        writer.write(request_bytes(url, headers))
        return await _read_answer(reader)
    finally:
        drop(writer)


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


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = _status(lines[0])
            if status >= 200 or status == 101:
                break
    except asyncio.IncompleteReadError as error:
        raise NotHttp("EOF" if not error.partial else "unexpected EOF") from None
    except asyncio.LimitOverrunError:
        raise NotHttp("server sent too many header bytes") from None
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip().lower(), value.strip())
    await _read_body(reader, status, fields)
    return Answer(status, fields.get("location", ""))


async def _read_body(reader: asyncio.StreamReader, status: int, fields: Mapping[str, str]) -> None:
    if status in (204, 304):
        return
    length = fields.get("content-length", "")
    chunked = "chunked" in fields.get("transfer-encoding", "").lower()
    wanted = min(int(length), BODY_LIMIT) if length.isdecimal() and not chunked else BODY_LIMIT
    got = ended = 0
    tail = b""
    while got < wanted and not ended:
        part = await reader.read(wanted - got)
        ended = not part
        got += len(part)
        tail = (tail + part)[-5:]
        if chunked and tail == b"0\r\n\r\n":
            return
    if got < wanted and (chunked or length.isdecimal()):
        raise BodyBroken("failed to read the body: unexpected EOF")


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
