"""HTTP/1 messages as they come over a connection: their bytes, and what h11 says they are.

h11 only reads along: what is passed on are the bytes themselves. It was chosen because it does no input and output and
tells how far it has read, so a message that nothing is done to keeps every byte of it, whatever its framing.
"""

import asyncio
import contextlib
import re
import socket
import struct

import h11

READ_BYTES = 1 << 16
MAX_HEAD = 1 << 17
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*( .*)?", re.DOTALL)  # and what may follow before the line's end
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~\x80-\xff]+ HTTP/1\.[01]\r?")
_STATUS = b"HTTP/1."
MAX_AHEAD = 1 << 18  # bytes that are read before anybody asks for them


class NotHttp(Exception):
    """What came is not HTTP/1; its bytes are still with the stream."""


class Gone(Exception):
    """The other side ended in the middle."""


class Stream(asyncio.Protocol):
    """One end of a connection. ``ended``: nothing more comes from it; ``lost``: it is no more; ``broken``: by an error,
    such as a reset."""

    def __init__(self):
        self.ended, self.lost = asyncio.Event(), asyncio.Event()
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport = None
        self.broken = False

    # --- what the loop tells

    def connection_made(self, transport):
        self.transport = transport
        # asyncio does so only for sockets that were made with a protocol's number.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self._buffer += data
        self._changed.set()
        if len(self._buffer) > MAX_AHEAD:
            self.transport.pause_reading()

    def eof_received(self):
        self.ended.set()
        self._changed.set()
        return True  # still open for writing

    def connection_lost(self, error):
        self.broken = error is not None
        self.ended.set()
        self.lost.set()
        self._changed.set()
        self._writable.set()

    def pause_writing(self):
        self._writable.clear()

    def resume_writing(self):
        self._writable.set()

    # --- for those who use it

    @property
    def waiting(self):
        """Bytes that came and that nobody has read."""
        return len(self._buffer)

    async def something(self):
        """Returns when there is something to read, or never will be."""
        while not self._buffer and not self.ended.is_set():
            self._changed.clear()
            await self._changed.wait()

    async def read(self):
        """Empty at the end."""
        await self.something()
        data = bytes(self._buffer[:READ_BYTES])
        del self._buffer[:len(data)]
        if self._buffer or not self.ended.is_set():
            self.transport.resume_reading()
        return data

    def unread(self, data):
        self._buffer[:0] = data

    async def write(self, data):
        """Raises: Gone."""
        if self.lost.is_set():
            raise Gone
        if data:
            self.transport.write(data)
            await self._writable.wait()

    def finish(self):
        """Says that nothing more will come."""
        if not self.lost.is_set() and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def close(self):
        if self.transport is not None:
            self.transport.close()

    def reset(self):
        """Ends it as a process does that dies with data unread."""
        if self.transport is not None and not self.lost.is_set():
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


def request_parser():
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)


def response_parser(method, upgrade):
    """``method``: of the request that is answered. ``upgrade``: whether it asked for another protocol."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    headers = [("Host", "-"), *([("Connection", "upgrade"), ("Upgrade", "-")] if upgrade else [])]
    parser.send(h11.Request(method=method, target="/", headers=headers))
    parser.send(h11.EndOfMessage())
    return parser


class Message:
    """One message, read from a stream. ``parser``: one of the above that has read nothing yet."""

    def __init__(self, stream, parser):
        self._stream, self._parser = stream, parser
        self._fed = b""  # what the parser was given and has not been passed on

    async def head(self):
        """The next head, and its bytes. Raises: NotHttp; Gone when the stream ends before one begins."""
        while True:
            event = self._next()
            if isinstance(event, h11.Request | h11.InformationalResponse | h11.Response):
                if event.http_version not in (b"1.0", b"1.1"):
                    raise self._not_http()
                return event, self._consumed()
            if event is not h11.NEED_DATA or not self._may_begin() or not await self._feed():
                raise self._not_http() if self._fed else Gone()

    async def parts(self):
        """The body to its end, as pairs of its bytes and the data that they mean. Raises: NotHttp, Gone."""
        while True:
            event = self._next()
            raw = self._consumed()
            if event is h11.NEED_DATA:
                if raw:
                    yield raw, b""
                await self._feed()
            elif isinstance(event, h11.Data):
                yield raw, bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                yield raw, b""
                self.give_back()
                return
            else:
                raise Gone

    def give_back(self):
        """Bytes that belong to what comes after return to the stream."""
        self._stream.unread(self._fed)
        self._fed = b""

    def _may_begin(self):
        """Whether what is there can be the beginning of a head; h11 judges only whole ones, and who speaks another
        protocol waits for an answer to its first line."""
        line, newline, _ = self._fed.partition(b"\n")
        if self._parser.our_role is h11.CLIENT:
            return _STATUS.startswith(line[:len(_STATUS)])
        return bool((_REQUEST_LINE if newline else _METHOD).fullmatch(line))

    async def _feed(self):
        data = await self._stream.read()
        self._parser.receive_data(data)
        self._fed += data
        return data

    def _next(self):
        try:
            return self._parser.next_event()
        except h11.RemoteProtocolError as error:
            raise self._not_http() from error

    def _consumed(self):
        at = len(self._fed) - len(self._parser.trailing_data[0])
        raw, self._fed = self._fed[:at], self._fed[at:]
        return raw

    def _not_http(self):
        self.give_back()
        return NotHttp()
