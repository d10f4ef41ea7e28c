"""One end of a connection in memory: what asyncio's protocols and streams expect of a transport."""

from __future__ import annotations

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """What is written goes to ``received``; ``deliver`` hands data to this end's own protocol."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._closed = False

    def received(self, data: bytes) -> None:
        """The other side's part."""
        raise NotImplementedError

    def lost(self) -> None:
        """Called once, when the connection is over."""

    def deliver(self, data: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(data)  # type: ignore[attr-defined]

    def lose(self, error: Exception | None = None) -> None:
        if not self._closed:
            self._closed = True
            self.lost()
            self._loop.call_soon(self._protocol.connection_lost, error)

    def write(self, data: Any) -> None:
        if not self._closed:
            self.received(bytes(data))

    def close(self) -> None:
        self.lose()

    def abort(self) -> None:
        self.lose()

    def is_closing(self) -> bool:
        return self._closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def is_reading(self) -> bool:
        return not self._closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol
