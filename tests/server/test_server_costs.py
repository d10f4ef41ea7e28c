"""What looking at a cluster of many pods costs the control plane: how often an object is looked at, exactly, and
processor time within bounds that only another order breaks (``benchmarks/metrics.py`` and ``page.py`` measure it)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from server_world import make_registry, pod
from support.costs import least_cpu_s
from support.page_world import PageWorld
from test_server_metrics_scrape import exposition

from testbed.api import resources as r
from testbed.server import sketch
from testbed.server.live import Live
from testbed.server.metrics import Exposition
from testbed.server.picture import PodPart, cluster
from testbed.server.picture_pods import pod as pod_part
from testbed.server.registry import Registry

Json = dict[str, Any]
MANY, FEW, LOOKED_AT = 200, 10, 100  # pods of a scrape, of which change now and then; of a page
MOST_S = 0.5  # on a calm machine a scrape takes 0.03 s, a first load of the page 0.003 s
AT = "2026-01-01T12:00:00Z"


def cluster_of(pods: int) -> tuple[Registry, Exposition]:
    registry = make_registry()
    for number in range(pods):
        registry.create(r.PODS, pod(f"p{number}"), "default")
    report(registry, range(pods), 0)
    return registry, exposition(registry)


def report(registry: Registry, numbers: Iterable[int], restarts: int) -> None:
    """As an agent does."""
    for number in numbers:
        registry.patch(r.PODS, f"p{number}", {"status": {
            "phase": "Running", "podIP": f"10.1.0.{number}", "hostIP": "10.0.0.1", "startTime": AT, "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": AT}
                for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [{
                "name": "app", "image": "sample:v1", "imageID": "sha256:1", "containerID": f"docker://{number}",
                "ready": True, "restartCount": restarts, "state": {"running": {"startedAt": AT}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "startedAt": AT, "finishedAt": AT}}}],
        }}, "default", subresource="status")


# --- a scrape of /metrics


async def test_of_many_pods_a_scrape_looks_at_those_that_changed() -> None:
    registry, exposed = cluster_of(MANY)
    exposed()
    for changed in (FEW, MANY, 0):
        seen = exposed.state.looked_at
        report(registry, range(changed), changed)
        exposed()
        assert exposed.state.looked_at == seen + changed


async def test_each_pod_adds_as_many_series_as_any_other() -> None:
    def pods_series(pods: int) -> int:
        text = cluster_of(pods)[1]()[0].decode()
        return sum(line.startswith("kube_pod_") for line in text.splitlines())

    none, some, more = (pods_series(pods) for pods in (0, FEW, 3 * FEW))
    assert none == 0 and some > 0
    assert more == 3 * some


async def test_a_scrape_of_many_pods_that_have_all_changed_takes_no_time_worth_telling() -> None:
    registry, exposed = cluster_of(MANY)

    async def scrape() -> None:
        assert b'pod="p199"' in exposed()[0]

    await scrape()  # which loads the Prometheus client
    assert await least_cpu_s(scrape, lambda turn: report(registry, range(MANY), turn + 1)) < MOST_S


# --- the live page


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    made = PageWorld(tmp_path)
    made.fill(pods=LOOKED_AT)
    return made


def live_of(world: PageWorld) -> Live:
    return Live(world.registry, lambda: cluster(world.instance, world.clock.now()))


def whole(live: Live) -> Json:
    """The picture as a reader of the feed gets it first."""
    value: Json = json.loads(live._reset().split("\n")[1].removeprefix("data: "))
    return value


async def test_a_page_makes_each_pod_once_for_all_who_look_and_again_when_it_changes(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    def counted(obj: Json, *more: Any) -> PodPart:
        made.append(obj["metadata"]["name"])
        return pod_part(obj, *more)

    monkeypatch.setattr(sketch, "pod", counted)
    live = live_of(world)
    first = whole(live)
    assert len(first["pods"]) == len(made) == len(set(made)) == LOOKED_AT
    assert whole(live)["pods"] == first["pods"] and len(made) == LOOKED_AT
    made.clear()
    for number in range(1, FEW + 1):
        world.pod(f"web-{number}", "node-1", ready=False, restarts=1)
    live._look()
    assert sorted(made) == sorted(f"web-{number}" for number in range(1, FEW + 1))
    assert sum(item["restarts"] for item in whole(live)["pods"].values()) == len(made) == FEW
    live.end()


async def test_the_first_load_of_a_page_of_many_pods_takes_no_time_worth_telling(world: PageWorld) -> None:
    async def load() -> None:
        live = live_of(world)
        assert len(whole(live)["pods"]) == LOOKED_AT
        live.end()

    assert await least_cpu_s(load) < MOST_S
