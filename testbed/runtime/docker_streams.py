"""Long answers of a Docker engine (events, logs) as asynchronous iterators, and its interactive execs.

Each stream has a client, a connection and a thread of its own, so that it holds up nothing else. It can be ended from
the loop at any time: the socket is shut, which wakes its thread. docker-py's event stream ends silently on a
connection error or read timeout (docker/docker-py#1523), hence the reopening here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from testbed.runtime.docker_client import DockerClient
from testbed.runtime.docker_threads import translated
from testbed.runtime.docker_translate import event_of
from testbed.runtime.protocol import EngineEvent

log = logging.getLogger(__name__)

_OVERLAP_S = 1.0
_IDLE_S = 60.0  # a stream that is silent for so long is reopened: it may be dead
_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_REMEMBERED = 1024
_BUFFERED = 256

Connect = Callable[[], DockerClient]


class Stream:
    """Runs a blocking iterator in a thread and gives its items to the loop, with back-pressure."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Any] = asyncio.Queue(_BUFFERED)
        self._closed = threading.Event()
        self._socket: socket.socket | None = None

    async def items(self, produce: Callable[[Stream], None]) -> AsyncIterator[Any]:
        """``produce`` calls ``give`` for each item and returns at the end; its error is raised here."""
        thread = threading.Thread(target=self._run, args=(produce,), name="docker-stream", daemon=True)
        thread.start()
        try:
            while (item := await self._items.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.close()

    def _run(self, produce: Callable[[Stream], None]) -> None:
        end: Any = _END
        try:
            produce(self)
        except BaseException as error:
            end = translated(error)
        with contextlib.suppress(_Closed):
            self.give(end)

    def give(self, item: Any) -> None:
        """From the thread. Raises: _Closed when nobody reads any more."""
        if self._closed.is_set() or self._loop.is_closed():
            raise _Closed
        waiting = asyncio.run_coroutine_threadsafe(self._items.put(item), self._loop)
        while True:
            try:
                waiting.result(0.5)
            except TimeoutError:
                if self._closed.is_set() or self._loop.is_closed():
                    waiting.cancel()
                    raise _Closed from None
            else:
                return

    def watch(self, client: DockerClient, response: Any) -> None:
        """Takes note of the socket under ``response`` so that ``close`` can shut it."""
        self._socket = client.socket_of(response)
        if self._closed.is_set():
            self._shut()

    def wait(self, seconds: float) -> None:
        self._closed.wait(seconds)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._shut()
        while not self._items.empty():  # a thread that waits for room goes on and sees that it is over
            self._items.get_nowait()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Closed(Exception):
    pass


_END = object()


# --- events


class EventReader:
    """Reads the engine's events of containers with some labels, for ever."""

    def __init__(self, connect: Connect, labels: Mapping[str, str]) -> None:
        self._connect = connect
        self._filters = json.dumps({
            "type": ["container"], "label": [f"{key}={value}" for key, value in labels.items()]
        })
        self._since = 0.0
        self._seen: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED)

    def produce(self, stream: Stream) -> None:
        failures = 0
        while not stream.closed:
            try:
                failures = 0 if self._read_once(stream) else failures + 1
            except _Closed:
                return
            except Exception as error:
                # Whatever ended the stream (a cut connection, half a line of JSON from a dying engine), it is
                # opened again; what was missed is found by the reader's relist.
                log.debug("events: %s", error)
                failures += 1
            stream.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])

    def _read_once(self, stream: Stream) -> bool:
        client = self._connect()
        try:
            if not self._since:
                # The engine sends its headers before it subscribes (moby: api/server/router/system), so even the
                # first subscription begins a little earlier, by the engine's own clock.
                self._since = parsedate_to_datetime(client.date()).timestamp() - _OVERLAP_S
            response = client.open(
                "/events", params={"filters": self._filters, "since": f"{self._since:.9f}"}, idle_s=_IDLE_S
            )
            stream.watch(client, response)
            stream.give(EngineEvent("reconnect", "", {}, 0))
            for line in response.iter_lines(chunk_size=None):
                self._pass_on(stream, line)
            return True
        finally:
            client.close()

    def _pass_on(self, stream: Stream, line: bytes) -> None:
        event = event_of(json.loads(line)) if line else None
        if event is None:
            return
        key = (event.time_ns, event.container_id, event.action)
        self._since = max(self._since, event.time_ns / 1e9 - _OVERLAP_S)
        if key not in self._seen:
            self._seen.append(key)
            stream.give(event)


# --- logs


class LogReader:
    def __init__(self, connect: Connect, container: str, params: dict[str, Any], idle_s: float | None) -> None:
        self._connect = connect
        self._container = container
        self._params = params
        self._idle_s = idle_s

    def produce(self, stream: Stream) -> None:
        client = self._connect()
        try:
            tty = bool(client.get("/containers/{0}/json", self._container)["Config"]["Tty"])
            response = client.open(
                "/containers/{0}/logs", self._container, params=self._params, idle_s=self._idle_s
            )
            stream.watch(client, response)
            chunks: Iterator[bytes] = (
                response.iter_content(chunk_size=None) if tty else _frames(response.iter_content(chunk_size=None))
            )
            for chunk in chunks:
                stream.give(chunk)
        except _Closed:
            return
        finally:
            client.close()


def _frames(chunks: Iterator[bytes]) -> Iterator[bytes]:
    demultiplexer = Demultiplexer()
    for chunk in chunks:
        for _, data in demultiplexer.feed(chunk):
            yield data


class Demultiplexer:
    """Takes apart the engine's stream of stdout (1) and stderr (2): 8 bytes of header, then data
    (moby: api/types/container attach; ``docs: ContainerAttach``)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        self._buffer += data
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[4:8], "big")
            if len(self._buffer) < 8 + length:
                return
            channel, payload = self._buffer[0], bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            yield channel, payload
