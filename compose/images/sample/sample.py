"""The application that experiments break: one file, standard library only, well under 50 MB.

    GET  /                   pod, version, request count, as JSON
    GET  /healthz            200 while it lives
    GET  /readyz             503 while unready, draining, still starting, or when VERSION is "broken"
    GET  /startupz           503 while still starting
    GET  /control            the present settings
    GET  /redirect?to=/path  302 to that path
    GET  /time               its clocks, as JSON: realtime_ns, monotonic_ns
    GET  /remember?what=word keeps the word              GET  /remembered             the words, as JSON
    POST /control/crash      dies by a signal           POST /control/exit?code=3     ends with this code
    POST /control/hang?s=    answers nothing any more (for s seconds; without s, until it is killed)
    POST /control/slow-start?s=10   starting again: /startupz and /readyz fail for s seconds
    POST /control/slow?ms=500       every answer of / is delayed      POST /control/errors?ratio=0.2  / answers 500
    POST /control/unready           /readyz fails                     POST /control/unhealthy         /healthz fails
    POST /control/leak?mb=64        takes memory and keeps it         POST /control/burn?s=10&cores=1 uses CPU
    POST /control/reset             all of that off

gRPC health (``grpc.health.v1.Health/Check``) on GRPC_PORT: services "" and "readiness" say what /readyz says,
"liveness" what /healthz says, "startup" what /startupz says; another name is NOT_FOUND.

On SIGTERM it turns unready, serves on for DRAIN_S seconds (default 2: a Service needs a moment to take a pod out of
rotation, and requests that come meanwhile must not be lost), lets running requests finish and ends with 0. DRAIN_S=0 or
EXIT_AT_ONCE=1: it ends at once, as applications do that know nothing of rolling updates, and loses requests.

Environment: VERSION, POD_NAME (default: the host name), PORT 8080, GRPC_PORT 9090 (0: none), TLS_PORT (HTTPS too, with
TLS_DIR/tls.crt and tls.key as a Secret of type kubernetes.io/tls has them; TLS_DIR /tls), DRAIN_S, EXIT_AT_ONCE,
START_DELAY_S (time until it is started), UNHEALTHY_AFTER_S (/healthz fails from then on), and SLOW_MS, ERROR_RATIO as
first settings.
"""

import os
import sys

# asyncio does without ssl where there is none; only TLS_PORT needs it, and it is a tenth of the start-up time.
if "TLS_PORT" not in os.environ:
    sys.modules["ssl"] = None  # type: ignore[assignment]

import asyncio
import json
import random
import signal
import socket
import time

VERSION = os.environ.get("VERSION", "v1")
POD_NAME = os.environ.get("POD_NAME") or socket.gethostname()
PORT = int(os.environ.get("PORT", "8080"))
GRPC_PORT = int(os.environ.get("GRPC_PORT", "9090"))
TLS_PORT = int(os.environ.get("TLS_PORT", "0"))
TLS_DIR = os.environ.get("TLS_DIR", "/tls")
DRAIN_S = 0.0 if os.environ.get("EXIT_AT_ONCE") == "1" else float(os.environ.get("DRAIN_S", "2"))
MAX_REQUEST_BYTES = 64 * 1024
QUEUE = 1024
MAX_REMEMBERED = 1000
# asyncio would accept all connections that wait before it reads from any of them: after a pause the first answer would
# come only then. (Its backlog is both: the kernel's queue, and how many are accepted in one turn of the loop.)
ACCEPTED_IN_A_ROW = 8
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           413: "Content Too Large",
           500: "Internal Server Error", 503: "Service Unavailable"}


class Application:
    """What the sample is and how sick it is. Knows nothing of sockets."""

    def __init__(self):
        self.requests = 0
        self.draining = False
        self.busy = 0
        self.leaked = []
        self.remembered = []
        self.reset()
        self.unhealthy_at = time.monotonic() + float(os.environ.get("UNHEALTHY_AFTER_S", "inf"))
        self.started_at = time.monotonic() + float(os.environ.get("START_DELAY_S", "0"))
        self.delay_s = float(os.environ.get("SLOW_MS", "0")) / 1000
        self.error_ratio = float(os.environ.get("ERROR_RATIO", "0"))

    def reset(self):
        self.started_at = 0.0
        self.delay_s = 0.0
        self.error_ratio = 0.0
        self.unready = False
        self.unhealthy = False
        self.unhealthy_at = float("inf")
        self.leaked.clear()

    @property
    def started(self):
        return time.monotonic() >= self.started_at

    @property
    def ready(self):
        return self.started and not self.unready and not self.draining and VERSION != "broken"

    @property
    def healthy(self):
        return not self.unhealthy and time.monotonic() < self.unhealthy_at

    def settings(self):
        return {"started": self.started, "ready": self.ready, "draining": self.draining, "healthy": self.healthy,
                "slow_ms": self.delay_s * 1000, "error_ratio": self.error_ratio,
                "leaked_mb": sum(map(len, self.leaked)) >> 20}

    def get(self, path, query):
        """(status, value, seconds to wait before answering) of a GET."""
        if path == "/":
            self.requests += 1
            if self.error_ratio and random.random() < self.error_ratio:
                return 500, {"error": "told to fail", "pod": POD_NAME}, self.delay_s
            return 200, {"pod": POD_NAME, "version": VERSION, "requests": self.requests}, self.delay_s
        if path == "/healthz":
            return (200, "ok", 0) if self.healthy else (503, "unhealthy", 0)
        if path == "/readyz":
            return (200, "ok", 0) if self.ready else (503, "draining" if self.draining else "unready", 0)
        if path == "/startupz":
            return (200, "ok", 0) if self.started else (503, "starting", 0)
        if path == "/control":
            return 200, self.settings(), 0
        if path == "/remember":
            self.remembered = [*self.remembered, query.get("what", "")][-MAX_REMEMBERED:]
            return 200, "ok", 0
        if path == "/remembered":
            return 200, self.remembered, 0
        if path == "/redirect":
            return 302, query.get("to", "/"), 0
        if path == "/time":
            return 200, {"realtime_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}, 0
        return 404, {"error": f"no such path: {path}"}, 0

    def control(self, act, query):
        """Makes it sick. Raises: KeyError for an unknown act, ValueError for a wrong number."""
        if act == "crash":
            # As process 1 it would survive its own SIGKILL; abort() ends in an instruction that nobody survives.
            os.abort()
        elif act == "exit":
            os._exit(int(query.get("code", "1")))
        elif act == "hang":
            until = time.monotonic() + float(query.get("s", "inf"))
            while time.monotonic() < until:  # the loop is blocked: no answer, no probe, no SIGTERM
                time.sleep(min(3600.0, max(0.0, until - time.monotonic())))
        elif act == "slow-start":
            self.started_at = time.monotonic() + float(query.get("s", "10"))
        elif act == "slow":
            self.delay_s = float(query.get("ms", "1000")) / 1000
        elif act == "errors":
            self.error_ratio = float(query.get("ratio", "1"))
        elif act == "unready":
            self.unready = True
        elif act == "unhealthy":
            self.unhealthy = True
        elif act == "leak":
            self.leaked.append(bytearray(os.urandom(1 << 20) * int(query.get("mb", "64"))))
        elif act == "burn":
            self.burn(float(query.get("s", "10")), int(query.get("cores", "1")))
        elif act == "reset":
            self.reset()
        else:
            raise KeyError(act)

    @staticmethod
    def burn(seconds, cores):
        """Children use the CPU, so that the server itself is only slowed down as by a busy neighbour."""
        end = time.monotonic() + seconds
        for _ in range(cores):
            if os.fork() == 0:
                while time.monotonic() < end:
                    pass
                os._exit(0)


class Http(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and pipelining, for one connection."""

    open = set()

    def __init__(self, application):
        self.application = application
        self.buffer = b""
        self.waiting = None

    def connection_made(self, transport):
        self.transport = transport
        Http.open.add(self)

    def connection_lost(self, error):
        Http.open.discard(self)
        if self.waiting:
            self.waiting.cancel()
            self.waiting = None
            self.application.busy -= 1

    def data_received(self, data):
        self.buffer += data
        if not self.waiting:
            self.next_request()

    def next_request(self):
        while not self.waiting and not self.transport.is_closing():
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                if self.buffer[:1] == b"\x16":  # a TLS handshake
                    self.answer(400, {"error": "this port does not speak TLS"}, close=True)
                if len(self.buffer) > MAX_REQUEST_BYTES:
                    self.answer(413, {"error": "request too large"}, close=True)
                break
            first, *lines = head.decode("latin-1").split("\r\n")
            fields = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            try:
                method, target, protocol = first.split(" ")
                length = int(headers.get("content-length", "0"))
            except ValueError:
                self.answer(400, {"error": "not an HTTP request"}, close=True)
                break
            if length > MAX_REQUEST_BYTES or "transfer-encoding" in headers:
                self.answer(413, {"error": "bodies are not read here"}, close=True)
                break
            if len(rest) < length:
                break
            self.buffer = rest[length:]
            connection = headers.get("connection", "").lower()
            close = connection == "close" or (protocol == "HTTP/1.0" and connection != "keep-alive")
            self.serve(method, target, close)

    def serve(self, method, target, close):
        path, _, text = target.partition("?")
        delay_s = 0
        query = dict(part.split("=", 1) for part in text.split("&") if "=" in part)
        if method == "POST" and path.startswith("/control/"):
            act = path.removeprefix("/control/")
            try:
                self.application.control(act, query)
                status, value = 200, self.application.settings()
            except KeyError:
                status, value = 404, {"error": f"no such control: {act}"}
            except (ValueError, OverflowError, MemoryError, OSError) as error:
                status, value = 400, {"error": f"{act}: {error}"}
        elif method in ("GET", "HEAD"):
            status, value, delay_s = self.application.get(path, query)
        else:
            status, value = 405, {"error": f"{method} {path} is not served"}
        if not delay_s:
            self.answer(status, value, close=close, body=method != "HEAD")
            return
        self.application.busy += 1
        self.waiting = asyncio.get_running_loop().call_later(delay_s, self.answer_late, status, value, close, method)

    def answer_late(self, status, value, close, method):
        self.waiting = None
        self.application.busy -= 1
        self.answer(status, value, close=close, body=method != "HEAD")
        self.next_request()

    def answer(self, status, value, close=False, body=True):
        text = isinstance(value, str)
        content = value.encode() if text else json.dumps(value).encode()
        close = close or self.application.draining  # clients with kept connections must go elsewhere
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s" % (
                status, REASONS[status].encode(), b"Location: %s\r\n" % content if status == 302 else b"",
                b"text/plain" if text else b"application/json", len(content),
                b"close" if close else b"keep-alive", content if body else b""))
        if close:
            self.transport.close()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 4, 6, 7, 9  # RFC 9113, section 6
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header(name, value):
    """A literal header field without indexing (RFC 7541, section 6.2.2): needs no state and no Huffman code."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


class GrpcHealth(asyncio.Protocol):
    """As much HTTP/2 as a health check needs. Request headers are not decoded: every call is taken for a Check."""

    SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse{status}

    def __init__(self, application):
        self.application = application
        self.buffer = b""
        self.greeted = False
        self.bodies = {}

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        if not self.greeted:
            if len(self.buffer) < len(PREFACE):
                return
            if not self.buffer.startswith(PREFACE):
                self.transport.close()
                return
            self.buffer, self.greeted = self.buffer[len(PREFACE):], True
            self.transport.write(frame(SETTINGS, 0, 0, b""))
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if length > MAX_REQUEST_BYTES:
                self.transport.close()
                return
            if len(self.buffer) < 9 + length:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
            self.received(kind, flags, stream, payload)

    def received(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.transport.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.transport.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.transport.close()
        elif kind in (HEADERS, DATA):
            body = self.bodies.setdefault(stream, bytearray())
            if kind == DATA:
                body += payload[1:len(payload) - payload[0]] if flags & PADDED else payload
            if flags & END_STREAM:
                self.check(stream, bytes(self.bodies.pop(stream)))

    def check(self, stream, body):
        message = body[5:]  # gRPC: one byte "compressed", four bytes of length
        service = message[2:2 + message[1]].decode("utf-8", "replace") if message[:1] == b"\x0a" else ""
        states = {"": self.application.ready, "readiness": self.application.ready,
                  "liveness": self.application.healthy, "startup": self.application.started}
        first = b"\x88" + header(b"content-type", b"application/grpc")  # 0x88: ":status: 200" of the static table
        if service not in states:
            trailers = header(b"grpc-status", b"5") + header(b"grpc-message", b"unknown service")
            self.transport.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, first + trailers))
            return
        answer = self.SERVING if states[service] else self.NOT_SERVING
        self.transport.write(
            frame(HEADERS, END_HEADERS, stream, first)
            + frame(DATA, 0, stream, b"\x00" + len(answer).to_bytes(4, "big") + answer)
            + frame(HEADERS, END_HEADERS | END_STREAM, stream, header(b"grpc-status", b"0")))


async def main():
    loop = asyncio.get_running_loop()
    application = Application()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children that burn CPU
    listener = socket.create_server(("0.0.0.0", PORT))
    server = await loop.create_server(lambda: Http(application), sock=listener, backlog=ACCEPTED_IN_A_ROW)
    listener.listen(QUEUE)
    if TLS_PORT:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{TLS_DIR}/tls.crt", f"{TLS_DIR}/tls.key")
        await loop.create_server(lambda: Http(application), "0.0.0.0", TLS_PORT, ssl=context)
    if GRPC_PORT:
        await loop.create_server(lambda: GrpcHealth(application), "0.0.0.0", GRPC_PORT)
    await told.wait()
    if DRAIN_S > 0:
        application.draining = True
        await asyncio.sleep(DRAIN_S)
        server.close()
        while application.busy:  # noqa: ASYNC110 (a few milliseconds, once in a life)
            await asyncio.sleep(0.01)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
