"""Where traffic may go."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Service
from testbed.core import endpoints


def service(**spec: Any) -> Service:
    return Service.of({
        "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"tier": "front"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec},
    })


def named(plan: endpoints.SlicePlan) -> list[dict[str, Any]]:
    return [{**item, "metadata": {**item["metadata"], "name": f"web-{n}"}} for n, item in enumerate(plan.create)]


@pytest.mark.parametrize(("ready", "deleting", "publish", "expected"), [
    (True, False, False, {"ready": True, "serving": True, "terminating": False}),
    (False, False, False, {"ready": False, "serving": False, "terminating": False}),
    (True, True, False, {"ready": False, "serving": True, "terminating": True}),
    (False, True, False, {"ready": False, "serving": False, "terminating": True}),
    (False, False, True, {"ready": True, "serving": False, "terminating": False}),
])
def test_conditions(ready: bool, deleting: bool, publish: bool, expected: dict[str, bool]) -> None:
    plan = endpoints.plan_slices(
        service(publishNotReadyAddresses=publish), [pod("a", ready=ready, deleting=deleting)], []
    )
    assert plan.create[0]["endpoints"][0]["conditions"] == expected


def test_what_is_not_listed() -> None:
    pods = [pod("ended", phase="Succeeded"), pod("no-ip", ip=""), pod("other", labels={"app": "api"})]
    [placeholder] = endpoints.plan_slices(service(), pods, []).create
    assert (placeholder["endpoints"], placeholder["ports"]) == ([], [])


def test_a_service_without_endpoints_keeps_one_empty_slice() -> None:
    """SV-02: no match."""
    slices = named(endpoints.plan_slices(service(), [pod(f"p{n}", ip=f"10.0.0.{n}") for n in range(150)], []))
    emptied = endpoints.plan_slices(service(), [], slices)
    assert emptied.delete == ("web-1",) and [item["endpoints"] for item in emptied.update] == [[]]
    again = endpoints.plan_slices(service(), [], list(emptied.update))
    assert (again.create, again.update, again.delete) == ((), (), ())
    back = endpoints.plan_slices(service(), [pod("a")], list(emptied.update))
    assert sum(len(item["endpoints"]) for item in (*back.create, *back.update)) == 1


def test_the_core_object_publishes_unready_and_terminating_pods_where_it_is_told_to() -> None:
    pods = [pod("b", ip="10.0.0.2", ready=False), pod("c", ip="10.0.0.3", deleting=True)]
    [subset] = endpoints.endpoints_object(service(publishNotReadyAddresses=True), pods)["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.0.0.2", "10.0.0.3"]


def test_a_change_writes_one_slice_and_no_change_writes_none() -> None:
    pods = [pod(f"p{i:03}", ip=f"10.0.0.{i}") for i in range(150)]
    slices = named(endpoints.plan_slices(service(), pods, []))
    assert [len(item["endpoints"]) for item in slices] == [100, 50]
    rest = endpoints.plan_slices(service(), pods, slices)
    assert (rest.create, rest.update, rest.delete) == ((), (), ())
    pods[120] = pod("p120", ip="10.0.0.120", ready=False)
    changed = endpoints.plan_slices(service(), pods, slices)
    assert [item["metadata"]["name"] for item in changed.update] == ["web-1"]


@given(st.lists(st.lists(st.integers(0, 260), max_size=260, unique=True), min_size=1, max_size=6))
def test_each_pod_is_listed_exactly_once_through_all_changes(rounds: list[list[int]]) -> None:
    slices: list[dict[str, Any]] = []
    number = 0
    for members in rounds:
        pods = [pod(f"p{i}", ip=f"10.0.{i // 256}.{i % 256}") for i in members]
        plan = endpoints.plan_slices(service(), pods, slices)
        by_name = {item["metadata"]["name"]: item for item in slices}
        by_name.update({item["metadata"]["name"]: item for item in plan.update})
        for name in plan.delete:
            del by_name[name]
        for item in plan.create:
            number += 1
            by_name[f"s{number}"] = {**item, "metadata": {**item["metadata"], "name": f"s{number}"}}
        slices = list(by_name.values())
        listed = [endpoint["targetRef"]["name"] for item in slices for endpoint in item["endpoints"]]
        assert sorted(listed) == sorted(item.metadata.name for item in pods)
        assert all(len(item["endpoints"]) <= endpoints.MAX_ENDPOINTS for item in slices)


def test_named_ports_resolve_per_pod() -> None:
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}

    def serving(name: str, port: int) -> Any:
        return pod(name, spec={"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]})

    plan = endpoints.plan_slices(service(**spec), [serving("a", 8080), serving("b", 9090)], [])
    assert sorted(item["ports"][0]["port"] for item in plan.create) == [8080, 9090]


def test_the_core_object_drops_terminating_pods_and_lists_unready_apart() -> None:
    pods = [pod("a", ip="10.0.0.1"), pod("b", ip="10.0.0.2", ready=False), pod("c", ip="10.0.0.3", deleting=True)]
    [subset] = endpoints.endpoints_object(service(), pods)["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.0.0.1"]
    assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_who_manages_what() -> None:
    assert endpoints.managed(service())
    assert not endpoints.managed(service(selector={}))
    assert not endpoints.managed(service(type="ExternalName"))
