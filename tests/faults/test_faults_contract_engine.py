"""Every registered fault on Docker, by the same contract as on the simulation: measured from outside, in the kernel.

A fault that this machine cannot do must be refused with the reason before anything is touched; one that is for another
kind of node is tried where there is one, and the reason says so here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator

import docker_kills
import pytest
from docker_ground import DockerGround
from faults_contract import NAMES, REGISTRY, is_as, keeps_the_contract, object_of, told, workload
from kill_points import Point
from support.cluster import Cluster, bring_up_for_test, run_testbed, state_home_for_test

from faults.abilities import Tried
from faults.kinds import IMAGE_CHAOS
from faults.protocol import Fault, Refused
from testbed.runtime.factory import open_engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="looks into namespaces and cgroups, which takes root"),
]

#: In `make test`, one of each mechanism that is quick; the others take longer (pods move, stress begins).
QUICK = {"ShamChaos/", "FreezeChaos/", "NetworkChaos/delay", "IOChaos/latency", "HTTPChaos/", "TimeChaos/"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with state_home_for_test(tmp_path_factory.mktemp("t")) as home, bring_up_for_test(
            "test_contract", home, nodes=2) as found:
        found.apply("\n---\n".join(json.dumps(obj) for obj in workload()))
        found.wait_ready("app=web", 2)
        yield found


@pytest.fixture(scope="module")
def registry(cluster: Cluster) -> None:
    """What ImageChaos breaks."""
    for act in (("start",), ("push", "sample:v1")):
        run_testbed("registry", *act, "--name", cluster.name)


@pytest.fixture
async def ground(cluster: Cluster) -> AsyncIterator[DockerGround]:
    made = DockerGround(cluster)
    await made.settle()
    yield made
    await made.close()


async def lacking(fault: Fault) -> str:
    """Why this machine cannot do it; empty: it can."""
    engine = open_engine()
    try:
        await Tried(engine).check(fault)
    except Refused as error:
        return str(error)
    finally:
        await engine.close()
    return ""


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in NAMES])
async def test_a_fault_is_seen_told_and_undone_without_a_trace(
    ground: DockerGround, name: str, request: pytest.FixtureRequest
) -> None:
    fault = REGISTRY.get(name)
    if fault.kind == IMAGE_CHAOS:
        request.getfixturevalue("registry")
    if "slice" not in fault.node_kinds:
        pytest.skip(f"{name} is for nodes of kind {' or '.join(fault.node_kinds)}, which have tests of their own")
    if why := await lacking(fault):
        await is_refused(ground, fault, why)
    else:
        await keeps_the_contract(ground, fault, name.lower().replace("/", "-").strip("-"))


#: One fault of each mechanism: rules and queues, a proxy, a file system, the vdso, stress, the freezer, the API,
#: power, a cable, and nothing at all.
MECHANISMS = ("NetworkChaos/delay", "HTTPChaos/", "IOChaos/latency", "TimeChaos/", "StressChaos/", "FreezeChaos/",
              "PodChaos/pod-failure", "NodeChaos/kill", "NodeChaos/partition", "ShamChaos/")
HANDFUL = {("NetworkChaos/delay", Point("injected", "daemon")),
           ("IOChaos/latency", Point("injected", "holder container"))}


@pytest.mark.parametrize(("name", "point"), [
    pytest.param(name, point, id=f"{name}: {point}", marks=() if (name, point) in HANDFUL else pytest.mark.long)
    for name in MECHANISMS for point in docker_kills.points_of(REGISTRY.get(name))])
async def test_nothing_is_left_whoever_dies(ground: DockerGround, name: str, point: Point) -> None:
    fault = REGISTRY.get(name)
    if why := await lacking(fault):
        pytest.skip(why)
    await docker_kills.survives(ground, fault, "-".join(re.findall(r"[a-z]+", f"{name} {point}".lower())), point)


async def is_refused(ground: DockerGround, fault: Fault, why: str) -> None:
    before = await ground.snapshot()
    await ground.create(fault.kind, object_of(fault, "lacking", "1m"))

    async def refused() -> str:
        obj = await ground.get(fault.kind, "lacking")
        return told(obj) if why[:40] in told(obj) else ""

    await ground.until(f"{fault.name} to be refused: {why}", refused, 20)
    await ground.delete(fault.kind, "lacking")
    await is_as(ground, before)
