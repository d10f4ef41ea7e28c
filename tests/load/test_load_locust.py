"""Locust as a subprocess: unchanged locustfiles run, their samples come out unrounded, mistakes are told."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import InvalidInput
from testbed.load.locust import (
    LoadFailed,
    LocustProcess,
    failure,
    parse_sample,
    read_samples,
    summarise,
)

GOOD = """
from locust import HttpUser, constant, task
class Visitor(HttpUser):
    wait_time = constant(0.02)
    @task
    def front(self):
        self.client.get("/")
    @task
    def missing(self):
        self.client.get("/missing")
"""


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def process(tmp_path: Path, text: str, url: str = "http://127.0.0.1:1") -> LocustProcess:
    file = tmp_path / "locustfile.py"
    file.write_text(text)
    return LocustProcess(file, url, users=3, spawn_rate=100, samples=tmp_path / "samples.tsv",
                         html=tmp_path / "report.html")


async def test_an_unchanged_locustfile_runs_and_its_samples_come_out(tmp_path: Path, site: str) -> None:
    locust = process(tmp_path, GOOD, site)
    await locust.start()
    samples = await locust.stop()
    assert samples == await locust.stop()
    rows = {row.name: row for row in summarise(samples)}
    assert rows["/"].failures == 0
    assert rows["/missing"].failures == rows["/missing"].requests
    assert rows["Aggregated"].requests == len(samples) > 0
    assert rows["Aggregated"].p99_s <= rows["Aggregated"].max_s
    assert "<html" in locust.html.read_text()[:2000]


@pytest.mark.parametrize(("text", "says"), [
    ("from locust import HttpUser\nclass V(HttpUser)\n    pass\n", "locustfile.py:2: SyntaxError"),
    ("import no_such_module\n", "locustfile.py:1: ModuleNotFoundError"),
    ("x = 1\n", "no class that is a User"),
])
async def test_a_wrong_locustfile_is_the_users_mistake(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        await process(tmp_path, text).start()


async def test_a_missing_locustfile_is_told_before_anything_starts(tmp_path: Path) -> None:
    locust = process(tmp_path, GOOD)
    locust.locustfile.unlink()
    (tmp_path / "locust.py").write_text("")
    with pytest.raises(InvalidInput, match=r"there is no locustfile(.|\n)*locust\.py"):
        await locust.start()
    assert await locust.stop() == []


async def test_locust_that_dies_is_told_with_its_last_lines(tmp_path: Path, site: str) -> None:
    locust = process(tmp_path, GOOD + "\nimport os, gevent\ngevent.spawn_later(1.5, lambda: os._exit(9))\n", site)
    with pytest.raises(LoadFailed, match="exit code 9"):
        await locust.start()  # on a slow machine it is dead before it has begun
        await locust.wait()
    await locust.stop()


def test_failures_of_locust_itself_show_its_last_lines() -> None:
    error = failure(Path("locustfile.py"), -9, "one\n\ntwo\n")
    assert isinstance(error, LoadFailed)
    assert "two" in str(error)


def test_samples_are_read_to_the_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "samples.tsv"
    file.write_text('#{"at_ns": 5, "users": 2}\n1000\t1.500\tok\t7\tGET\t/a b\n2000\t3.000\tHTTPError\t0\tGET\t/\n30')
    data = read_samples(file)
    assert data.users == [(5, 2)]
    assert [(sample.latency_s, sample.error, sample.name) for sample in data.samples] == [
        (0.0015, "", "/a b"), (0.003, "HTTPError", "/")]
    assert parse_sample("1\t2.0\tok\t3\tGET\t/").at_ns == 1


def test_nothing_of_ours_imports_locust() -> None:
    program = ("import sys, testbed.load.locust, testbed.load.pulse, testbed.load.outage; "
               "assert not {'locust', 'gevent', 'numpy', 'docker', 'pydantic'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", program], check=True)
