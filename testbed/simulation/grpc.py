"""The server's side of one gRPC health check over plain HTTP/2, as bytes (RFC 9113; grpc.health.v1)."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4


def asked_service(received: bytes) -> str | None:
    """The service's name in a request; None while the request is not whole."""
    rest = received[len(PREFACE) :]
    while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
        length, kind = int.from_bytes(rest[:3], "big"), rest[3]
        payload, rest = rest[9 : 9 + length], rest[9 + length :]
        if kind == _DATA:
            message = payload[5:]  # one byte "compressed", four bytes of length
            return message[2 : 2 + message[1]].decode("utf-8", "replace") if message[:1] == b"\x0a" else ""
    return None


def health_answer(serving: bool | None) -> bytes:
    """SERVING or NOT_SERVING; None: there is no such service."""
    first = b"\x88" + _header(b"content-type", b"application/grpc")  # 0x88: ":status: 200"
    start = _frame(_SETTINGS, 0, 0, b"")
    if serving is None:
        return start + _frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, first + _header(b"grpc-status", b"5"))
    message = b"\x08\x01" if serving else b"\x08\x02"
    return (start + _frame(_HEADERS, _END_HEADERS, 1, first)
            + _frame(_DATA, 0, 1, b"\x00" + len(message).to_bytes(4, "big") + message)
            + _frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, _header(b"grpc-status", b"0")))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _header(name: bytes, value: bytes) -> bytes:
    """A literal field without indexing."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value
