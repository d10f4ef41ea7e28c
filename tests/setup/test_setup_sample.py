"""The sample application behaves as its opening words say. It runs as a process here, without a container."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "compose/images/sample/sample.py"
DEADLINE_S = 10.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


class Sample:
    def __init__(self, **environment: str) -> None:
        self.port, self.grpc_port = free_port(), free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", str(SAMPLE)],
            env={"PATH": os.environ["PATH"], "PORT": str(self.port), "GRPC_PORT": str(self.grpc_port),
                 "POD_NAME": "pod-a", **environment})
        until(self.listens, "it listens")

    def listens(self) -> bool:
        assert self.process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method: str, path: str, timeout_s: float = 5.0) -> tuple[int, Any, bool]:
        """(status, body, whether the server closes the connection)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
            value = json.loads(text) if answer.headers["Content-Type"] == "application/json" else text
            return answer.status, value, answer.headers["Connection"] == "close"
        finally:
            connection.close()

    def status(self, path: str) -> int:
        return self.ask("GET", path)[0]

    def control(self, act: str) -> int:
        return self.ask("POST", f"/control/{act}")[0]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start() -> Iterator[Callable[..., Sample]]:
    started: list[Sample] = []

    def begin(**environment: str) -> Sample:
        started.append(Sample(**environment))
        return started[-1]

    yield begin
    for sample in started:
        sample.end()


def test_it_says_who_it_is_and_counts(start: Callable[..., Sample]) -> None:
    sample = start(VERSION="v2")
    assert sample.ask("GET", "/")[1] == {"pod": "pod-a", "version": "v2", "requests": 1}
    assert sample.ask("GET", "/")[1]["requests"] == 2
    assert [sample.status(path) for path in ("/healthz", "/readyz", "/startupz", "/nowhere")] == [200, 200, 200, 404]
    assert sample.ask("PUT", "/")[0] == 405


def test_broken_is_alive_and_never_ready(start: Callable[..., Sample]) -> None:
    sample = start(VERSION="broken")
    assert [sample.status(path) for path in ("/healthz", "/readyz", "/")] == [200, 503, 200]


@pytest.mark.parametrize("act, path, sick", [
    ("unready", "/readyz", 503), ("unhealthy", "/healthz", 503), ("errors?ratio=1", "/", 500),
    ("slow-start?s=60", "/startupz", 503), ("slow-start?s=60", "/readyz", 503),
])
def test_it_is_sick_until_reset(start: Callable[..., Sample], act: str, path: str, sick: int) -> None:
    sample = start()
    assert sample.status(path) == 200
    assert sample.control(act) == 200
    assert sample.status(path) == sick
    assert sample.control("reset") == 200
    assert sample.status(path) == 200


def test_slow_answers_take_as_long_as_told_and_hold_up_nobody_else(start: Callable[..., Sample]) -> None:
    sample = start()
    sample.control("slow?ms=300")
    began = time.monotonic()
    assert sample.status("/") == 200
    assert time.monotonic() - began >= 0.3
    with pytest.raises(TimeoutError):
        sample.control("slow?ms=60000")
        sample.ask("GET", "/", timeout_s=0.2)
    assert sample.status("/healthz") == 200


def test_wrong_controls_are_refused(start: Callable[..., Sample]) -> None:
    sample = start()
    assert sample.control("dance") == 404
    assert sample.control("slow?ms=soon") == 400
    assert sample.status("/") == 200


@pytest.mark.parametrize("act, ends_with", [("exit?code=3", {3}), ("crash", {-signal.SIGABRT, -signal.SIGSEGV})])
def test_it_dies_when_told(start: Callable[..., Sample], act: str, ends_with: set[int]) -> None:
    sample = start()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        sample.control(act)
    assert sample.process.wait(DEADLINE_S) in ends_with


def test_a_hang_answers_nothing_and_hears_no_sigterm(start: Callable[..., Sample]) -> None:
    sample = start(EXIT_AT_ONCE="1")
    with pytest.raises(TimeoutError):
        sample.ask("POST", "/control/hang", timeout_s=0.2)
    with pytest.raises(TimeoutError):
        sample.ask("GET", "/healthz", timeout_s=0.2)
    sample.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        sample.process.wait(0.3)


def test_a_hang_of_limited_length_ends(start: Callable[..., Sample]) -> None:
    sample = start()
    assert sample.control("hang?s=0.2") == 200
    assert sample.status("/healthz") == 200


def test_on_sigterm_it_turns_unready_and_serves_on(start: Callable[..., Sample]) -> None:
    sample = start(DRAIN_S="1")
    began = time.monotonic()
    sample.process.terminate()
    until(lambda: sample.status("/readyz") == 503, "it turns unready")
    status, _, closes = sample.ask("GET", "/")
    assert status == 200 and closes, "kept connections must go elsewhere"
    assert sample.process.wait(DEADLINE_S) == 0
    assert time.monotonic() - began >= 1.0


def test_running_requests_are_finished_before_it_ends(start: Callable[..., Sample]) -> None:
    sample = start(DRAIN_S="0.1", SLOW_MS="700")
    with socket.create_connection(("127.0.0.1", sample.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: sample.ask("GET", "/healthz")[0] == 200, "it still serves")
        sample.process.terminate()
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert sample.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("environment", [{"DRAIN_S": "0"}, {"EXIT_AT_ONCE": "1"}])
def test_it_exits_at_once_when_told_to(start: Callable[..., Sample], environment: dict[str, str]) -> None:
    sample = start(**environment)
    sample.process.terminate()
    assert sample.process.wait(1.5) == 0


def test_memory_is_taken_and_given_back(start: Callable[..., Sample]) -> None:
    def resident_mb() -> int:
        status = Path(f"/proc/{sample.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) >> 10

    sample = start()
    before = resident_mb()
    assert before < 50, "the sample must stay small"
    assert sample.control("leak?mb=64") == 200
    assert resident_mb() >= before + 60
    sample.control("reset")
    until(lambda: resident_mb() < before + 20, "memory is given back")


def test_pipelined_and_split_requests_are_answered_in_order(start: Callable[..., Sample]) -> None:
    sample = start()
    with socket.create_connection(("127.0.0.1", sample.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\nGET /now")
        connection.sendall(b"here HTTP/1.1\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := connection.recv(4096):
            text += piece
    assert re.findall(rb"HTTP/1\.1 (\d+)", text) == [b"200", b"200", b"404"]


def test_garbage_is_refused_and_harms_nobody(start: Callable[..., Sample]) -> None:
    sample = start()
    for port in (sample.port, sample.grpc_port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"\x16\x03\x01" + bytes(100) + b"\r\n\r\n")
            connection.settimeout(5)
            while connection.recv(4096):
                pass
    assert sample.status("/") == 200


def frames(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], int.from_bytes(data[5:9], "big"), data[9:9 + length]))
        data = data[9 + length:]
    return found


def grpc_check(port: int, service: str) -> tuple[bytes, bytes]:
    """(message, trailers) of one Check, sent as a gRPC client sends it."""
    message = b"\x0a" + bytes((len(service),)) + service.encode() if service else b""
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    request = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
               + b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x83"  # HEADERS, one indexed field: POST
               + len(body).to_bytes(3, "big") + b"\x00\x01\x00\x00\x00\x01" + body)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        data = b""
        while not any(kind == 1 and b"grpc-status" in payload for kind, _, payload in frames(data)):
            piece = connection.recv(4096)
            assert piece, "closed before the trailers"
            data += piece
    answers = frames(data)
    return (b"".join(payload[5:] for kind, _, payload in answers if kind == 0),
            next(payload for kind, _, payload in answers if kind == 1 and b"grpc-status" in payload))


def test_grpc_health_says_what_the_http_paths_say(start: Callable[..., Sample]) -> None:
    sample = start()
    for service in ("", "readiness", "liveness", "startup"):
        message, trailers = grpc_check(sample.grpc_port, service)
        assert message == b"\x08\x01", service
        assert trailers.endswith(b"\x010"), "grpc-status 0"
    sample.control("unready")
    assert grpc_check(sample.grpc_port, "")[0] == b"\x08\x02"
    assert grpc_check(sample.grpc_port, "liveness")[0] == b"\x08\x01"
    assert b"grpc-status\x015" in grpc_check(sample.grpc_port, "unknown")[1]


def asleep(pid: int) -> bool:
    """In ``time.sleep``, not in ``epoll_wait``: its system call is clock_nanosleep or nanosleep (x86-64, arm64)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in ("230", "35", "115", "101")


def test_after_a_pause_it_answers_before_it_has_accepted_all_who_wait(start: Callable[..., Sample]) -> None:
    """The first of a hundred who waited makes it hang; by then it must not have taken in the ninety-nine others."""
    served = start()
    descriptors = Path(f"/proc/{served.process.pid}/fd")

    def count() -> int:
        return len(list(descriptors.iterdir()))

    before = count()
    served.process.send_signal(signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(100)]
    try:
        waiting[0].sendall(b"POST /control/hang?s=60 HTTP/1.1\r\n\r\n")
        served.process.send_signal(signal.SIGCONT)
        until(lambda: count() > before, "it accepts")
        until(lambda: asleep(served.process.pid), "it hangs")
        assert count() - before < 50
    finally:
        for connection in waiting:
            connection.close()
