"""HAProxy in the gateway on a real engine: routes, reloads without loss, its death, TLS, what annotations do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gateway_world import open_gateway, tell
from prometheus_client.parser import text_string_to_metric_families
from support.certificates import self_signed

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.protocol import Engine

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]
Json = dict[str, Any]
CLOSED = 9  # a port on which no pod listens


@dataclass
class World:
    """A gateway, and pods ``p1`` to ``p3`` that answer, ``bad`` and ``worse`` that answer 500."""

    instance: Instance
    engine: Engine
    pods: dict[str, str] = field(default_factory=dict)  # name: address
    revision: int = 0

    async def program(self, *pools: Json, routes: tuple[Json, ...] = (), certificates: tuple[Json, ...] = ()) -> Json:
        return await self.send({
            "routes": list(routes) or [self.route(str(pool["name"]), host=f"{pool['name']}.com") for pool in pools],
            "default": "", "pools": list(pools), "certificates": list(certificates)})

    async def send(self, plan: Json | None) -> Json:
        self.revision += 1
        return await tell(self.instance, {"op": "ingress", "revision": self.revision, "plan": plan})

    def pool(self, name: str, *pods: str, **more: Any) -> Json:
        """``pod:9``: its closed port."""
        parts = [pod.partition(":") for pod in pods]
        return {"name": name, "endpoints": [[self.pods[pod], int(port or 8080)] for pod, _, port in parts], **more}

    @staticmethod
    def route(pool: str, *, host: str = "", path: str = "", exact: bool = False) -> Json:
        return {"host": host, "path": path, "exact": exact, "pool": pool, "canary": "", "weight": 0}

    def get(self, host: str, path: str = "/") -> tuple[int, str]:
        """(status, body); (0, error) when there was no answer."""
        connection = http.client.HTTPConnection(self.instance.gateway_address, 80, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    async def many(self, host: str, count: int) -> Counter[int]:
        return await asyncio.to_thread(lambda: Counter(self.get(host)[0] for _ in range(count)))

    async def pods_of(self, host: str, count: int = 30) -> set[str]:
        def ask() -> set[str]:
            return {json.loads(text)["pod"] for status, text in (self.get(host) for _ in range(count)) if status == 200}

        return await asyncio.to_thread(ask)


PODS = {"p1": "0", "p2": "0", "p3": "0", "bad": "1", "worse": "1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_gateway("ingress", tmp_path_factory.mktemp("gw")) as (instance, engine, _):
        world = World(instance, engine)
        base = instance.subnet.split(".0.0")[0]
        for number, (name, ratio) in enumerate(PODS.items(), 11):
            world.pods[name] = f"{base}.1.{number}"
            await engine.start(await engine.create(ContainerSpec(
                name=f"{instance.network}-{name}", image="sample:v1", labels={labels.INSTANCE: instance.id},
                env=(("POD_NAME", name), ("ERROR_RATIO", ratio)), network=instance.network, address=world.pods[name],
                cgroup_parent=instance.cgroup)))
        async with asyncio.timeout(20):
            for address in world.pods.values():
                while not await asyncio.to_thread(_listens, address):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        yield world


def _listens(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, 8080), timeout=1):
        return True
    return False


async def haproxies(world: World) -> list[int]:
    """Process ids on this machine, the master's first."""
    return haproxies_beside((await world.engine.inspect(world.instance.gateway_container)).pid)


def haproxies_beside(gateway: int) -> list[int]:
    network = Path(f"/proc/{gateway}/ns/net").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text() == "haproxy\n" and (folder / "ns" / "net").readlink() == network:
                found.append(int(folder.name))
    return sorted(found)


async def test_haproxys_own_statistics_come_through_the_gateway(world: World) -> None:
    await world.program(world.pool("stats", "p1", "p2"))
    assert (await world.many("stats.com", 10)) == {200: 10}
    text = (await tell(world.instance, {"op": "haproxy"}))["haproxy"]
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    answered = sum(item.value for item in found if item.name == "haproxy_server_http_responses_total"
                   and item.labels["proxy"] == "stats" and item.labels["code"] == "2xx")
    assert answered == 10
    servers = {item.labels["server"] for item in found
               if item.name == "haproxy_server_status" and item.labels["proxy"] == "stats"}
    assert servers == {"s1", "s2"}, "slots that are free are none"
    counts = (await tell(world.instance, {"op": "metrics"}))["metrics"]
    assert counts["ingress"]["running"] and counts["ingress"]["programs"]
    await world.send(None)


async def test_nothing_runs_without_an_ingress_and_routes_are_obeyed_with_one(world: World) -> None:
    assert await haproxies(world) == []
    routes = (world.route("a", host="x.com", path="/healthz", exact=True), world.route("b", host="x.com"),
              world.route("a", host="*.y.com"))
    answer = await world.program(world.pool("a", "p1"), world.pool("b", "p2"), routes=routes)
    assert answer["how"] == "start" and len(await haproxies(world)) == 2
    for host, path, wanted in (("X.com:80", "/", "p2"), ("any.y.com", "/", "p1")):
        assert json.loads(world.get(host, path)[1])["pod"] == wanted
    assert world.get("x.com", "/healthz") == (200, "ok") and world.get("x.com", "/healthz/")[0] == 404
    for host in ("y.com", "a.b.y.com", "z.com"):
        assert world.get(host) == (404, "no Ingress has this host and path")
    connection = http.client.HTTPConnection("127.0.0.1", world.instance.ingress_ports[0], timeout=5)
    connection.request("GET", "/", headers={"Host": "x.com"})
    assert connection.getresponse().status == 200
    connection.close()
    assert (await world.send(None))["how"] == "stop" and await haproxies(world) == []


async def test_endpoints_change_without_a_reload_and_none_left_is_503(world: World) -> None:
    await world.program(world.pool("a", "p1"))
    before = await haproxies(world)
    assert (await world.program(world.pool("a", "p2", "p3")))["how"] == "runtime"
    assert await world.pods_of("a.com") == {"p2", "p3"}
    assert (await world.program(world.pool("a")))["how"] == "runtime"
    assert world.get("a.com")[0] == 503
    assert (await world.program(world.pool("a", "p1")))["how"] == "runtime"
    assert await world.pods_of("a.com") == {"p1"} and await haproxies(world) == before


@contextlib.contextmanager
def clients(world: World, host: str) -> Iterator[list[str]]:
    """One that keeps its connection and one that does not, asking all the time; what went wrong."""
    wrong: list[str] = []
    stop = threading.Event()

    def kept() -> None:
        connection = http.client.HTTPConnection(world.instance.gateway_address, 80, timeout=5)
        while not stop.is_set():
            try:
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    wrong.append(f"kept: {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"kept: {error!r}")
                connection.close()
            time.sleep(0.002)
        connection.close()

    def fresh() -> None:
        while not stop.is_set():
            status, text = world.get(host)
            if status != 200:
                wrong.append(f"fresh: {status} {text}")

    threads = [threading.Thread(target=one) for one in (kept, fresh)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def test_no_request_is_lost_by_reloads_and_changes_of_endpoints(world: World) -> None:
    await world.program(world.pool("a", "p1", "p2"))
    hows = []
    with clients(world, "a.com") as wrong:
        for turn in range(10):
            others = [world.pool(f"b{turn}", "p3")] if turn % 2 else []
            hows.append((await world.program(world.pool("a", "p1", "p2"), *others))["how"])
            left = ("p3",) if turn % 3 else ("p1", "p3")
            hows.append((await world.program(world.pool("a", *left), *others))["how"])
            await asyncio.sleep(0.1)
    assert wrong == [] and hows.count("reload") >= 8 and hows.count("runtime") >= 8, (wrong, hows)


async def test_haproxy_that_was_killed_comes_back_with_all_it_had(world: World) -> None:
    routes = (world.route("a", host="a.com"), world.route("b", host="b.com"))
    await world.program(world.pool("a", "p1"), world.pool("b", "p2"), routes=routes)
    await world.program(world.pool("a", "p3"), world.pool("b", "p2"), routes=routes)
    for victim in (0, 1):  # the master, then a worker
        before = await haproxies(world)
        os.kill(before[victim], signal.SIGKILL)
        async with asyncio.timeout(15):
            while set(await haproxies(world)) & set(before) or world.get("a.com")[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await world.pods_of("a.com", 5) == {"p3"} and await world.pods_of("b.com", 5) == {"p2"}


def served(world: World, name: str) -> str:
    """The common name of the certificate that a client asking for ``name`` is given."""
    from cryptography import x509

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((world.instance.gateway_address, 443), timeout=5) as plain, \
            context.wrap_socket(plain, server_hostname=name) as wrapped:
        data = wrapped.getpeercert(binary_form=True)
        assert data is not None
        found = x509.load_der_x509_certificate(data).subject
        return str(found.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def test_certificates_by_name_and_one_that_is_none_is_told(world: World) -> None:
    broken = "".join(self_signed("c.com")).replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\nX", 1)
    answer = await world.program(world.pool("a", "p1"), certificates=(
        {"name": "default/a", "hosts": ["a.com"], "pem": "".join(self_signed("a.com"))},
        {"name": "default/b", "hosts": ["*.b.com"], "pem": "".join(self_signed("b.com"))},
        {"name": "default/c", "hosts": ["c.com"], "pem": broken}))
    assert answer["bad_certificates"] == ["default/c"]
    assert [served(world, name) for name in ("a.com", "x.b.com")] == ["a.com", "b.com"]
    with pytest.raises(OSError):
        served(world, "other.com")


async def test_retries_stay_within_their_budget(world: World) -> None:
    """Every second attempt meets a closed port."""
    await world.program(world.pool("a", "p1", f"p2:{CLOSED}"))
    assert (await world.many("a.com", 40))[503] == 20  # off: nothing is hidden
    await world.program(world.pool("a", "p1", f"p2:{CLOSED}", retry_percent=100))
    assert (await world.many("a.com", 40))[503] == 0
    await world.program(world.pool("b", "p1", f"p2:{CLOSED}", retry_percent=10))
    failed = (await world.many("b.com", 200))[503]
    assert 60 <= failed <= 97  # a hundred would; about a tenth of all are saved


async def test_endpoints_that_fail_are_ejected_up_to_the_cap_and_come_back(world: World) -> None:
    outliers = {"errors": 3, "ejection_s": 1.0, "cap_percent": 10}
    await world.program(world.pool("a", "p1", "p2", "bad", outliers=outliers))
    await world.many("a.com", 9)
    assert (await world.many("a.com", 30)) == {200: 30}
    await asyncio.sleep(1.2)
    assert 1 <= (await world.many("a.com", 30))[500] <= 3
    await world.program(world.pool("b", "p1", "bad", "worse", outliers=outliers | {"ejection_s": 60.0}))
    await world.many("b.com", 12)
    assert 10 <= (await world.many("b.com", 30))[500] <= 20  # one of three may be ejected, not two
    await world.program(world.pool("c", "p1", "bad", "worse", outliers=outliers | {"cap_percent": 67}))
    await world.many("c.com", 12)
    assert (await world.many("c.com", 30)) == {200: 30}


async def test_a_breaker_opens_on_failures_and_closes_again(world: World) -> None:
    await world.program(world.pool("a", "p1", "bad", breaker={"percent": 40, "open_s": 1.0}))
    found = await world.many("a.com", 60)
    assert found[503] >= 30 and found[200] + found[500] >= 19, found
    assert world.get("a.com") == (503, "circuit open")
    await asyncio.sleep(1.2)
    assert (await world.many("a.com", 10))[503] == 0


async def test_a_client_beyond_the_limit_is_refused(world: World) -> None:
    await world.program(world.pool("a", "p1", limit={"of": "default_web", "requests": 20, "period_s": 60}))
    assert await world.many("a.com", 50) == {200: 20, 429: 30}


async def test_no_endpoint_gets_more_connections_than_it_may(world: World) -> None:
    await world.program(world.pool("a", "p1", max_connections=1))
    host = world.pods["p1"]

    def control(path: str) -> None:
        connection = http.client.HTTPConnection(host, 8080, timeout=5)
        connection.request("POST", path)
        connection.getresponse().read()
        connection.close()

    await asyncio.to_thread(control, "/control/slow?ms=700")
    try:
        found = Counter(status for status, _ in await asyncio.gather(
            *(asyncio.to_thread(world.get, "a.com") for _ in range(5))))
    finally:
        await asyncio.to_thread(control, "/control/reset")
    assert found[200] == 2 and found[503] == 3, found  # one is served, one waits under a second, the rest do not
