"""Metrics of autoscalers from a Prometheus: the real one's answers, and every way in which one may not answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.prometheus import free_port, running

from testbed.api.autoscaling_v2 import Autoscaler
from testbed.controlplane.usage import QueryFailed
from testbed.core import promql
from testbed.server import prometheus

PAGE = """# TYPE load gauge
load{pod="web-1",namespace="ns"} 3
load{pod="web-2",namespace="ns"} 4.5
load{pod="db-1",namespace="ns"} 100
# TYPE hits_total counter
hits_total{service="web",namespace="ns"} %d
"""


def vector(*samples: tuple[str, str]) -> Any:
    return {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"pod": pod}, "value": [1, value]} for pod, value in samples]}}


async def ask(handler: Any, *, path: str = "") -> Any:
    """What ``query`` gives when a server answers with ``handler``."""
    application = web.Application()
    application.router.add_get("/{rest:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        return await prometheus.query(f"http://127.0.0.1:{port}{path}", "load")
    finally:
        await runner.cleanup()


def test_values_with_their_labels_and_nothing_that_is_no_number() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path_qs)
        return web.json_response(vector(("a", "1.5"), ("b", "NaN"), ("c", "+Inf"), ("d", "2e3")))

    assert asyncio.run(ask(handler, path="/prefix/")) == [({"pod": "a"}, Decimal("1.5")), ({"pod": "d"}, Decimal(2000))]
    assert seen == ["/prefix/api/v1/query?query=load"]


@pytest.mark.parametrize(("status", "body", "told"), [
    (400, json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}), "refused: parse error"),
    (200, "<html>", "answered 200, which is no answer of a Prometheus"),
    (500, "[]", "answered 500, which is no answer of a Prometheus"),
    (200, json.dumps({"status": "success", "data": {"result": [{"metric": {}}]}}), "no answer of a Prometheus"),
    (200, json.dumps({"status": "success", "data": None}), "no answer of a Prometheus"),
    (302, "", "no answer of a Prometheus"),
])
def test_what_is_no_answer(status: int, body: str, told: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    with pytest.raises(QueryFailed, match=told):
        asyncio.run(ask(handler))


def test_one_that_hangs_or_floods_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "DEADLINE_S", 0.2)
    monkeypatch.setattr(prometheus, "MAX_ANSWER_BYTES", 100)

    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async def flood(request: web.Request) -> web.Response:
        return web.Response(text="x" * 1000)

    with pytest.raises(QueryFailed, match="did not answer within"):
        asyncio.run(ask(silent))
    with pytest.raises(QueryFailed, match="larger than 100 bytes"):
        asyncio.run(ask(flood))


@pytest.mark.parametrize(("address", "told"), [
    ("http://127.0.0.1:1", "cannot be asked"), ("ftp://x", "no address of a Prometheus"), ("", "no address"),
    ("http://[::1", "cannot be asked"), ("http://127.0.0.1:99999", "cannot be asked"),
])
def test_an_address_where_nobody_is(address: str, told: str) -> None:
    with pytest.raises(QueryFailed, match=told):
        asyncio.run(prometheus.query(address, "up"))


# --- a real one


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that reads a page of ours every 200 ms."""
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "page", "honor_labels": True, "metrics_path": "/page",
                            "static_configs": [{"targets": ["127.0.0.1:PAGE"]}]}]}).replace(
                                "PAGE", str(page_port := free_port())))
    page = subprocess.Popen(  # a counter that grows by 10 a second
        ["python3", "-c", f"import http.server, time\nstart = time.time()\n"
         f"class H(http.server.BaseHTTPRequestHandler):\n"
         f"    def do_GET(self):\n        self.send_response(200); self.end_headers()\n"
         f"        self.wfile.write(({PAGE!r} % ((time.time() - start) * 10)).encode())\n"
         f"    def log_message(self, *a): pass\n"
         f"http.server.HTTPServer(('127.0.0.1', {page_port}), H).serve_forever()"], stderr=subprocess.DEVNULL)
    try:
        with running("prometheus", tmp_path, free_port(), f"--config.file={tmp_path}/prometheus.yml",
                     f"--storage.tsdb.path={tmp_path}/data") as address:
            yield f"http://{address}"
    finally:
        page.terminate()
        page.wait(20)


def _eventually(address: str, query: str) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if found := asyncio.run(prometheus.query(address, query)):
                return found
        except QueryFailed:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no answer to {query}")


def _query(kind: str, name: str, pods: tuple[str, ...] = ()) -> str:
    source = {"metric": {"name": name}, "target": {"averageValue": "1"},
              "describedObject": {"kind": "Service", "name": "web"}}
    spec = Autoscaler.of({"metadata": {"name": "web"}, "spec": {"metrics": [{"type": kind, kind.lower(): source}]}}
                         ).spec.metrics[0]
    assert spec.named is not None
    return promql.query(spec, spec.named, "ns", pods)


def test_a_real_prometheus_understands_the_queries(real: str) -> None:
    found = _eventually(real, _query("Pods", "load", ("web-1", "web-2")))
    assert sorted((labels["pod"], value) for labels, value in found) == [
        ("web-1", Decimal(3)), ("web-2", Decimal("4.5"))]
    ((_, total),) = _eventually(real, _query("External", "load"))
    assert total == Decimal("107.5")
    ((_, rate),) = _eventually(real, _query("Object", "hits"))
    assert 0 < rate < 15  # of a series that is younger than the window
    with pytest.raises(QueryFailed, match="refused: .*parse error"):
        asyncio.run(prometheus.query(real, "sum by ("))
