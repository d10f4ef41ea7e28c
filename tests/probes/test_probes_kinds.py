"""Probe kinds against real sockets on 127.0.0.1 (kubernetes: pkg/probe/{http,tcp,grpc,exec}/*_test.go)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from probes.exec import ExecProbe
from probes.grpc import GrpcProbe, frame
from probes.http import HttpProbe, Url, redirected, request_bytes
from probes.protocol import Outcome, ProbeTarget, Sample
from probes.registry import kind_names, probe_kind
from probes.tcp import TcpProbe
from testbed.errors import HostError, InvalidInput
from testbed.runtime.containers import ExecResult

Answer = Callable[[bytes], bytes | None]


@asynccontextmanager
async def server(answer: Answer, *, hold: bool = False) -> AsyncIterator[ProbeTarget]:
    """Answers each request's head with what ``answer`` gives; ``hold`` keeps the connection open after it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            reply = answer(head)
            if reply is None:
                await asyncio.sleep(5)
            else:
                writer.write(reply)
                await writer.drain()
                if hold:
                    await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield ProbeTarget("127.0.0.1", {"web": port})
    finally:
        listening.close()


def reply(status: str, *lines: str, body: bytes = b"ok") -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n\r\n" + body


async def probe(target: ProbeTarget, timeout_s: float = 1.0, **fields: object) -> Sample:
    return await HttpProbe().sample({"port": "web", **fields}, target, timeout_s)


@pytest.mark.parametrize(("status", "outcome"), [
    ("200 OK", Outcome.SUCCESS), ("204 No Content", Outcome.SUCCESS), ("399 Odd", Outcome.SUCCESS),
    ("404 Not Found", Outcome.FAILURE), ("500 Oops", Outcome.FAILURE), ("199 Odd", Outcome.FAILURE),
])
async def test_http_status_decides(status: str, outcome: Outcome) -> None:
    async with server(lambda head: reply(status, body=b"" if status.startswith("204") else b"secret")) as target:
        sample = await probe(target, timeout_s=0.5)
    assert sample.outcome is outcome
    assert "secret" not in sample.message
    if outcome is Outcome.FAILURE and not status.startswith("199"):
        assert sample.message == f"HTTP probe failed with statuscode: {status[:3]}"


async def test_http_failures_of_the_network_are_failures() -> None:
    async with server(lambda head: None) as target:
        slow = await probe(target, timeout_s=0.1)
        port = target.ports["web"]
    assert slow.outcome is Outcome.FAILURE
    assert slow.duration_s < 1
    refused = await HttpProbe().sample({"port": port}, ProbeTarget("127.0.0.1"), 1.0)
    assert refused.outcome is Outcome.FAILURE
    assert refused.message == f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    refused = await TcpProbe().sample({"port": port}, ProbeTarget("127.0.0.1"), 1.0)
    assert refused.message == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    async with server(lambda head: b"garbage\r\n\r\n") as target:
        assert (await probe(target)).outcome is Outcome.FAILURE
    async with server(lambda head: b"") as target:
        assert (await probe(target)).outcome is Outcome.FAILURE


async def test_http_errors_are_not_failures() -> None:
    unknown = await HttpProbe().sample({"port": "nope"}, ProbeTarget("127.0.0.1"), 1.0)
    assert unknown.outcome is Outcome.ERROR
    async with server(lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as target:
        assert (await probe(target)).outcome is Outcome.ERROR


async def test_row9_of_security_an_endless_body_is_read_to_its_limit_only() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000
    async with server(lambda head: endless, hold=True) as target:
        assert (await probe(target)).outcome is Outcome.SUCCESS
    chunk = b"%x\r\n%s\r\n" % (20_000, b"y" * 20_000)
    head_of_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with server(lambda head: head_of_chunks + chunk, hold=True) as target:
        assert (await probe(target)).outcome is Outcome.SUCCESS
    async with server(lambda head: b"HTTP/1.1 200 OK\r\nX: " + b"z" * 100_000) as target:
        assert (await probe(target)).outcome is Outcome.FAILURE


async def test_http_redirects_stay_on_their_host() -> None:
    def answer(head: bytes) -> bytes:
        path = head.split(b" ")[1]
        if path == b"/start":
            return reply("302 Found", "Location: /end?x=1")
        return reply("200 OK") if path == b"/end?x=1" else reply("404 Not Found")

    async with server(answer) as target:
        assert (await probe(target, path="/start")).outcome is Outcome.SUCCESS
    async with server(lambda head: reply("302 Found", "Location: http://169.254.169.254/latest")) as target:
        assert (await probe(target)).outcome is Outcome.WARNING
    async with server(lambda head: reply("301 Moved", "Location: /again")) as target:
        endless = await probe(target)
    assert endless.outcome is Outcome.FAILURE
    assert "stopped after 10 redirects" in endless.message


async def test_row27_many_probes_leave_no_sockets_behind() -> None:
    async with server(lambda head: reply("200 OK")) as target:
        for _ in range(300):
            assert (await TcpProbe().sample({"port": "web"}, target, 1.0)).outcome is Outcome.SUCCESS
        table = Path("/proc/net/tcp").read_text()  # noqa: ASYNC240
        port = f":{target.ports['web']:04X}"
        waiting = [line for line in table.splitlines()[1:] if port in line and line.split()[3] == "06"]
        assert len(waiting) < 10


def test_http_request_headers() -> None:
    url = Url(False, "10.0.0.2", 8080, "/x?y=1")
    plain = request_bytes(url, []).decode()
    assert plain.startswith("GET /x?y=1 HTTP/1.1\r\nHost: 10.0.0.2:8080\r\n")
    assert "User-Agent: kube-probe/" in plain
    assert "Accept: */*" in plain
    own = request_bytes(url, [("Host", "web.example"), ("Accept", ""), ("X", "1"), ("X", "2"),
                              ("Evil", "a\r\nInjected: b")]).decode()
    assert "Host: web.example" in own
    assert "Accept" not in own
    assert own.index("X: 1") < own.index("X: 2")
    assert "\r\nInjected" not in own


def test_where_redirects_lead() -> None:
    url = Url(False, "10.0.0.2", 8080, "/a/b")
    assert redirected(url, "c") == Url(False, "10.0.0.2", 8080, "/a/c")
    assert redirected(url, "https://10.0.0.2/z") == Url(True, "10.0.0.2", 443, "/z")
    assert redirected(url, "ftp://10.0.0.2/") is None


async def test_tcp() -> None:
    async with server(lambda head: None) as target:
        assert (await TcpProbe().sample({"port": "web"}, target, 1.0)).outcome is Outcome.SUCCESS
        port = target.ports["web"]
    assert (await TcpProbe().sample({"port": port}, ProbeTarget("127.0.0.1"), 1.0)).outcome is Outcome.FAILURE
    assert (await TcpProbe().sample({"port": "none"}, ProbeTarget("127.0.0.1"), 1.0)).outcome is Outcome.ERROR


async def run_exec(run: Callable[[tuple[str, ...], float], Awaitable[ExecResult]]) -> Sample:
    return await ExecProbe().sample({"command": ["check"]}, ProbeTarget(run=run), 0.5)


async def test_exec_outcomes() -> None:
    def exits(code: int) -> Callable[[tuple[str, ...], float], Awaitable[ExecResult]]:
        async def run(argv: tuple[str, ...], timeout_s: float) -> ExecResult:
            return ExecResult(code, b"a secret")

        return run

    def raises(error: Exception) -> Callable[[tuple[str, ...], float], Awaitable[ExecResult]]:
        async def run(argv: tuple[str, ...], timeout_s: float) -> ExecResult:
            raise error

        return run

    assert (await run_exec(exits(0))).outcome is Outcome.SUCCESS
    failed = await run_exec(exits(3))
    assert failed.outcome is Outcome.FAILURE
    assert "secret" not in failed.message
    assert (await run_exec(raises(TimeoutError()))).outcome is Outcome.FAILURE
    assert (await run_exec(raises(HostError("no such program")))).outcome is Outcome.ERROR


@asynccontextmanager
async def grpc_server(frames: Callable[[], bytes], seen: list[bytes]) -> AsyncIterator[ProbeTarget]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(24)
            writer.write(frame(0x4, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                body = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == 0x0:
                    seen.append(body)
                    writer.write(frames())
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield ProbeTarget("127.0.0.1", {"g": listening.sockets[0].getsockname()[1]})
    finally:
        listening.close()


def health(status: int) -> bytes:
    message = bytes((0x08, status)) if status else b""
    return frame(0x1, 0x4, 1, b"\x88") + frame(0x0, 0, 1, b"\x00" + struct.pack(">I", len(message)) + message) + frame(
        0x1, 0x5, 1, b"\x40\x0bgrpc-status\x010")


@pytest.mark.parametrize(("frames", "outcome"), [
    (lambda: health(1), Outcome.SUCCESS), (lambda: health(2), Outcome.FAILURE), (lambda: health(0), Outcome.FAILURE),
    (lambda: frame(0x1, 0x5, 1, b"\x88\x40\x0bgrpc-status\x0212"), Outcome.FAILURE),
    (lambda: frame(0x3, 0, 1, b"\x00\x00\x00\x08"), Outcome.FAILURE),
    (lambda: frame(0x7, 0, 0, b"\x00" * 8), Outcome.FAILURE),
    (lambda: b"", Outcome.FAILURE),
])
async def test_grpc(frames: Callable[[], bytes], outcome: Outcome) -> None:
    seen: list[bytes] = []
    async with grpc_server(frames, seen) as target:
        sample = await GrpcProbe().sample({"port": "g", "service": "web"}, target, 0.3)
    assert sample.outcome is outcome
    assert seen == [b"\x00\x00\x00\x00\x05\x0a\x03web"]


def test_kinds_are_found_by_name() -> None:
    assert {"http", "tcp", "exec", "grpc"} <= set(kind_names())
    assert isinstance(probe_kind("http"), HttpProbe)
    with pytest.raises(InvalidInput):
        probe_kind("smell")
