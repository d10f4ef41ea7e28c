"""What the gateway counts of itself, and what is made of it for Prometheus, without a container."""

from __future__ import annotations

import asyncio
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from gateway_modules import DNS, GATEWAY, INGRESS, INGRESS_CONFIG, SETTINGS
from prometheus_client.parser import text_string_to_metric_families

from testbed.network.gateway_metrics import FAMILIES, gateway_text
from testbed.network.line import ask_once

Json = dict[str, Any]
PORT: Json = {"name": "default/web:http", "address": "10.9.128.20", "protocol": "tcp", "port": 80, "node_port": 0,
              "affinity_s": 0, "endpoints": [["10.9.1.7", 8080], ["10.9.1.8", 8080]]}


def gateway(apply: Any = lambda text: None) -> Any:
    zone = DNS.Zone("cluster.local", {"a": {"web.default.svc.cluster.local": ["10.9.128.20"]}})
    return GATEWAY.Gateway(SETTINGS, apply, DNS.DnsServer(zone, []))


def program(*services: Json, records: Json | None = None) -> Json:
    return {"op": "program", "revision": 1, "services": services, "records": records}


def read(answer: Json) -> dict[str, Any]:
    """Samples by name, with their labels' values where they have any."""
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(gateway_text(answer["metrics"]).decode()):
        for sample in family.samples:
            values = tuple(sample.labels.values())
            found.setdefault(sample.name, {})[values[0] if len(values) == 1 else values] = sample.value
    return found


async def test_states_are_counted_by_what_came_of_them() -> None:
    refusing = False

    def apply(text: str) -> None:
        if refusing:
            raise RuntimeError("nftables: no")

    asked = gateway(apply)
    assert () not in read(asked.handle({"op": "metrics"})).get("testbed_gateway_state_age_seconds", {})
    asked.handle(program(PORT))
    asked.handle(program(PORT))
    refusing = True
    with pytest.raises(RuntimeError):
        asked.handle(program())
    with pytest.raises(KeyError):
        asked.handle({"op": "program"})
    found = read(asked.handle({"op": "metrics"}))
    assert found["testbed_gateway_states_total"] == {"applied": 1, "unchanged": 1, "refused": 2}
    assert found["testbed_gateway_nftables_errors_total"] == {(): 1}
    assert found["testbed_gateway_service_ports"] == {(): 1}
    assert found["testbed_gateway_endpoints"] == {(): 2}
    assert found["kubeproxy_sync_proxy_rules_duration_seconds_count"] == {(): 1}
    assert 0 <= found["testbed_gateway_state_age_seconds"][()] < 60
    assert found["testbed_loop_lag_seconds"] == {"gateway": 0}


async def test_answers_of_dns_are_counted_by_code_and_transport() -> None:
    asked = gateway()

    def query(name: str) -> bytes:
        asked_for = bytes(DNS.encode_name(name))
        return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + asked_for + struct.pack("!2H", DNS.A, 1)

    for name in ("web.default.svc.cluster.local", "nobody.default.svc.cluster.local"):
        asked._dns.datagram_received(query(name), ("10.9.1.7", 5353))
    asked._dns.datagram_received(query("example.org"), ("10.9.1.7", 5353))  # nobody upstream: a failure
    await asyncio.gather(*asked._dns._asking)
    server = await asyncio.start_server(asked._dns.serve_tcp, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        packet = query("web.default.svc.cluster.local")
        writer.write(struct.pack("!H", len(packet)) + packet)
        await reader.readexactly(struct.unpack("!H", await reader.readexactly(2))[0])
        writer.close()
    found = read(asked.handle({"op": "metrics"}))
    assert found["testbed_gateway_dns_queries_total"] == {"udp": 3, "tcp": 1}
    assert found["testbed_gateway_dns_answers_total"] == {"NOERROR": 2, "NXDOMAIN": 1, "SERVFAIL": 1}


async def test_counts_pass_the_control_socket_and_promtool(tmp_path: Path) -> None:
    asked, socket = gateway(), tmp_path / "control.sock"
    server = await asyncio.start_unix_server(asked.serve, socket)
    async with server:
        answer = await ask_once(socket, {"op": "metrics"}, 5.0)
        assert (await ask_once(socket, {"op": "haproxy"}, 5.0)) == {"haproxy": None}
        assert "error" in await ask_once(socket, {"op": "program"}, 5.0)
    text = gateway_text(answer["metrics"]).decode()
    for family in FAMILIES:
        assert f"# TYPE {family.name} {family.type}\n" in text
    said = b""
    if promtool := shutil.which("promtool"):
        checking = await asyncio.create_subprocess_exec(
            promtool, "check", "metrics", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT)
        said, _ = await checking.communicate(text.encode())
    assert said == b""


async def test_nobody_at_the_socket_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await ask_once(tmp_path / "control.sock", {"op": "metrics"}, 5.0)


@pytest.mark.parametrize("counts", [{}, {"states": 3}, {"states": {}, "applies": None, "process": 1, "ingress": []}])
def test_counts_of_another_form_are_refused_in_words(counts: Json) -> None:
    with pytest.raises(ValueError, match="counts are of another form"):
        gateway_text(counts)


def test_haproxys_answer_is_read_whole_or_not_at_all() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
    assert INGRESS.read_http(head + b"\r\nhaproxy_up 1\n") == "haproxy_up 1\n"
    pieces = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhapro\r\nA\r\nxy_up 1\nxx\r\n0\r\n\r\n"
    assert INGRESS.read_http(pieces) == "haproxy_up 1\nxx"
    for broken in (b"", b"HTTP/1.1 503 Gone\r\n\r\n", head, pieces[:-8]):
        with pytest.raises(ValueError):
            INGRESS.read_http(broken)


@pytest.mark.parametrize("default", ["", "p"])
def test_haproxy_shows_its_own_statistics_on_a_socket(default: str) -> None:
    plan = {"routes": [], "default": default, "pools": [{"name": "p", "endpoints": []}], "certificates": []}
    text, _ = INGRESS_CONFIG.render(plan, {"p": [None]}, [])
    assert f"frontend metrics\n bind unix@{INGRESS_CONFIG.METRICS} mode 600\n" in text
    assert text.index("default_backend nobody") < text.index("frontend metrics") < text.index("backend nobody\n ")


async def test_a_running_haproxy_is_asked_for_them(tmp_path: Path) -> None:
    """HAProxy of this machine, where there is one, with the very configuration."""
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed here; tests/network/test_network_ingress_engine.py asks the image's")
    plan = {"routes": [], "default": "p", "certificates": [],
            "pools": [{"name": "p", "endpoints": [["127.0.0.1", 1]]}]}
    text, _ = INGRESS_CONFIG.render(plan, {"p": [("127.0.0.1", 1), None]}, [])
    text = text.replace("bind :80", f"bind unix@{tmp_path}/front.sock").replace("/run/ingress", str(tmp_path))
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(haproxy, "-db", "-q", "-f", str(file))
    try:
        async with asyncio.timeout(10):
            while not (tmp_path / "metrics.sock").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        body = INGRESS.read_http(await INGRESS.asked(str(tmp_path / "metrics.sock"), INGRESS.METRICS_QUESTION))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    servers = {sample.labels["server"] for family in text_string_to_metric_families(body)
               for sample in family.samples if family.name == "haproxy_server_status"}
    assert servers == {"s1"}, "a slot that is free is no server"
