"""Locust as a subprocess: unchanged locustfiles run, their samples come out unrounded, mistakes are told."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from load_server import GOOD

from testbed.errors import InvalidInput
from testbed.experiment.locust_load import locust_result
from testbed.load.locust import LocustProcess, Users
from testbed.load.locust_samples import Failing, LocustData, Sample, failing, parse_sample, read_samples
from testbed.load.locustfiles import LoadFailed, examine_locustfile, failure


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
    return LocustProcess(file, url, Users(3, 100), samples=tmp_path / "samples.tsv", html=tmp_path / "report.html")


async def test_an_unchanged_locustfile_runs_and_its_samples_come_out(tmp_path: Path, site: str) -> None:
    locust = process(tmp_path, GOOD, site)
    await locust.start()
    data = await locust.stop()
    samples = data.samples
    assert data == await locust.stop()
    assert len(data.ticks["locust"]) > 0 and data.uncounted == (0, 0)
    rows = {entry.name: entry for entry in locust_result(data, 3, 0, 0.0).entries}
    assert rows["GET /"].failures == 0
    assert rows["GET /missing"].failures == rows["GET /missing"].requests
    assert sum(row.requests for row in rows.values()) == len(samples) > 0
    assert "<html" in locust.html.read_text()[:2000]


WRONG = pytest.mark.parametrize(("text", "says"), [
    ("from locust import HttpUser\nclass V(HttpUser)\n    pass\n", "locustfile.py:2: SyntaxError"),
    ("import no_such_module\n", "locustfile.py:1: ModuleNotFoundError"),
    ("x = 1\n", "no class that is a User"),
])


async def test_a_locustfile_that_breaks_meanwhile_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"locustfile.py:1: ModuleNotFoundError"):
        await process(tmp_path, "import no_such_module\n").start()


@WRONG
def test_a_wrong_locustfile_is_told_before_anything_starts(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "locustfile.py"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=says):
        examine_locustfile(file)


def test_the_users_of_a_locustfile_are_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "locustfile.py").write_text(GOOD)
    assert examine_locustfile(tmp_path / "locustfile.py") == ("Visitor",)


async def test_a_missing_locustfile_is_told_before_anything_starts(tmp_path: Path) -> None:
    locust = process(tmp_path, GOOD)
    locust.locustfile.unlink()
    (tmp_path / "locust.py").write_text("")
    with pytest.raises(InvalidInput, match=r"there is no locustfile(.|\n)*locust\.py"):
        await locust.start()
    assert (await locust.stop()).samples == []


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
    file.write_text('#{"kind": "users", "at_ns": 5, "users": 2}\n1000\t1.500\tok\t7\tGET\t/a b\t0\t0\t0\n'
                    "2000\t3.000\tHTTPError\t0\tGET\t/\t900\t4\t950\nnot one of ours\n#[]\n30")
    data = read_samples(file)
    assert data.users == [(5, 2)]
    assert [(sample.latency_s, sample.error, sample.name, sample.due_ns, sample.number) for sample in data.samples] == [
        (0.0015, "", "/a b", 0, 0), (0.003, "HTTPError", "/", 900, 4)]
    assert parse_sample("1\t2.0\tok\t3\tGET\t/\t0\t0\t0").at_ns == 1


def test_workers_that_were_lost_are_counted() -> None:
    data = LocustData()
    for alive in (2, 3, 3, 2):
        data.take(f'#{{"kind": "workers", "alive": {alive}}}')
    assert (data.lost, LocustData().lost) == (1, 0)


def test_a_pulse_user_with_a_schedule_that_is_none_is_a_mistake_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "locustfile.py"
    file.write_text("from testbed.load.locust_user import PulseUser\n\nclass Steady(PulseUser):\n    rate = -5\n")
    with pytest.raises(InvalidInput, match=r"locustfile.py:3: ValueError: Steady.rate is -5"):
        examine_locustfile(file)


def sample(at_ms: int, took_ms: int, error: str = "") -> Sample:
    return Sample(at_ms * 1_000_000, took_ms / 1000, error, 0, "GET", "/")


def test_a_stretch_of_failing_lasts_from_the_first_bad_request_to_the_next_success() -> None:
    found = failing([sample(100, 10), sample(300, 50, "X"), sample(900, 500, "Y"), sample(1000, 20),
                     sample(2000, 5, "X"), sample(2010, 5)])
    assert found == Failing(300_000_000, 2_000_000_000, 0.75)


def test_a_stretch_that_has_not_ended_lasts_to_its_last_failure() -> None:
    found = failing([sample(100, 10), sample(300, 50, "X"), sample(400, 10, "X"), sample(0, 10, "X")])
    assert found == Failing(300_000_000, 400_000_000, 0.15)
    assert failing([sample(100, 10), sample(0, 10, "another clock's")]) is None


def test_nothing_of_ours_imports_locust() -> None:
    program = ("import sys, testbed.load.locust, testbed.load.locustfiles, testbed.load.pulse; "
               "assert not {'locust', 'gevent', 'numpy', 'docker', 'pydantic'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", program], check=True)
