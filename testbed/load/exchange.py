"""One request over one TCP connection, as cheaply as asyncio allows: non-blocking sockets and callbacks.

It carries requests and answers; what an answer means is `answers.py`'s, when requests leave is the pulse's affair, and
how a connection ends that is not kept `parting.py`'s.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable

from testbed.load.answers import Judge, Judged
from testbed.load.records import Outcome

_REFUSED = {errno.ECONNREFUSED}
_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}

Done = Callable[[Outcome, int, str], None]


def outcome_of(code: int) -> Outcome:
    """What a socket's errno means to a client."""
    if code in _REFUSED:
        return Outcome.REFUSED
    if code in _RESET:
        return Outcome.RESET
    return Outcome.TIMEOUT if code == errno.ETIMEDOUT else Outcome.UNREACHABLE


class SourcePorts:
    """Local ports in turn, so that none is used again before all others were.

    The kernel's own choice returns to a port after some three thousand connections. A connection to a pod that died
    leaves an unanswered entry in the Service's connection tracking for two minutes (nf_conntrack_tcp_timeout_syn_sent);
    who comes from the same port is sent to the same dead pod. Users come from many machines and do not meet that; a
    single prober would measure it as loss long after the pod was taken out.
    """

    def __init__(self, first: int, last: int, start: int) -> None:
        """``first`` to ``last``: the range. ``start``: where to begin, taken modulo the range."""
        self._first, self._count = first, last - first + 1
        self._next = start % self._count

    def bind(self, connection: socket.socket) -> None:
        """Raises: OSError when no port of the range is free."""
        for _ in range(self._count):
            port = self._first + self._next
            self._next = (self._next + 1) % self._count
            try:
                connection.bind(("", port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRNOTAVAIL, "no local port is free")


class Connection:
    """A TCP connection that carries one request at a time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, family: int, address: tuple[str, int], ports: SourcePorts | None = None
    ) -> None:
        """Raises: OSError when no socket or port can be had."""
        self._loop = loop
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._fd = self._socket.fileno()  # the loop is told this: for a socket unknown to it, it would print it whole
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ports:
            try:
                ports.bind(self._socket)
            except OSError:
                self._socket.close()
                raise
        self._address = address
        self._connected = self._watched = False
        self._request = b""
        self._judge: Judge | None = None
        self._answer = bytearray()
        self._done: Done | None = None
        self.on_idle_end: Callable[[Connection], None] | None = None
        self.reusable = False

    # --- asking

    def send(self, request: bytes, judge: Judge, done: Done) -> None:
        """Sends ``request`` (nothing when it is empty); ``done`` is called once, unless ``abandon`` is called first."""
        self._request, self._judge, self._done = request, judge, done
        self._answer.clear()
        self.reusable = False
        if self._connected:
            self._loop.call_soon(self._write)  # ``done`` is called later, also when the connection turns out broken
            return
        code = self._socket.connect_ex(self._address)
        if code in (0, errno.EINPROGRESS):
            self._begin()
        else:
            self._loop.call_soon(self._finish, outcome_of(code))

    def abandon(self) -> None:
        """Closes at once, without a word to whoever waits."""
        self._done = None
        self._close(hard=True)

    def _begin(self) -> None:
        """A pod on this machine has usually agreed to the connection before ``connect`` returns. Then the request
        leaves at once and only the answer is waited for: half of the loop's turns."""
        try:
            sent = self._socket.send(self._request) if self._request else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._loop.call_soon(self._finish, outcome_of(error.errno or 0))
            return
        self._watched = True
        if not sent:
            self._loop.add_writer(self._fd, self._on_connected)
            return
        self._connected = True
        self._loop.add_reader(self._fd, self._on_readable)
        if sent < len(self._request) or (self._judge and self._judge(self._answer, False)):
            self._loop.call_soon(self._sent, sent)  # nothing to wait for, and ``done`` is called later all the same

    def _on_connected(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._finish(outcome_of(code))
            return
        self._connected = True
        self._loop.add_reader(self._fd, self._on_readable)  # first, while it is known: that is one change, not two
        self._loop.remove_writer(self._fd)
        self._write()

    def _write(self) -> None:
        """A request is smaller than an empty socket buffer: it is taken whole or the connection is broken."""
        try:
            sent = self._socket.send(self._request)
        except OSError as error:
            self._finish(outcome_of(error.errno or 0))
            return
        self._sent(sent)

    def _sent(self, count: int) -> None:
        if count < len(self._request):
            self._finish(Outcome.RESET)
        else:
            self._look(ended=False)  # there may be nothing to wait for

    # --- the answer

    def _on_readable(self) -> None:
        try:
            block = self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finish(outcome_of(error.errno or 0))
            return
        if self._done is None:
            if not block:
                self._close(hard=False)
                if self.on_idle_end:
                    self.on_idle_end(self)
            return
        self._answer += block
        self._look(ended=not block)

    def _look(self, *, ended: bool) -> None:
        found = self._judge(self._answer, ended) if self._judge is not None else None
        if found is not None:
            self.reusable = found.reusable
            self._end(found)

    # --- ending

    def _finish(self, outcome: Outcome) -> None:
        self._end(Judged(outcome))

    def _end(self, found: Judged) -> None:
        done, self._done = self._done, None
        if found.outcome is not Outcome.OK:
            self.reusable = False
            self._close(hard=True)
        if done is not None:
            done(found.outcome, found.status, found.backend)

    def rest(self) -> bool:
        """Its answer is whole: nobody is to be woken for it any more. Whether it is still open."""
        if self._socket.fileno() < 0:
            return False
        self._unwatch()
        return True

    def has_ended(self) -> bool:
        """Whether the server has closed it; then it is closed here too."""
        try:
            ended = not self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            ended = True
        if ended:
            self._close(hard=False)
        return ended

    def _close(self, *, hard: bool) -> None:
        if self._socket.fileno() < 0:
            return
        self._unwatch()
        if hard:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self.reusable = False

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._fd)
            if not self._connected:
                self._loop.remove_writer(self._fd)
