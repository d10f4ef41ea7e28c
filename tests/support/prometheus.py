"""A real Prometheus (or Alertmanager) of a test's own, and what it is asked over HTTP."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 20.0
Samples = list[tuple[float, float]]  # seconds since 1970, value


def program(name: str) -> str:
    """Its path; a test that needs it is skipped where it cannot be had, and says so."""
    found = which(name) or next((str(path) for path in [ROOT / ".tools/bin" / name] if path.exists()), "")
    if not found:
        pytest.skip(f"{name} is not here: make tools")
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Series:
    """``samples`` without those that are no number."""

    labels: dict[str, str]
    samples: Samples


@dataclass(frozen=True)
class Prometheus:
    """``address``: host and port."""

    address: str

    def _get(self, path: str, **parameters: Any) -> Any:
        """``data`` of an answer. Raises: AssertionError with Prometheus' own words."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def at(self, query: str, moment: float) -> list[Series]:
        """The answer at one moment (seconds since 1970)."""
        found = self._get("query", query=query, time=moment)
        if found["resultType"] == "scalar":
            return [Series({}, _numbers([found["result"]]))]
        return [Series(item["metric"], _numbers([item["value"]])) for item in found["result"]]

    def over(self, query: str, start: float, end: float, step_s: float = 1.0) -> list[Series]:
        found = self._get("query_range", query=query, start=start, end=end, step=step_s)
        return [Series(item["metric"], _numbers(item["values"])) for item in found["result"]]

    def values(self, series: str, label: str, start: float, end: float) -> list[str]:
        """As Grafana asks for the values of a variable."""
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": series, "start": start, "end": end})
        return found

    def targets(self) -> list[dict[str, Any]]:
        return list(self._get("targets", state="active")["activeTargets"])


def _numbers(pairs: Sequence[Sequence[Any]]) -> Samples:
    return [(float(at), float(value)) for at, value in pairs if math.isfinite(float(value))]


@contextmanager
def running(name: str, directory: Path, port: int, *arguments: str) -> Iterator[str]:
    """``name``: ``prometheus`` or ``alertmanager``. Yields host and port of one that is ready."""
    address = f"127.0.0.1:{port}"
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([program(name), f"--web.listen-address={address}", *arguments], stdout=log,
                                   stderr=subprocess.STDOUT, cwd=directory)
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not _ready(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{name} does not start:\n{(directory / f'{name}.log').read_text()[-4000:]}")
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
