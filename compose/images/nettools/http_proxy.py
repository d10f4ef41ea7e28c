"""The proxy that an HTTPChaos rule is applied in: one object for each client's connection.

Decides nothing about what a rule means (http_rule.py). What a rule does not mean passes with every byte of it; what is
no HTTP/1 is carried through, and so is what a connection was upgraded to. The connection to the server is made at once,
so that a server may speak first, and a refusal is one.
"""

import asyncio
import contextlib
from typing import NamedTuple

import http_rule
from http_message import Gone, Message, NotHttp, Stream, request_parser, response_parser

MAX_BODY = 64 << 20  # of a body that is changed as a whole
LAST_S = 1.0  # what an exchange may take when the fault ends


class Asked(NamedTuple):
    """A request's first line and headers."""

    method: bytes
    target: bytes
    headers: list

    def changed(self, rule):
        return Asked(http_rule.new_method(rule, self.method), http_rule.new_target(rule, self.target),
                     http_rule.new_headers(rule, self.headers))


class Aborted(Exception):
    """The rule says so."""


class Proxy:
    """``dial``: makes the connection to the server of one that a client made: a coroutine from the client's socket to
    a connected socket. ``rule``: http_rule.compiled."""

    def __init__(self, rule, dial):
        self.rule, self._dial = rule, dial
        self.connections = self.requests = self.applied = 0
        self.ending = asyncio.Event()
        self._open = set()

    async def serve(self, listener):
        """Takes connections until cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(0.01)  # no more descriptors, or who connected is gone already
                continue
            task = asyncio.create_task(self._connection(sock))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def end(self):
        """Lets the exchanges that run come to their end, in a second, without delays; idle connections are closed."""
        self.ending.set()
        if self._open:
            await asyncio.wait(self._open, timeout=LAST_S)
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, sock):
        self.connections += 1
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        _, client = await loop.create_connection(Stream, sock=sock)
        server = Stream()
        try:
            upstream = await self._dial(sock)
            _, server = await loop.create_connection(Stream, sock=upstream)
        except OSError:
            client.reset()
            return
        connection = Connection(self, client, server)
        try:
            await connection.run()
        except (Gone, Aborted, http_rule.NotJson):
            pass
        finally:
            if server.broken:
                client.reset()
            client.close()
            if client.broken:
                server.reset()
            server.close()


class Connection:
    """A client's connection and the one to its server."""

    def __init__(self, proxy, client, server):
        self._proxy, self._rule = proxy, proxy.rule
        self._client, self._server = client, server

    async def run(self):
        """Raises: Gone, Aborted, http_rule.NotJson."""
        while await self._more():
            try:
                if not await self._exchange():
                    return
            except NotHttp:
                await self._carry()
                return

    async def _more(self):
        """Waits for a request. Whether there is to be another exchange."""
        await _first(self._client.something(), self._server.something(), self._proxy.ending.wait())
        if self._client.waiting:
            return True
        if self._server.waiting:  # a server that speaks first, or out of turn
            await self._carry()
        elif self._client.ended.is_set() and not self._client.lost.is_set() and not self._server.ended.is_set():
            self._server.finish()
            await self._carry()
        return False

    async def _exchange(self):
        """One request and its answer. Whether the connection lasts. Raises: Gone, NotHttp, Aborted, NotJson."""
        self._proxy.requests += 1
        message = Message(self._client, request_parser())
        request, raw = await message.head()
        asked = Asked(bytes(request.method), bytes(request.target), list(request.headers.raw_items()))
        sent = asked
        if http_rule.means_request(self._rule, *asked):
            await self._act()
            if http_rule.changes(self._rule):
                sent = asked.changed(self._rule)
        sending = asyncio.create_task(
            self._pass_request(raw, message) if sent is asked
            else self._change_request(request.http_version, asked, sent, message))
        answering = asyncio.create_task(self._answer(asked.method, sent))
        half_closing = asyncio.create_task(self._half_close(sending))
        try:
            await asyncio.wait([sending, answering], return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not isinstance(sending.exception(), Gone | None):
                await sending  # a server that is gone may have answered before
            lasts = await answering
            if lasts:
                await sending
            return lasts and not self._proxy.ending.is_set()
        finally:
            for task in (half_closing, answering, sending):
                task.cancel()
            await asyncio.gather(half_closing, answering, sending, return_exceptions=True)

    async def _half_close(self, sending):
        """A client that has ended (shutdown(2)) or is lost: the server sees the same."""
        await self._client.ended.wait()
        if self._client.lost.is_set():
            self._server.reset()
            return
        await asyncio.wait([sending])
        if not self._client.waiting:
            self._server.finish()
        await self._client.lost.wait()
        self._server.reset()

    async def _pass_request(self, raw, message):
        await self._server.write(raw)
        try:
            async for raw_part, _ in message.parts():
                await self._server.write(raw_part)
        except NotHttp:
            await _copy(self._client, self._server)
        finally:
            message.give_back()

    async def _change_request(self, version, asked, sent, message):
        first = b"%b %b HTTP/%b" % (sent.method, sent.target, version)
        if not http_rule.changes_body(self._rule):
            await self._server.write(_head(first, sent.headers))
            async for raw_part, _ in message.parts():
                await self._server.write(raw_part)
            return
        if (b"expect", b"100-continue") in {(name.lower(), value.lower()) for name, value in asked.headers}:
            await self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # the body is wanted here, by ourselves
        body = http_rule.new_body(self._rule, await _whole(message))
        headers = http_rule.new_headers(self._rule, asked.headers, len(body))
        await self._server.write(_head(first, headers) + body)

    async def _answer(self, asked_method, sent):
        """Passes the answer on; whether the connection lasts. Raises: Gone, NotHttp, Aborted, NotJson.

        Args: asked_method: the client's own, which says whether it waits for a body. sent: what the server got.
        """
        upgrade = any(name.lower() == b"upgrade" for name, _ in sent.headers)
        message = Message(self._server, response_parser(sent.method, upgrade))
        while True:
            response, raw = await message.head()
            code = response.status_code
            if code >= 200:
                break
            await self._client.write(raw)
            if code == 101:
                message.give_back()
                await self._carry()
                return False
        headers = list(response.headers.raw_items())
        change = asked_method != sent.method and b"HEAD" in (asked_method, sent.method)
        if http_rule.means_response(self._rule, *sent, code, headers):
            await self._act()
            change = change or http_rule.changes(self._rule)
        if sent.method == b"CONNECT" and code < 300:
            await self._client.write(raw)
            message.give_back()
            await self._carry()
            return False
        if change:
            await self._change_answer(asked_method, sent.method, response, headers, message)
        else:
            await self._client.write(raw)
            async for raw_part, _ in message.parts():
                await self._client.write(raw_part)
        return _lasts(sent.headers, response)

    async def _change_answer(self, asked_method, sent_method, response, headers, message):
        rule, old = self._rule, response.status_code
        code = http_rule.new_code(rule, old) if rule["target"] == "Response" else old
        first = b"HTTP/%b %d %b" % (response.http_version, code,
                                    bytes(response.reason) if code == old else http_rule.reason(code))
        had_body = sent_method != b"HEAD" and old not in http_rule.BODILESS
        has_body = asked_method != b"HEAD" and code not in http_rule.BODILESS
        applied = rule if rule["target"] == "Response" else http_rule.NOTHING
        if had_body == has_body and not http_rule.changes_body(applied):
            await self._client.write(_head(first, http_rule.new_headers(applied, headers)))
            async for raw_part, _ in message.parts():
                await self._client.write(raw_part)
            return
        whole = await _whole(message)
        if has_body:
            body = http_rule.new_body(applied, whole)
            size = len(body)
        else:
            body, size = b"", None if asked_method == b"HEAD" else -1
        await self._client.write(_head(first, http_rule.new_headers(applied, headers, size)) + body)

    async def _act(self):
        """Abort, then delay (chaos-tproxy: handler/http/action.rs). Raises: Aborted, Gone."""
        self._proxy.applied += 1
        if self._rule["abort"]:
            raise Aborted
        if self._rule["delay_s"]:
            await _first(asyncio.sleep(self._rule["delay_s"]), self._proxy.ending.wait(), self._client.lost.wait())
            if self._client.lost.is_set():
                raise Gone

    async def _carry(self):
        """All bytes both ways, to the end of both."""
        await asyncio.gather(_copy(self._client, self._server), _copy(self._server, self._client))


async def _copy(source, sink):
    with contextlib.suppress(Gone):
        while data := await source.read():
            await sink.write(data)
    if source.broken:
        sink.reset()
    else:
        sink.finish()


async def _first(*waits):
    """Returns when one of them has."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _whole(message):
    """The data of a body. Raises: Gone when it is too long to be held."""
    found = bytearray()
    async for _, data in message.parts():
        found += data
        if len(found) > MAX_BODY:
            raise Gone
    return bytes(found)


def _head(first, headers):
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers), b"", b""])


def _lasts(request_headers, response):
    """Whether both sides keep the connection (RFC 9112, 9.3)."""
    if response.http_version == b"1.0":
        return _says(response.headers.raw_items(), b"keep-alive")
    return not (_says(request_headers, b"close") or _says(response.headers.raw_items(), b"close"))


def _says(headers, word):
    return any(name.lower() == b"connection" and word in value.lower() for name, value in headers)
