"""The HTTP face: paths, forms, watches, limits, and who is let in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_world import World, http_world, make_instance
from server_world import deployment, pod, service

from testbed.api import resources as r
from testbed.errors import Gone, UsageError
from testbed.server import bodies, serving
from testbed.server import http as face_module
from testbed.server.authentication import Gatekeeper
from testbed.server.discovery import AGGREGATED
from testbed.server.kubeconfig import write_kubeconfig
from testbed.server.serving import serve

Json = dict[str, Any]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with http_world(tmp_path) as made:
        yield made


# --- who is let in


async def every_path(world: World) -> list[str]:
    """All paths that discovery and OpenAPI tell of, and those beside them."""
    paths = ["/", "/api", "/apis", "/version", "/metrics", "/openapi/v3", "/nonsense", "/apis/authorization.k8s.io/v1"]
    _, index, _ = await world.ask("GET", "/openapi/v3")
    for name, entry in index["paths"].items():
        paths += [f"/{name}", entry["serverRelativeURL"]]
        _, document, _ = await world.ask("GET", entry["serverRelativeURL"])
        paths += [path.replace("{namespace}", "default").replace("{name}", "kubernetes") for path in document["paths"]]
    return [*paths, f"{PODS}/a/log", f"{PODS}/a/exec", f"{PODS}/a/status", f"{PODS}?watch=true",
            "/api/v1/nodes/n/proxy/metrics"]


async def test_everything_but_liveness_needs_the_token(world: World) -> None:
    paths = await every_path(world)
    assert len(paths) > 60
    for path in paths:
        for token in ("", "wrong", world.token[:-1], world.token + "x", "\u00fc"):
            status, _, _ = await world.ask("GET", path, token=token)
            assert status == 401, path
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await world.ask(method, PODS, token="wrong", json=pod()))[0] == 401
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await world.ask("GET", path, token="wrong"))[1] == {"text": "ok"}


async def test_a_token_in_the_url_or_of_another_scheme_is_none(world: World) -> None:
    assert (await world.ask("GET", f"{PODS}?token={world.token}&access_token={world.token}", token=""))[0] == 401
    for header in (f"Basic {world.token}", world.token, f"Bearer {world.token} x"):
        assert (await world.ask("GET", PODS, headers={"Authorization": header}))[0] == 401


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "evil.example:443"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""},
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1"},
])
async def test_other_hosts_and_origins_are_refused_whatever_they_hold(world: World, headers: Json) -> None:
    for method, path in (("GET", "/healthz"), ("GET", PODS), ("POST", PODS)):
        status, body, answer = await world.ask(method, path, headers=headers, json=pod() if method == "POST" else None)
        assert status in (400, 403) and "Access-Control-Allow-Origin" not in answer.headers
    assert world.registry.list(r.PODS).items == []


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                                   "application/yaml"])
async def test_only_json_bodies_are_read(world: World, media: str) -> None:
    status, body, _ = await world.ask("POST", PODS, data=json.dumps(pod()).encode(), headers={"Content-Type": media})
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")
    assert world.registry.list(r.PODS).items == []


async def test_protobuf_and_server_side_apply_name_their_way_out(world: World) -> None:
    _, body, _ = await world.ask("POST", PODS, data=b"k8s\x00",
                                 headers={"Content-Type": "application/vnd.kubernetes.protobuf"})
    assert "--dry-run=client -o yaml" in body["message"]
    _, body, _ = await world.ask("PATCH", f"{PODS}/a", data=b"{}",
                                 headers={"Content-Type": "application/apply-patch+yaml"})
    assert "without --server-side" in body["message"]


async def test_reading_changes_nothing(world: World) -> None:
    world.registry.create(r.PODS, pod(), "default")
    revision = world.registry.store.revision
    for path in (f"{PODS}/a?gracePeriodSeconds=0", f"{PODS}/a/eviction", f"{PODS}/a/binding",
                 f"{PODS}/a?method=DELETE"):
        await world.ask("GET", path, headers={"X-HTTP-Method-Override": "DELETE"})
    assert world.registry.store.revision == revision


async def test_the_api_listens_on_loopback_only(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(UsageError, match="this machine only"):
            await serve(lambda request: None, host, 0, certificate=instance.certificate,
                        # type: ignore[arg-type, return-value]
                        key=instance.certificate_key)
    with pytest.raises(ValueError, match="16 characters"):
        Gatekeeper("")


def test_secret_files_are_the_owners_alone(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    write_kubeconfig(instance)
    assert instance.directory.stat().st_mode & 0o777 == 0o700
    for file in (instance.token_file, instance.agent_token_file, instance.certificate_key, instance.kubeconfig,
                 instance.file):
        assert file.stat().st_mode & 0o777 == 0o600, file
    token, other = instance.token_file.read_text(), instance.agent_token_file.read_text()
    assert len(token) >= 43 and token != other


async def test_neither_token_nor_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    canary = "canary-19ab"
    secrets = "/api/v1/namespaces/default/secrets"
    for body in ({"metadata": {"name": "s"}, "stringData": {"k": canary}},
                 {"metadata": {"name": "t"}, "data": {"k": canary}}):
        await world.ask("POST", secrets, json=body)
    await world.ask("POST", secrets, data=b'{"data": "' + canary.encode())
    _, table, _ = await world.ask("GET", secrets, headers={"Accept": TABLE})
    assert canary not in caplog.text and world.token not in caplog.text and canary not in json.dumps(table)


# --- bad input


@pytest.mark.parametrize(("data", "status"), [
    (b"[" * 100_000, 400), (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400), (b"x" * (4 * 1024 * 1024), 413), (b"", 400),
    (b"null", 400), (b"[]", 400), (b'"text"', 400), (b'{"metadata": 3}', 400), (b'{"spec": {"containers": {}}}', 400),
    (b'{"metadata":{"name":"a"},"spec":{"containers":[{"name":"b","image":"c","env":[' + b'{"name":"d"},' * 100_000
     + b'{"name":"d"}]}]}}', 201),
])
async def test_wrong_bodies_are_told_in_a_status(world: World, data: bytes, status: int) -> None:
    got, body, _ = await world.ask("POST", PODS, data=data, headers={"Content-Type": "application/json"})
    assert got == status and (body["kind"] == "Status") == (status != 201)


async def test_compressed_bodies_are_not_unpacked(world: World) -> None:
    status, _, _ = await world.ask("POST", PODS, data=b"\x1f\x8b", headers={
        "Content-Type": "application/json", "Content-Encoding": "gzip"})
    assert status == 400


async def test_a_body_that_does_not_come_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DEADLINE_S", 0.1)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    status, body, _ = await asyncio.wait_for(world.ask("POST", PODS, data=slow(), headers={
        "Content-Type": "application/json"}), 20)
    assert status == 400 and "did not arrive" in body["message"]


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/api/v1/nothing", 404), ("GET", "/apis/no.such.group/v1/x", 404), ("GET", f"{PODS}/missing", 404),
    ("GET", "/api/v1/namespaces/default/nodes", 404), ("GET", f"{PODS}/a/b/c/d", 404), ("GET", f"{PODS}//a", 404),
    ("GET", f"{PODS}?limit=x", 400), ("GET", f"{PODS}?fieldSelector=spec.nothing=1", 400),
    ("GET", f"{PODS}?labelSelector=a%3D%3D%3Db", 400),
    ("GET", f"{PODS}?continue=xyz", 400), ("GET", f"{PODS}?watch=1&resourceVersion=abc", 400),
    ("GET", f"{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 422),
    ("POST", "/api/v1/pods", 405), ("POST", f"{PODS}/a", 405), ("PUT", PODS, 405), ("POST", "/version", 405),
    ("PUT", f"{PODS}/a/log", 404),
    ("POST", f"{PODS}?fieldValidation=Maybe", 400), ("POST", f"{PODS}?dryRun=Some", 400),
    ("DELETE", f"{PODS}/a/status", 404),
    ("GET", "/../../etc/passwd", 404),     ("GET", "/api/v1/nodes/n/proxy/pods", 404),
])
async def test_wrong_requests(world: World, method: str, path: str, status: int) -> None:
    got, body, _ = await world.ask(method, path, json=pod() if method in ("POST", "PUT") else None)
    assert (got, body["kind"], body["code"]) == (status, "Status", status)


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/api/v1/nothing"), ("GET", f"{PODS}/a/ephemeralcontainers"), ("PATCH", f"{PODS}/a/ephemeralcontainers"),
])
async def test_what_is_not_served_is_not_found_with_details(world: World, method: str, path: str) -> None:
    """kubectl debug reads ``status.details`` of this answer without asking whether it is there."""
    await world.ask("POST", PODS, json=pod())
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    got, body, _ = await world.ask(method, path, headers=headers, data="{}" if method == "PATCH" else None)
    assert got == 404 and body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
        "message": "the server could not find the requested resource", "details": {}, "code": 404}


async def test_an_answer_in_a_form_nobody_has_is_not_acceptable(world: World) -> None:
    assert (await world.ask("GET", PODS, headers={"Accept": "application/vnd.kubernetes.protobuf"}))[0] == 406
    assert (await world.ask("GET", PODS,
                            headers={"Accept": "application/vnd.kubernetes.protobuf,application/json"}))[0] == 200


# --- limits


async def test_too_many_at_once_are_told_to_come_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_module, "MAX_WATCHES", 2)
    streams = [await world.session.get(f"{world.url}{PODS}?watch=true",
                                       headers={"Authorization": f"Bearer {world.token}"})
               for _ in range(2)]
    status, body, answer = await world.ask("GET", f"{PODS}?watch=true")
    assert (status, body["reason"], answer.headers["Retry-After"]) == (429, "TooManyRequests", "1")
    assert (await world.ask("GET", PODS))[0] == 200  # what does not watch is served on
    streams[0].close()

    async def admitted() -> bool:
        async with world.session.get(f"{world.url}{PODS}?watch=true",
                                     headers={"Authorization": f"Bearer {world.token}"}) as again:
            return again.status == 200

    async with asyncio.timeout(10):
        while not await admitted():  # the server notices that the first is gone
            pass
    streams[1].close()


async def test_connections_are_bounded_and_those_that_are_served_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await world.ask("GET", PODS))[0] == 200  # keeps its connection
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 1)
    async with aiohttp.ClientSession() as another:
        with pytest.raises(aiohttp.ClientConnectionError):
            await another.get(f"{world.url}/healthz", ssl=False)
    assert (await world.ask("GET", PODS))[0] == 200


async def test_many_watchers_and_objects_do_not_stop_the_api(world: World) -> None:
    for number in range(500):
        world.registry.create(r.CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}, "default")
    path = f"{world.url}/api/v1/configmaps?watch=true&resourceVersion={world.registry.store.revision}"
    streams = [await world.session.get(path, headers={"Authorization": f"Bearer {world.token}"}) for _ in range(100)]
    world.registry.create(r.CONFIG_MAPS, {"metadata": {"name": "news"}}, "default")
    async with asyncio.timeout(20):
        seen = [json.loads(await stream.content.readline())["object"]["metadata"]["name"] for stream in streams]
    assert seen == ["news"] * 100
    for stream in streams:
        stream.close()


async def test_a_watcher_that_does_not_read_is_told_gone_and_others_are_not_slowed(world: World) -> None:
    stream = world.registry.watch(r.CONFIG_MAPS, resource_version=str(world.registry.store.revision))
    for number in range(4200):
        world.registry.create(r.CONFIG_MAPS, {"metadata": {"name": f"n{number}"}}, "default")
    with pytest.raises(Gone):
        await stream.next()


# --- forms


async def test_discovery_in_both_forms(world: World) -> None:
    accept = AGGREGATED + ",application/json"
    for path, names in (("/api", {""}), ("/apis", {"apps", "policy", "discovery.k8s.io"})):
        _, body, answer = await world.ask("GET", path, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == AGGREGATED
        assert names <= {item["metadata"].get("name", "") for item in body["items"]}
    assert (await world.ask("GET", "/api"))[1]["versions"] == ["v1"]
    groups = (await world.ask("GET", "/apis"))[1]["groups"]
    assert "apps" in {group["name"] for group in groups}
    legacy = {item["name"]: item for item in (await world.ask("GET", "/api/v1"))[1]["resources"]}
    assert legacy["pods/eviction"] | {"group": "policy", "version": "v1", "kind": "Eviction"} == legacy["pods/eviction"]
    assert legacy["pods"]["shortNames"] == ["po"] and "watch" in legacy["pods"]["verbs"]


async def test_openapi_names_every_kinds_patch(world: World) -> None:
    _, index, _ = await world.ask("GET", "/openapi/v3")
    kinds = set()
    for entry in index["paths"].values():
        _, document, _ = await world.ask("GET", entry["serverRelativeURL"])
        for path in document["paths"].values():
            if "patch" in path:
                assert "fieldValidation" in {item["name"] for item in path["patch"]["parameters"]}
                kinds.add(path["patch"]["x-kubernetes-group-version-kind"]["kind"])
        text = json.dumps(document)
        assert all(f'"{name}"' in text for name in ("openapi", "info", "components"))
        for reference in set(_references(document)):
            assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    assert kinds == {resource.kind for resource in r.BUILT_IN}


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in _references(item)]
    return [found for item in value for found in _references(item)] if isinstance(value, list) else []


async def test_tables_have_upstreams_columns(world: World) -> None:
    world.registry.create(r.DEPLOYMENTS, deployment(replicas=2), "default")
    world.registry.create(r.SERVICES, service(type="NodePort"), "default")
    _, table, answer = await world.ask("GET", "/apis/apps/v1/deployments", headers={"Accept": TABLE})
    assert answer.headers["Content-Type"].startswith("application/json;as=Table")
    assert [item["name"] for item in table["columnDefinitions"]] == [
        "Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    assert table["rows"][0]["cells"] == ["web", "0/2", 0, 0, "0s", "main", "sample:v1", "app=web"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, table, _ = await world.ask("GET", "/api/v1/namespaces/default/services?includeObject=Object",
                                  headers={"Accept": TABLE})
    cells = {row["cells"][0]: row["cells"] for row in table["rows"]}
    assert cells["web"][1] == "NodePort" and cells["web"][4] == "80:30001/TCP"
    assert table["rows"][0]["object"]["kind"] == "Service"


async def test_every_kind_prints_rows_as_long_as_its_columns(world: World) -> None:
    from testbed.server.printers import PRINTERS

    assert set(PRINTERS) == {resource.group_resource for resource in r.BUILT_IN}
    now = world.registry.clock.now()
    for printer in PRINTERS.values():
        assert len(printer.row({"metadata": {"name": "x"}}, now)) == len(printer.columns)


async def test_warnings_travel_in_headers_without_breaking_them(world: World) -> None:
    obj = pod()
    obj["spec"]["hostAliases"] = [{"ip": "1.2.3.4"}]
    obj["spec"]['a"b\r\nInjected: yes'] = 1
    _, _, answer = await world.ask("POST", PODS, json=obj)
    assert answer.status == 201 and "Injected" not in answer.headers
    assert any("spec.hostAliases" in text for text in answer.headers.getall("Warning"))


async def test_deletes_take_options_from_body_and_url(world: World) -> None:
    for name in ("a", "b"):
        world.registry.create(r.PODS, pod(name), "default")
        world.registry.create_subresource(r.PODS, name, "binding", {"target": {"name": "n"}}, "default")
    _, body, _ = await world.ask("DELETE", f"{PODS}/a",
                                 json={"gracePeriodSeconds": 9, "propagationPolicy": "Background"})
    assert body["metadata"]["deletionGracePeriodSeconds"] == 9
    assert (await world.ask("DELETE", f"{PODS}/b?gracePeriodSeconds=0"))[0] == 200
    assert (await world.ask("GET", f"{PODS}/b"))[0] == 404
    assert (await world.ask("DELETE", f"{PODS}/a", json={"propagationPolicy": "Sideways"}))[0] == 400
    assert (await world.ask("DELETE", f"{PODS}/a", json={"preconditions": {"uid": "no"}}))[0] == 409
    _, status, _ = await world.ask("DELETE", "/api/v1/namespaces/default/services/kubernetes")
    assert status["status"] == "Success" and status["details"]["uid"]


async def test_who_may_do_what_is_everything(world: World) -> None:
    status, body, _ = await world.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                      json={"spec": {}})
    assert status == 201 and body["status"]["allowed"] is True


# --- watches


async def watch(world: World, query: str, accept: str = "") -> aiohttp.ClientResponse:
    headers = {"Authorization": f"Bearer {world.token}", **({"Accept": accept} if accept else {})}
    return await world.session.get(f"{world.url}{PODS}?watch=true&{query}", headers=headers)


async def test_a_watch_answers_at_once_and_tells_each_change(world: World) -> None:
    async with asyncio.timeout(10):
        stream = await watch(world, f"resourceVersion={world.registry.store.revision}")  # nothing to tell yet
        world.registry.create(r.PODS, pod(), "default")
        world.registry.delete(r.PODS, "a", "default")
        events = [json.loads(await stream.content.readline()) for _ in range(2)]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert events[1]["object"]["metadata"]["resourceVersion"] == str(world.registry.store.revision)
    stream.close()


async def test_a_watch_as_table_has_headers_once(world: World) -> None:
    async with asyncio.timeout(10):
        world.registry.create(r.PODS, pod("a"), "default")
        stream = await watch(world, "", TABLE)
        world.registry.create(r.PODS, pod("b"), "default")
        first, second = [json.loads(await stream.content.readline())["object"] for _ in range(2)]
    assert first["kind"] == "Table" and first["columnDefinitions"] and not second["columnDefinitions"]
    assert second["rows"][0]["cells"][0] == "b"
    stream.close()


async def test_a_watch_ends_when_its_time_is_over(world: World) -> None:
    async with asyncio.timeout(10):
        stream = await watch(world, "timeoutSeconds=1")
        assert await stream.content.read() == b""


async def test_a_version_that_is_too_old_is_410(world: World) -> None:
    stream = await watch(world, f"resourceVersion={world.registry.store.revision + 1000}")
    assert stream.status == 410 and (await stream.json())["reason"] == "Expired"
