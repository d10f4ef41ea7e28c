"""A small HTTP/1.1 server and client on asyncio streams: as much as the sample needs."""

import asyncio
import contextlib
import json

MAX_BODY_BYTES = 1 << 20
REASONS = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


async def serve(answer, port):
    """``answer(method, path) -> (status, value)``; one request on each connection unless the client keeps it."""
    async def handle(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                               if line.lower().startswith(b"content-length:")), 0)
                if length > MAX_BODY_BYTES:
                    return
                await reader.readexactly(length)
                status, value = await answer(method, path.partition("?")[0])
                body = json.dumps(value).encode()
                close = b"connection: close" in head.lower()
                writer.write(b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
                             % (status, REASONS.get(status, "OK").encode(), len(body),
                                b"Connection: close\r\n" if close else b"") + body)
                await writer.drain()
                if close:
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(handle, "0.0.0.0", port, backlog=1024)


async def ask(host, port, method, path, timeout_s):
    """(status, value). Raises: OSError, TimeoutError."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                         .encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(MAX_BODY_BYTES)
            return int(head.split(b" ", 2)[1]), json.loads(body or b"null")
        except (asyncio.IncompleteReadError, ValueError) as error:
            raise OSError(f"no whole answer from {host}") from error
        finally:
            with contextlib.suppress(OSError):
                writer.transport.abort()
