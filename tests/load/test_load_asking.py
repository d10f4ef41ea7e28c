"""What a pulse's requests can be: other methods, headers and bodies, TCP with and without words; and stages that begin
when they are told to."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import UsageError
from testbed.load.answers import judge_http, judge_http_head, judge_tcp
from testbed.load.ask import Ask, header_problem
from testbed.load.records import FRESH, KEEP, Follower, Outcome, PulseData, read

HEARD: list[bytes] = []


class Store(socketserver.StreamRequestHandler):
    """HTTP: remembers bodies and answers 201. Otherwise a line server: PING is answered, QUIT is hung up on."""

    def handle(self) -> None:
        line = self.rfile.readline()
        if line.startswith(b"PING"):
            HEARD.append(line)
            self.wfile.write(b"+PONG\r\n")
        elif b"HTTP/1.1" in line:
            head = line
            while (more := self.rfile.readline()) not in (b"\r\n", b""):
                head += more
            length = next((int(row.split(b":")[1]) for row in head.splitlines()
                           if row.lower().startswith(b"content-length")), 0)
            HEARD.append(head + b"\r\n" + self.rfile.read(length))
            self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 512
    daemon_threads = True


@pytest.fixture
def address() -> Iterator[str]:
    HEARD.clear()
    with Server(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def pulse(tmp_path: Path, *argv: str) -> PulseData:
    out = tmp_path / "pulse"
    run = subprocess.run([sys.executable, "-m", "testbed.load.pulse", "--out", str(out), "--rate", "100",
                          "--for", "0.3", *argv], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    return read(out)


def test_each_request_of_a_writer_has_its_own_number(tmp_path: Path, address: str) -> None:
    data = pulse(tmp_path, "--url", f"http://{address}/orders/{{index}}", "--method", "POST", "--header",
                 "Content-Type: application/json", "--body", '{"id": "{stream}-{index}", "n": {}}', "--status", "201")
    assert {record.outcome for record in data.records} == {Outcome.OK}
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in HEARD]
    assert sorted(body["id"] for body in bodies) == sorted(f"fresh-{index}" for index in range(30))
    assert all(b"Content-Type: application/json" in request for request in HEARD)
    assert {request.split()[1] for request in HEARD} == {b"/orders/%d" % index for index in range(30)}


def test_a_status_that_was_not_expected_has_failed(tmp_path: Path, address: str) -> None:
    data = pulse(tmp_path, "--url", f"http://{address}/", "--status", "200")
    assert {(record.outcome, record.status) for record in data.records} == {(Outcome.STATUS, 201)}


@pytest.mark.parametrize(("argv", "outcome"), [
    ((), Outcome.OK),  # a connection is enough
    (("--send", "PING {index}\n", "--expect", "+PONG"), Outcome.OK),
    (("--send", "PING\n", "--expect", "+PANG"), Outcome.CLOSED),
    (("--send", "QUIT\n", "--expect", "+"), Outcome.CLOSED),
])
def test_tcp(tmp_path: Path, address: str, argv: tuple[str, ...], outcome: Outcome) -> None:
    data = pulse(tmp_path, "--url", f"tcp://{address}", *argv)
    assert {record.outcome for record in data.records} == {outcome}
    if "PING {index}\n" in argv:
        assert sorted(HEARD) == sorted(b"PING %d\n" % index for index in range(30))


def test_a_tcp_service_that_refuses_is_seen(tmp_path: Path, free_port: int) -> None:
    assert {record.outcome for record in pulse(tmp_path, "--url", f"tcp://127.0.0.1:{free_port}").records} == {
        Outcome.REFUSED}


def test_held_stages_begin_when_the_pulse_is_told(tmp_path: Path, address: str) -> None:
    out = tmp_path / "pulse"
    argv = [sys.executable, "-m", "testbed.load.pulse", "--out", str(out), "--url", f"tcp://{address}", "--rate", "20",
            "--stage", "0s:400", "--hold", "--until-eof"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as process:
        follower = Follower(out)
        wait(follower, 4)
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
        wait(follower, len(follower.data.records) + 200)
    data = read(out)
    assert data.stages_ns
    fresh = data.stream()
    assert [record.index for record in fresh] == list(range(len(fresh)))
    apart = [(after.due_ns - before.due_ns) / 1e6 for before, after in zip(fresh, fresh[1:], strict=False)
             if not before.due_ns < data.stages_ns <= after.due_ns]
    slow = [gap for gap, record in zip(apart, fresh, strict=False) if record.due_ns < data.stages_ns - 50e6]
    assert slow and slow == pytest.approx([50.0] * len(slow), abs=0.001)
    assert apart[-1] == pytest.approx(2.5, abs=0.001)
    assert max(record.lateness_s for record in fresh) < 1.0  # nothing became due in the past


def wait(follower: Follower, number: int) -> None:
    until = time.monotonic() + 30
    while len(follower.data.records) < number:
        assert time.monotonic() < until, f"only {len(follower.data.records)} records"
        follower.poll()
        time.sleep(0.01)


@pytest.mark.parametrize(("ask", "says"), [
    (Ask("http://a/", method="BREW"), "BREW"),
    (Ask("http://a/", headers=(("Bad Name", "x"),)), "Bad Name"),
    (Ask("http://a/", headers=(("X", "a\r\nY: b"),)), "line break"),
    (Ask("http://a/", headers=(("Content-Length", "1"),)), "own"),
    (Ask("http://a/", method="POST", body="x" * 20_000), "too long"),
    (Ask("tcp://a"), "port"),
    (Ask("http://a:xx/"), "no address"),
    (Ask("http://a/\r\nX: y"), "characters"),
])
def test_what_cannot_be_asked_is_told(ask: Ask, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ask.address()


def test_the_requests_own_headers_come_once() -> None:
    request = Ask("http://a/p?q=1", host="shop.example", headers=(("User-Agent", "mine"),)).render(7, KEEP)
    assert request == b"GET /p?q=1 HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nUser-Agent: mine\r\n\r\n"
    assert b"Connection: close" in Ask("http://a/").render(0, FRESH)
    assert header_problem([("X-Any", "ä tab\there")]) == ""


def test_an_answer_is_whole_when_it_is() -> None:
    head = bytearray(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert judge_http(head, False) is None
    assert judge_http_head(head, False) is not None
    found = judge_http(head + b"12345", False)
    assert found is not None and (found.outcome, found.status, found.reusable) == (Outcome.OK, 200, True)
    assert judge_tcp(b"abc")(bytearray(b"xxab"), False) is None
    assert judge_tcp(b"")(bytearray(), False) is not None
