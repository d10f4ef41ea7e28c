"""What Prometheus and Alertmanager ask of the control plane, over its real HTTP face; notifications by a real
Alertmanager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from server_world import deployment
from support.page_world import PageWorld
from support.prometheus import free_port, running

from testbed.api import resources as r
from testbed.api.process_logs import JsonLines
from testbed.experiment.schema import EXPERIMENTS
from testbed.machines.monitoring_config import Access, alertmanager_config, text

Json = dict[str, Any]
ALERTS, TARGETS = "/testbed/v1/alerts", "/testbed/v1/targets"
BEGAN = "2026-11-29T12:00:03.214Z"
DOWN: Json = {"labels": {"alertname": "DeploymentDown", "job": "testbed", "instance": "t", "namespace": "default",
                         "deployment": "web"},
              "annotations": {"summary": "No replica of default/web is ready"}}


class Cluster:
    def __init__(self, world: PageWorld, session: aiohttp.ClientSession) -> None:
        self.world, self._session = world, session

    async def ask(self, method: str, path: str, *, token: str = "", **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.world.token}"}
        async with self._session.request(method, self.world.url + path, headers=headers, **more) as answer:
            return answer.status, await answer.json(content_type=None)

    async def notify(self, *alerts: Json) -> tuple[int, Any]:
        return await self.ask("POST", ALERTS, json={"version": "4", "alerts": alerts})

    def events(self) -> list[Json]:
        return [item.value for item in self.world.registry.list(r.EVENTS).items]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    world = PageWorld(tmp_path)
    async with world.serving(), aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls())) as session:
        yield Cluster(world, session)


def firing(status: str = "firing", **changes: Any) -> Json:
    return {**DOWN, "status": status, "startsAt": BEGAN, "endsAt": "0001-01-01T00:00:00Z", **changes}


async def test_targets_are_the_parts_that_there_are(cluster: Cluster) -> None:
    cluster.world.node("node-1")
    status, found = await cluster.ask("GET", TARGETS)
    assert status == 200
    assert {(group["labels"]["part"], group["labels"].get("node")) for group in found} == {
        ("api", None), ("agent", "node-1"), ("gateway", None)}
    assert {target for group in found for target in group["targets"]} == {
        cluster.world.url.removeprefix("https://")}
    cluster.world.registry.create(r.INGRESSES, {
        "metadata": {"name": "web"}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
        "default")
    cluster.world.registry.delete_object(r.NODES, "node-1", None, grace_s=None, propagation="Background", uid="")
    _, found = await cluster.ask("GET", TARGETS)
    assert {group["labels"]["part"] for group in found} == {"api", "gateway", "haproxy"}


async def test_an_alert_is_an_event_of_its_object_and_its_end_another(cluster: Cluster) -> None:
    cluster.world.registry.create(r.DEPLOYMENTS, deployment(), "default")
    uid = cluster.world.registry.get(r.DEPLOYMENTS, "web", "default").value["metadata"]["uid"]
    before_ns = asyncio.get_running_loop().time() * 1e9
    assert await cluster.notify(firing()) == (200, {"told": 1})
    (event,) = cluster.events()
    assert (event["reason"], event["type"], event["count"]) == ("AlertFiring", "Warning", 1)
    assert event["involvedObject"] | {"resourceVersion": ""} == {
        "kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "namespace": "default", "uid": uid,
        "resourceVersion": ""}
    told_ns = float(event["metadata"]["annotations"]["testbed.io/monotonic-ns"])
    assert before_ns <= told_ns <= asyncio.get_running_loop().time() * 1e9, "the moment is that of its arrival"
    await cluster.notify(firing("resolved", endsAt="2026-11-29T12:01:00Z"))
    assert sorted(item["reason"] for item in cluster.events()) == ["AlertFiring", "AlertResolved"]


async def test_an_alert_that_is_told_again_is_one_event_counted_up(cluster: Cluster) -> None:
    await cluster.notify(firing(), firing())
    (first,) = cluster.events()
    cluster.world.clock.advance(300)
    await cluster.notify(firing())
    (again,) = cluster.events()
    assert (first["count"], again["count"]) == (1, 2)
    assert again["metadata"]["annotations"] == first["metadata"]["annotations"], "it has not happened again"
    assert again["eventTime"] == first["eventTime"] and again["lastTimestamp"] > first["lastTimestamp"]
    await cluster.notify(firing(startsAt="2026-11-29T13:00:00Z"))
    assert sorted(item["count"] for item in cluster.events()) == [1, 2], "another firing is another event"


async def test_a_burnt_error_budget_is_told_of_the_namespace_of_the_newest_run(cluster: Cluster) -> None:
    registry = cluster.world.registry
    for namespace, hour in (("shop", 12), ("default", 11)):
        if namespace != "default":
            registry.create(r.NAMESPACES, {"metadata": {"name": namespace}})
        registry.create(EXPERIMENTS, {"metadata": {"name": f"crash-{hour}"}, "spec": {}}, namespace)
        registry.patch(EXPERIMENTS, f"crash-{hour}", {"status": {
            "phase": "Running", "experiment": "crash", "startedAt": f"2026-11-29T{hour}:00:00Z"}}, namespace,
            subresource="status")
    await cluster.notify(*(firing(labels={"alertname": experiment, "experiment": experiment}, annotations={})
                           for experiment in ("crash", "hang")))
    assert {event["message"]: event["involvedObject"]["name"] for event in cluster.events()} == {
        "crash": "shop", "hang": "default"}


async def test_the_log_tells_an_alert_once_with_whom_it_is_about(
    cluster: Cluster, caplog: pytest.LogCaptureFixture,
) -> None:
    cluster.world.registry.create(r.DEPLOYMENTS, deployment(), "default")
    with caplog.at_level("INFO", "testbed.server.monitoring_paths"):
        await cluster.notify(firing())
        await cluster.notify(firing())
    (line,) = [json.loads(JsonLines("api", {}).format(record)) for record in caplog.records]
    assert line["message"] == "AlertFiring: DeploymentDown: No replica of default/web is ready"
    assert line["object"] == "Deployment/default/web" and line["reason"] == "AlertFiring"


async def test_an_alert_about_what_is_going_away_is_told_of_what_stays(cluster: Cluster) -> None:
    registry = cluster.world.registry
    registry.create(r.NAMESPACES, {"metadata": {"name": "shop", "finalizers": ["test/keeps-it"]}})
    registry.create(r.DEPLOYMENTS, deployment(), "shop")
    registry.delete_object(r.NAMESPACES, "shop", None, grace_s=None, propagation="Background", uid="")
    await cluster.notify(firing(labels={**DOWN["labels"], "namespace": "shop"}))
    (event,) = cluster.events()
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Namespace", "shop")


@pytest.mark.parametrize(("body", "status", "says"), [
    (b"", 400, "must be JSON"), (b"{", 400, "must be JSON"), (b"[]", 400, "not a JSON object"),
    (b'{"version":"3","alerts":[]}', 400, "version"), (b'{"version":"4"}', 400, "alerts"),
    (json.dumps({"version": "4", "alerts": [{"status": "firing"}]}).encode(), 400, "alerts[0].labels"),
    (b"[" * 5000, 400, "levels deep"), (b" " * (1024 * 1024 + 1), 413, "limit"),
])
async def test_what_is_no_notification_is_refused_and_leaves_no_trace(
    cluster: Cluster, body: bytes, status: int, says: str,
) -> None:
    got, answer = await cluster.ask("POST", ALERTS, data=body)
    assert got == status and says in answer["message"] and answer["kind"] == "Status"
    assert cluster.events() == []


async def test_strangers_are_told_nothing_and_heard_by_nobody(cluster: Cluster) -> None:
    for method, path in (("GET", TARGETS), ("POST", ALERTS)):
        status, answer = await cluster.ask(method, path, token="x" * 32, data=b"{}" if method == "POST" else None)
        assert status == 401 and "targets" not in json.dumps(answer)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", f"{TARGETS}/more", 404), ("POST", f"{ALERTS}/more", 404), ("POST", TARGETS, 405), ("GET", ALERTS, 405)])
async def test_other_ways_to_ask_are_refused(cluster: Cluster, method: str, path: str, status: int) -> None:
    assert (await cluster.ask(method, path))[0] == status


async def test_a_real_alertmanager_tells_an_alert_and_its_end(cluster: Cluster, tmp_path: Path) -> None:
    world = cluster.world
    world.registry.create(r.DEPLOYMENTS, deployment(), "default")
    access = Access(world.url.removeprefix("https://"), world.instance.name, str(world.instance.token_file),
                    str(world.instance.ca_certificate))
    (tmp_path / "alertmanager.yml").write_text(text(alertmanager_config([access])))
    with running("alertmanager", tmp_path, free_port(), f"--config.file={tmp_path / 'alertmanager.yml'}",
                 f"--storage.path={tmp_path / 'data'}", "--cluster.listen-address=") as address:
        async with aiohttp.ClientSession() as session:
            async def post(*alerts: Json) -> None:
                async with session.post(f"http://{address}/api/v2/alerts", json=alerts) as answer:
                    assert answer.status == 200, await answer.text()

            began = datetime.now(UTC)
            stranger = {**DOWN, "labels": {**DOWN["labels"], "instance": "another", "deployment": "theirs"}}
            await post(*({**alert, "startsAt": began.isoformat()} for alert in (DOWN, stranger)))
            await until(lambda: len(cluster.events()) == 1)
            await post({**DOWN, "startsAt": began.isoformat(),
                        "endsAt": (began + timedelta(milliseconds=1)).isoformat()})
            await until(lambda: len(cluster.events()) == 2)
    told = {event["reason"]: event for event in cluster.events()}
    assert set(told) == {"AlertFiring", "AlertResolved"}
    for event in told.values():
        assert event["message"] == "DeploymentDown: No replica of default/web is ready"
        assert event["involvedObject"]["kind"] == "Deployment" and event["involvedObject"]["name"] == "web"
        since = datetime.fromisoformat(event["metadata"]["annotations"]["testbed.io/alert-starts-at"])
        assert abs(since - began) < timedelta(milliseconds=1)


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
