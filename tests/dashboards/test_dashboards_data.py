"""Every query of every dashboard has something to show: asked of a real Prometheus that has a simulated cluster's
metrics. What only a real cluster has is left to ``tests/e2e/test_monitor_check.py``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from recorded_world import Recorder
from support.board_answers import Span, answer, unanswered
from support.boards import FILES, Json, annotations, every_board, panels
from support.prometheus import Prometheus, free_port, running

from faults.kinds import NODE_CHAOS, POD_CHAOS
from testbed.api.meta import format_time
from testbed.api.resources import (
    AUTOSCALERS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    ResourceType,
)
from testbed.experiment.published_status import Heading, Place, Told, finished
from testbed.experiment.published_status import running as running_status
from testbed.experiment.result import ObjectiveResult
from testbed.experiment.schema import EXPERIMENTS, experiment_definition
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.workloads import deployment, flaky, service
from testbed.simulation.world import World, open_world

# Alerts are Prometheus' own, HAProxy and the gateway are containers of a real cluster.
ELSEWHERE = re.compile(r"\b(ALERTS|haproxy_\w+|testbed_gateway_\w+|kubeproxy_\w+)\b")
RUN = "crash-1"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Span]]:
    """A minute or so in which much happens."""
    directory = tmp_path_factory.mktemp("recorded")
    recorder = run_virtual(story)
    span = recorder.write(directory)
    (directory / "prometheus.yml").write_text("{}")
    with running("prometheus", directory, free_port(), f"--config.file={directory}/prometheus.yml",
                 f"--storage.tsdb.path={directory}/data") as address:
        yield Prometheus(address), span


@every_board
def test_every_query_has_something_to_show(board: Json, recorded: tuple[Prometheus, Span]) -> None:
    found = [line for line in unanswered(*recorded, board) if not ELSEWHERE.search(line)]
    assert not found, "\n".join(found)


# --- and it is what happened


def shown(recorded: tuple[Prometheus, Span], board: str, title: str) -> dict[str, list[int]]:
    """What a panel shows: each series by its labels' values, and its values one after the other, each run of equal
    ones once."""
    (file,) = [file for file in FILES if file.stem == board]
    (panel,) = [panel for panel in panels(json.loads(file.read_text())) if panel["title"] == title]
    return {" ".join(series.labels.values()): [int(value) for value, _ in groupby(value for _, value in series.samples)]
            for target in panel["targets"] for series in answer(recorded[0], target, recorded[1])}


def test_a_run_goes_through_its_phases_and_is_over(recorded: tuple[Prometheus, Span]) -> None:
    steady, inject, observe, converge, over = 1, 2, 3, 5, 0
    assert shown(recorded, "experiment", "Phases") == {"crash": [steady, inject, observe, converge, over]}
    assert list(shown(recorded, "overview", "Experiments running").values()) == [[1, 0]]


def test_each_fault_is_a_window_and_is_counted_once(recorded: tuple[Prometheus, Span]) -> None:
    ((power, values),) = shown(recorded, "experiment", "Fault windows").items()
    assert power == "NodeChaos/kill n2" and values[-2:] == [1, 0]
    assert list(shown(recorded, "experiment", "Injections").values()) == [[2]]


@every_board
def test_a_kill_is_a_mark_of_one_moment_beside_the_windows(recorded: tuple[Prometheus, Span], board: Json) -> None:
    (kills,) = [item for item in annotations(board) if item["name"] == "Kills"]
    (mark,) = answer(recorded[0], kills, recorded[1])
    assert mark.labels["fault"] == "PodChaos/container-kill" and [value for _, value in mark.samples] == [1]


def test_a_node_without_power_is_unknown_and_not_scraped(recorded: tuple[Prometheus, Span]) -> None:
    ready, unknown = 1, 2
    assert shown(recorded, "nodes", "Condition of nodes") == {
        "n1": [ready], "n2": [ready, unknown, ready], "n3": [ready]}
    assert shown(recorded, "internals", "Scraped") == {
        "api": [1], "n1 agent": [1], "n2 agent": [1, 0, 1], "n3 agent": [1]}


def test_a_rollout_is_seen_to_begin_and_to_end(recorded: tuple[Prometheus, Span]) -> None:
    settled, rolling_out = 0, 1
    found = shown(recorded, "rollouts", "Rollouts")
    assert found["web default"] == [settled, rolling_out, settled]
    versions = shown(recorded, "rollouts", "Replicas by ReplicaSet")
    assert len([name for name in versions if "web-" in name]) == 2


def test_what_crashes_for_ever_is_never_well(recorded: tuple[Prometheus, Span]) -> None:
    none_ready, some_ready, all_ready = 0, 1, 2
    found = shown(recorded, "overview", "Health of workloads")
    assert none_ready in found["default Deployment/flaky"]
    assert {some_ready, all_ready} <= set(found["default Deployment/web"]) and found["default Deployment/web"][-1] == 2
    assert found["default StatefulSet/db"][-1] == all_ready
    assert "CrashLoopBackOff" in shown(recorded, "overview", "Waiting containers")


# --- the story


async def story(loop: VirtualLoop) -> Recorder:
    """A container dies, a node loses its power, a new version is shipped; something crashes all the time."""
    async with open_world(loop, seed=1) as world:
        await populate(world)
        await world.until_settled()
        recorder = Recorder(world)
        looking = asyncio.create_task(recorder.run())
        await experiment(world, "steady", 0)
        await asyncio.sleep(3)
        await break_(world, POD_CHAOS, "kill", action="container-kill", containerNames=["web"], mode="one",
                     selector={"labelSelectors": {"app": "web"}})
        await experiment(world, "inject", 3)
        await asyncio.sleep(3)
        await experiment(world, "observe", 6)
        await break_(world, NODE_CHAOS, "power", action="kill", mode="one", duration="6s", selector={"nodes": ["n2"]})
        await asyncio.sleep(8)
        await experiment(world, "converge", 14)
        await world.patch(DEPLOYMENTS, "web", {"spec": {"template": {"metadata": {"labels": {"version": "v2"}}}}})
        await asyncio.sleep(15)
        await experiment(world, "", 29)
        await asyncio.sleep(2)
        looking.cancel()
        await recorder.close()
        return recorder


async def populate(world: World) -> None:
    await world.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"},
                                 "stringData": {"word": "x"}})
    await world.create(SERVICES, service("web"))
    web = deployment("web", 4)
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
    await world.create(DEPLOYMENTS, web)
    await world.create(DEPLOYMENTS, flaky())
    for resource, name, spec in (
        (STATEFUL_SETS, "db", {"serviceName": "db", "replicas": 1}), (DAEMON_SETS, "log", {}),
    ):
        container = {"name": name, "image": "sample:v1", "ports": [{"containerPort": 8080}]}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
        await put(world, resource, name, {"selector": {"matchLabels": {"app": name}}, "template": template, **spec})
    await put(world, AUTOSCALERS, "web", {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 4,
        "maxReplicas": 6, "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]})
    await put(world, DISRUPTION_BUDGETS, "web", {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    await world.create(CUSTOM_RESOURCE_DEFINITIONS, experiment_definition(), None)
    await put(world, EXPERIMENTS, RUN, {"workload": ["web.yaml"], "method": []})


async def put(world: World, resource: ResourceType, name: str, spec: Json, **meta: Any) -> None:
    await world.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind,
                                  "metadata": {"name": name, **meta}, "spec": spec})


async def break_(world: World, resource: ResourceType, name: str, **spec: Any) -> None:
    await put(world, resource, name, spec, annotations={"testbed.io/max-nodes": "2"})


async def experiment(world: World, phase: str, second: int) -> None:
    """As the runner tells it: ``phase`` of its only run, "" when it is over."""
    now = world.clock.now()
    status = running_status(
        Heading("crash", "testbed", RUN, now), Place(1, 1, phase or "converge", "crash"), at=now,
        load=[load(second)], told=Told(), fresh=[disruption(world)], verdicts={"passed": 1},
        objectives=[ObjectiveResult(text="crash.repair.median < 4s", met=True, measured=1.3, unit="s")])
    if not phase:
        status = finished(status, verdict="passed", reason="", exit_code=0, at=now)
    await world.client.patch(EXPERIMENTS, RUN, {"status": status}, "default", subresource="status")


def load(second: int) -> Json:
    return {"target": "pulse", "rate": 100, "sent": 102 * second, "ok": 100 * second, "failed": second,
            "late": second, "unsent": second // 3, "recent": [], "latency": {
                "buckets": {"0.005": 60 * second, "0.05": 90 * second, "+Inf": 101 * second}, "sum_s": 0.4 * second}}


def disruption(world: World) -> Json:
    return {"run": 1, "step": "crash", "fault": "PodChaos/container-kill", "target": "default/web-1/web", "targets": 1,
            "injectedAt": format_time(world.clock.now(), micro=True), "restored": True, "outage_s": 0.2, "failed": 3,
            "marks": {"detected": 0.1, "isolated": 0.2, "ready": 1.1, "restored": 1.3}, "counted": True}
