"""Redis' protocol (RESP2) in a few lines: one connection, one command at a time, opened anew when it was lost."""

import asyncio


class StoreError(Exception):
    """No answer, or an error for an answer."""


class Redis:
    """``timeout_s``: for connecting and for each answer."""

    def __init__(self, host, port=6379, timeout_s=1.0):
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._reader = self._writer = None
        self._turn = asyncio.Lock()

    async def call(self, *parts, timeout_s=None):
        """The answer to one command. Raises: StoreError; whether it was done is then unknown."""
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s or self._timeout_s):
                    if self._writer is None:
                        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
                    words = [str(part).encode() for part in parts]
                    self._writer.write(b"*%d\r\n" % len(words)
                                       + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
                    return await self._answer()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                self.drop()
                raise StoreError(f"{self._host}: {error or type(error).__name__}") from error
            except asyncio.CancelledError:
                self.drop()  # its answer would be taken for the next one's
                raise

    def drop(self):
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _answer(self):
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise StoreError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            return (await self._reader.readexactly(int(rest) + 2))[:-2].decode()
        if kind == b"*":
            return None if int(rest) < 0 else [await self._answer() for _ in range(int(rest))]
        raise ValueError(f"not RESP: {line!r}")
