"""What `docker compose up` does to the containers of a service, as a plan; and what a proxy balances."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.runtime.containers import ContainerState
from testbed.supervisors.compose.project import plan
from testbed.supervisors.compose.proxies import Route, configuration, routes


def state(number: int, revision: str = "new", status: str = "running") -> ContainerState:
    return ContainerState(f"c{number}", f"web-{number}", {"testbed.io/replica": str(number),
                                                         "testbed.io/spec-hash": revision}, "i", "i", status)


@pytest.mark.parametrize(("containers", "replicas", "removed", "recreated", "created", "started"), [
    ([], 2, [], [], [1, 2], []),
    ([state(1), state(2)], 2, [], [], [], []),
    ([state(1), state(2)], 4, [], [], [3, 4], []),
    ([state(1), state(2), state(3)], 1, [2, 3], [], [], []),
    ([state(1, "old"), state(2, "old")], 2, [], [1, 2], [], []),
    ([state(1, "old"), state(2)], 1, [1], [], [], []),
    ([state(1), state(2, status="created")], 2, [], [], [], [2]),
    ([state(1), state(4)], 3, [], [], [5], []),
])
def test_up(
    containers: list[ContainerState], replicas: int, removed: list[int], recreated: list[int], created: list[int],
    started: list[int],
) -> None:
    todo = plan(containers, replicas, "new")
    assert [item.id for item in todo.remove] == [f"c{number}" for number in removed]
    assert [item.id for item in todo.recreate] == [f"c{number}" for number in recreated]
    assert list(todo.create) == created
    assert [item.id for item in todo.start] == [f"c{number}" for number in started]


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["new", "old"])), unique_by=lambda item: item[0]),
       st.integers(0, 12))
def test_afterwards_there_are_as_many_as_wanted_and_all_are_new(
    present: list[tuple[int, str]], replicas: int
) -> None:
    containers = [state(*item) for item in present]
    todo = plan(containers, replicas, "new")
    kept = {item.id for item in containers} - {item.id for item in (*todo.remove, *todo.recreate)}
    assert len(kept) + len(todo.recreate) + len(todo.create) == replicas
    assert all(item.labels["testbed.io/spec-hash"] == "new" for item in containers if item.id in kept)
    numbers = [int(item.labels["testbed.io/replica"]) for item in containers if item.id in kept]
    numbers += [int(item.labels["testbed.io/replica"]) for item in todo.recreate]
    assert len({*numbers, *todo.create}) == replicas


def test_a_service_is_routed_to_every_deployment_that_it_selects() -> None:
    def body(name: str, labels: dict[str, str]) -> dict[str, Any]:
        ports = [{"name": "http", "containerPort": 8080}]
        return {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "ports": ports}]}}}}

    service = {"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9},
                                              {"port": 53, "protocol": "UDP"}]}}
    blue, green, other = (body(name, {"app": app}) for name, app in (("blue", "web"), ("green", "web"), ("db", "db")))
    found = routes(service, [blue, green, other])
    assert found == (
        Route(80, (("containers.blue.default", 8080), ("containers.green.default", 8080))),
        Route(81, (("containers.blue.default", 9), ("containers.green.default", 9))),
    )
    text = configuration(found, 20)
    assert "server-template d1- 20 containers.green.default:8080 resolvers docker" in text
    assert " check" not in text, "what is unhealthy is not known to a proxy that only knows names"
