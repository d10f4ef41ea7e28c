"""The proxy of an HTTPChaos between a client and a server on loopback: what a rule does not mean passes with every
byte, and what it means becomes what it says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import nettools

http_message = nettools.load("http_message")
http_proxy = nettools.load("http_proxy")
http_rule = nettools.load("http_rule")

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NEVER = {"target": "Request", "path": "/never", "abort": True}
WITHIN_S = 10.0


def listening() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)
    return made


@contextlib.asynccontextmanager
async def proxied(rule: dict[str, Any], target: int) -> AsyncIterator[tuple[Any, int]]:
    """A proxy before a port, and its own port."""
    async def dial(_: socket.socket) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", target))
        except BaseException:
            sock.close()
            raise
        return sock

    proxy = http_proxy.Proxy(http_rule.compiled(rule), dial)
    with listening() as listener:
        serving = asyncio.create_task(proxy.serve(listener))
        try:
            yield proxy, listener.getsockname()[1]
        finally:
            await proxy.end()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def scripted(
    rule: dict[str, Any], sent: bytes, answer: bytes, *, wait_for: int | None = None, end: bool = False,
) -> tuple[bytes, bytes, Any]:
    """What the server got of ``sent``, what the client got of ``answer``, and the proxy. The server answers when it has
    as many bytes as the client sends, or ``wait_for``; then it closes. ``end``: the client shuts down its side."""
    got = bytearray()
    wanted = len(sent) if wait_for is None else wait_for

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(got) < wanted and (data := await reader.read(1 << 16)):
            got.extend(data)
        writer.write(answer)
        await writer.drain()

    async with serving(handler) as port, proxied(rule, port) as (proxy, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(sent)
        if end:
            writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            received = await reader.read(-1)
        writer.close()
    return bytes(got), received, proxy


GET = b"GET /a?b=c HTTP/1.1\r\nhOsT:  x:80 \r\nX-Odd:\t v\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc"
CHUNKED = (b"HTTP/1.1 200 Fine indeed\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"3;ext=\"1\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: yes\r\n\r\n")
PASSED = {
    "length": (GET, LENGTH),
    "chunked, with extensions and trailers": (GET, CHUNKED),
    "until the end": (GET, b"HTTP/1.0 200 OK\r\n\r\n" + bytes(range(256)) * 300),
    "no content": (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified, with a length": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    "head": (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
    "early hints": (GET, b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + LENGTH),
    "a body with a length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", LENGTH),
    "a chunked body": (b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
                       b"5\r\nhello\r\n0\r\n\r\n", LENGTH),
    "an absolute target": (b"GET http://y/z HTTP/1.1\r\nHost: y\r\n\r\n", LENGTH),
    "old": (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 404 No\r\nContent-Length: 0\r\n\r\n"),
    "a reason of its own, with other letters": (GET, b"HTTP/1.1 299 \xc3\xa4h\r\nContent-Length: 0\r\n\r\n"),
    "no reason": (GET, b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    "an upgrade": (b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                   b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                   b"\x81\x05hello"),
    "connect": (b"CONNECT y:443 HTTP/1.1\r\nHost: y\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(200)), b"\x16\x03\x03" + bytes(50)),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30), bytes(20)),
    "no HTTP at all": (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", LENGTH),
    "an answer that is no HTTP": (GET, b"hello there\r\n"),
    "a broken chunk": (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nrest"),
    "a cut answer": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
    "no answer": (GET, b""),
    "a long head": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"y" * 60_000 + b"\r\n\r\n", LENGTH),
    "a head that is too long": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"y" * 400_000 + b"\r\n\r\n", LENGTH),
}


@pytest.mark.parametrize("name", PASSED)
async def test_what_is_not_meant_passes_with_every_byte(name: str) -> None:
    sent, answer = PASSED[name]
    assert (await scripted(NEVER, sent, answer))[:2] == (sent, answer)


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=200))
@settings(max_examples=40)
def test_whatever_is_said_passes(sent: bytes, answer: bytes) -> None:
    assert asyncio.run(scripted(NEVER, sent, answer, end=True))[:2] == (sent, answer)


async def test_a_server_may_speak_first() -> None:
    got, received, _ = await scripted(NEVER, b"", b"SSH-2.0-x\r\n", wait_for=0)
    assert (got, received) == (b"", b"SSH-2.0-x\r\n")


async def test_several_requests_go_over_one_connection_even_when_sent_at_once() -> None:
    sent = GET + b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" + GET
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for size in (0, 2, 0):
            requests.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(size))
            writer.write(CHUNKED)

    async with serving(handler) as port, proxied(NEVER, port) as (proxy, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(sent)
        assert await reader.readexactly(3 * len(CHUNKED)) == 3 * CHUNKED
        assert await reader.read() == b""  # the server has closed
        writer.close()
    assert b"".join(requests) == sent
    assert (proxy.connections, proxy.requests, proxy.applied) == (1, 3, 0)


async def test_a_client_that_expects_to_be_told_to_continue_is_told_by_the_server() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(head)) == head
        writer.write(go_on)
        assert await reader.readexactly(5) == b"hello"
        writer.write(LENGTH)

    async with serving(handler) as port, proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(head)
        assert await reader.readexactly(len(go_on)) == go_on
        writer.write(b"hello")
        assert await reader.read() == LENGTH
        writer.close()


async def test_a_long_body_streams_both_ways_while_it_is_sent() -> None:
    block, count = bytes(range(256)) * 256, 128
    digest = hashlib.sha256(block * count).hexdigest()
    first_seen = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        found = hashlib.sha256()
        for _ in range(count):
            found.update(await reader.readexactly(len(block)))
            first_seen.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * count))
        for _ in range(count):
            writer.write(block)
            await writer.drain()
        assert found.hexdigest() == digest

    async with serving(handler) as port, proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(block) * count) + block)
        await first_seen.wait()  # although the rest has not been sent
        writer.write(block * (count - 1))
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(block) * count)
        writer.close()
    assert hashlib.sha256(body).hexdigest() == digest


async def test_small_parts_are_not_held_back_for_larger_ones() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as port:
        sock = socket.socket()  # without a protocol's number, as accepted ones are
        sock.connect(("127.0.0.1", port))
        transport, _ = await asyncio.get_running_loop().create_connection(http_message.Stream, sock=sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()


async def test_an_upgraded_connection_is_carried_both_ways() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data.upper())

    async with serving(handler) as port, proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for word in (b"ping", b"pong"):
            writer.write(word)
            assert await reader.readexactly(4) == word.upper()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_client_may_end_its_side_before_the_answer() -> None:
    seen_end = False

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen_end
        assert await reader.read() == GET  # to the end
        seen_end = True
        writer.write(LENGTH)

    async with serving(handler) as port, proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(GET)
        writer.write_eof()
        assert await reader.read() == LENGTH
        writer.close()
    assert seen_end


async def test_a_client_that_is_lost_is_lost_to_the_server_too() -> None:
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        ended.set()

    async with serving(handler) as port, proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        with socket.create_connection(("127.0.0.1", front)) as client:
            client.sendall(GET)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await ended.wait()


async def test_where_nothing_listens_the_connection_is_reset() -> None:
    with listening() as taken:
        port = taken.getsockname()[1]
    async with proxied(NEVER, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


# --- what rules do


async def test_an_aborted_request_never_comes_to_the_server() -> None:
    got, received, proxy = await scripted({"target": "Request", "abort": True, "path": "/a"}, GET, LENGTH)
    assert (got, received, proxy.applied) == (b"", b"", 1)


async def test_an_aborted_response_is_not_seen() -> None:
    got, received, _ = await scripted({"target": "Response", "abort": True, "code": 200}, GET, LENGTH)
    assert (got, received) == (GET, b"")


@pytest.mark.parametrize("target", ["Request", "Response"])
async def test_a_delay_is_waited_for_and_changes_no_byte(target: str) -> None:
    began = time.monotonic()
    got, received, _ = await scripted({"target": target, "delay_s": 0.3}, GET, CHUNKED)
    assert time.monotonic() - began >= 0.3
    assert (got, received) == (GET, CHUNKED)


POST = b'POST /old?a=1&b=2 HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: 13\r\n\r\n{"a":1,"b":2}'
CHANGED_REQUESTS: dict[str, tuple[dict[str, Any], bytes]] = {
    "path": ({"replace": {"path": "/new"}}, POST.replace(b"/old", b"/new")),
    "method": ({"replace": {"method": "PUT"}}, POST.replace(b"POST", b"PUT")),
    "queries": ({"replace": {"queries": {"a": "9", "c": "ü&"}}}, POST.replace(b"a=1&b=2", b"a=9&b=2&c=%C3%BC%26")),
    "headers": ({"replace": {"headers": {"x-one": "2"}}},
                b'POST /old?a=1&b=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nx-one: 2\r\n\r\n{"a":1,"b":2}'),
    "body": ({"replace": {"body": base64.b64encode(b"hi").decode()}},
             b"POST /old?a=1&b=2 HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nhi"),
    "added queries": ({"patch": {"queries": [["a", "1"], ["z", ""]]}}, POST.replace(b"b=2 ", b"b=2&a=1&z= ")),
    "added headers": ({"patch": {"headers": [["X-One", "2"], ["X-Two", "3"]]}},
                      POST.replace(b": 13\r\n", b": 13\r\nX-One: 2\r\nX-Two: 3\r\n")),
    "merged body": ({"patch": {"body": {"type": "JSON", "value": '{"b":null,"c":[1]}'}}},
                    b'POST /old?a=1&b=2 HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: 15\r\n\r\n{"a":1,"c":[1]}'),
}


@pytest.mark.parametrize("name", CHANGED_REQUESTS)
async def test_a_request_becomes_what_the_rule_says(name: str) -> None:
    change, wanted = CHANGED_REQUESTS[name]
    got, received, proxy = await scripted({"target": "Request", **change}, POST, LENGTH, wait_for=len(wanted))
    assert (got, received, proxy.applied) == (wanted, LENGTH, 1)


JSON = b'HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHANGED_RESPONSES: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "code": ({"replace": {"code": 503}}, CHUNKED, CHUNKED.replace(b"200 Fine indeed", b"503 Service Unavailable")),
    "a code without a name": ({"replace": {"code": 599}}, JSON, JSON.replace(b"200 OK", b"599 ")),
    "code without a body": ({"replace": {"code": 204}}, JSON, b"HTTP/1.1 204 No Content\r\nX-One: 1\r\n\r\n"),
    "code with a body": ({"replace": {"code": 200}}, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                         b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "body": ({"replace": {"body": base64.b64encode(b"\0hi").decode()}}, CHUNKED,
             b"HTTP/1.1 200 Fine indeed\r\nContent-Length: 3\r\n\r\n\0hi"),
    "headers": ({"replace": {"headers": {"X-one": "2"}}, "patch": {"headers": [["X-Two", "a"], ["X-Two", "b"]]}}, JSON,
                b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-one: 2\r\nX-Two: a\r\nX-Two: b\r\n\r\n{"a":1}'),
    "merged body": ({"patch": {"body": {"type": "JSON", "value": '{"b":{"c":2}}'}}}, JSON,
                    b'HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 19\r\n\r\n{"a":1,"b":{"c":2}}'),
    "replaced, then merged": ({"replace": {"body": base64.b64encode(b'{"x":1}').decode()},
                               "patch": {"body": {"type": "JSON", "value": '{"y":2}'}}}, CHUNKED,
                              b'HTTP/1.1 200 Fine indeed\r\nContent-Length: 13\r\n\r\n{"x":1,"y":2}'),
    "merged body that is no JSON": ({"patch": {"body": {"type": "JSON", "value": "{}"}}}, LENGTH, b""),
}


@pytest.mark.parametrize("name", CHANGED_RESPONSES)
async def test_a_response_becomes_what_the_rule_says(name: str) -> None:
    change, answer, wanted = CHANGED_RESPONSES[name]
    assert (await scripted({"target": "Response", **change}, GET, answer))[:2] == (GET, wanted)


async def test_a_response_to_head_gets_no_body() -> None:
    head = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    rule = {"target": "Response", "replace": {"code": 500, "body": base64.b64encode(b"hi").decode()}}
    assert (await scripted(rule, head, answer))[1] == answer.replace(b"200 OK", b"500 Internal Server Error")


async def test_a_body_that_is_replaced_is_asked_for_by_the_proxy_and_expected_of_nobody() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    wanted = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(wanted)) == wanted
        writer.write(LENGTH)

    rule = {"target": "Request", "replace": {"body": base64.b64encode(b"hi").decode()}}
    async with serving(handler) as port, proxied(rule, port) as (_, front), asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert await reader.read() == LENGTH
        writer.close()


async def test_a_get_that_becomes_head_has_an_answer_that_ends() -> None:
    wanted = b"HEAD /a?b=c HTTP/1.1\r\nhOsT: x:80\r\nX-Odd: v\r\n\r\n"
    rule = {"target": "Request", "replace": {"method": "HEAD"}}
    got, received, _ = await scripted(
        rule, GET, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", wait_for=len(wanted))
    assert (got, received) == (wanted, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_two_rules_on_one_port_add_up() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(JSON)

    first = {"target": "Response", "replace": {"code": 503}}
    second = {"target": "Response", "patch": {"headers": [["X-Two", "2"]]}}
    async with (serving(handler) as port, proxied(second, port) as (_, behind), proxied(first, behind) as (_, front),
                asyncio.timeout(WITHIN_S)):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"X-Two: 2\r\n" in head


async def test_at_its_end_a_delay_is_cut_short_an_exchange_finished_and_what_is_idle_closed() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(LENGTH)

    rule = {"target": "Request", "delay_s": 3600.0, "path": "/a"}
    async with serving(handler) as port, proxied(rule, port) as (proxy, front), asyncio.timeout(WITHIN_S):
        slow = await asyncio.open_connection("127.0.0.1", front)
        idle = await asyncio.open_connection("127.0.0.1", front)
        idle[1].write(GET.replace(b"/a", b"/b"))
        assert await idle[0].readexactly(len(LENGTH)) == LENGTH
        slow[1].write(GET)
        while not proxy.applied:  # noqa: ASYNC110  (a counter tells nobody)
            await asyncio.sleep(0.005)
        await proxy.end()
        assert await slow[0].read() == LENGTH
        assert await idle[0].read() == b""
        for _, writer in (slow, idle):
            writer.close()


@given(st.binary(max_size=80), st.binary(max_size=80))
@settings(max_examples=25)
def test_no_message_is_too_strange_for_a_rule(tail: bytes, answer: bytes) -> None:
    rule = {"target": "Response", "patch": {"body": {"type": "JSON", "value": '{"a":1}'}}, "replace": {"code": 404}}
    got, _, _ = asyncio.run(scripted(rule, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + tail,
                                     b"HTTP/1.1 200 OK\r\n" + answer, wait_for=27, end=True))
    assert got.startswith(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
