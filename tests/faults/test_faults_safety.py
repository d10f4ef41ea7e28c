"""The daemon's care: the blast radius over several objects, dry runs, faults that follow, what a machine lacks."""

from __future__ import annotations

from typing import Any

import pytest
from fault_bench import Bench

from faults.abilities import Tried
from faults.freeze import Freeze
from faults.kinds import FREEZE_CHAOS, NODE_CHAOS, POD_CHAOS
from testbed.api.resources import PODS
from testbed.errors import EngineUnavailable

Json = dict[str, Any]
WEB = {"labelSelectors": {"app": "web"}}
SET = ("ReplicaSet", "web")
ALL = {"mode": "all", "selector": WEB, "duration": "1h"}
ONE = {"mode": "one", "selector": WEB, "duration": "1h"}


async def said(bench: Bench, name: str, resource: Any = FREEZE_CHAOS) -> str:
    status = (await bench.client.get(resource, name, "default"))["status"]
    return str(next(item["message"] for item in status["conditions"] if item["type"] == "Selected"))


# --- blast radius


async def test_half_of_a_workload_is_the_most_and_two_objects_count_together(bench: Bench) -> None:
    for number in range(4):
        await bench.pod(f"web-{number}", owner=SET)
    await bench.fault(FREEZE_CHAOS, ALL, "all")
    await bench.until_condition(FREEZE_CHAOS, "Selected", "False", "all")
    assert "4 of the 4 pods of ReplicaSet web; the limit is 50%, which is 2" in await said(bench, "all")
    assert "testbed.io/max-pods" in await said(bench, "all")
    assert bench.world.log == []
    await bench.fault(FREEZE_CHAOS, {**ALL, "mode": "fixed", "value": "2"}, "half")
    await bench.until_condition(FREEZE_CHAOS, "AllInjected", name="half")
    others = [pod for pod in (f"web-{number}" for number in range(4))
              if pod not in str(await bench.records(FREEZE_CHAOS, "half"))]
    await bench.fault(FREEZE_CHAOS, {**ONE, "selector": {"pods": {"default": others}}}, "more")
    await bench.until_condition(FREEZE_CHAOS, "Selected", "False", "more")
    assert "while 2 of them are hit already" in await said(bench, "more")
    assert len(bench.world.frozen_cgroups) == 2


async def test_two_kills_cannot_take_one_half_each(bench: Bench) -> None:
    for number in range(4):
        await bench.pod(f"web-{number}", owner=SET)
    kill = {"action": "container-kill", "mode": "fixed", "value": "2", "containerNames": ["app"]}
    await bench.fault(POD_CHAOS, {**kill, "selector": {"pods": {"default": ["web-0", "web-1"]}}}, "first")
    await bench.until_condition(POD_CHAOS, "AllInjected", name="first")
    await bench.fault(POD_CHAOS, {**kill, "selector": {"pods": {"default": ["web-2", "web-3"]}}}, "second")
    await bench.until_condition(POD_CHAOS, "Selected", "False", "second")
    assert "while 2 of them are hit already" in await said(bench, "second", POD_CHAOS)
    for number in range(4):
        await bench.client.patch(PODS, f"web-{number}", {"status": {"conditions": [
            {"type": "Ready", "status": "True"}]}}, "default", subresource="status")
    await bench.until_condition(POD_CHAOS, "AllInjected", name="second")
    assert len(bench.world.killed) == 4


async def test_what_is_paused_still_counts_because_it_comes_back(bench: Bench) -> None:
    for number in range(2):
        await bench.pod(f"web-{number}", owner=SET)
    await bench.fault(FREEZE_CHAOS, {**ONE, "selector": {"pods": {"default": ["web-0"]}}}, "first",
                      annotations={"experiment.chaos-mesh.org/pause": "false"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected", name="first")
    await bench.client.patch(FREEZE_CHAOS, "first", {"metadata": {"annotations": {
        "experiment.chaos-mesh.org/pause": "true"}}}, "default")
    await bench.until_condition(FREEZE_CHAOS, "Paused", name="first")
    await bench.fault(FREEZE_CHAOS, {**ONE, "selector": {"pods": {"default": ["web-1"]}}}, "second")
    await bench.until_condition(FREEZE_CHAOS, "Selected", "False", "second")


async def test_more_is_hit_when_the_object_says_so(bench: Bench) -> None:
    for number in range(4):
        await bench.pod(f"web-{number}", owner=SET)
    await bench.fault(FREEZE_CHAOS, ALL, annotations={"testbed.io/max-pods": "100%"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    assert len(bench.world.frozen_cgroups) == 4


async def test_a_second_node_needs_a_word_even_from_another_object(bench: Bench) -> None:
    cut = {"action": "partition", "mode": "one", "duration": "1h"}
    await bench.fault(NODE_CHAOS, {**cut, "selector": {"nodes": ["n1"]}}, "first")
    await bench.until_condition(NODE_CHAOS, "AllInjected", name="first")
    await bench.fault(NODE_CHAOS, {**cut, "selector": {"nodes": ["n2"]}}, "second")
    await bench.until_condition(NODE_CHAOS, "Selected", "False", "second")
    assert "while n1 is hit already; the limit is 1" in await said(bench, "second", NODE_CHAOS)
    assert set(bench.world.cut) == {"n1"}


# --- dry runs


@pytest.mark.parametrize("mode", [{"mode": "one"}, {"mode": "fixed", "value": "2"}, {"mode": "random-max-percent",
                                                                                     "value": "100"}])
async def test_a_dry_run_names_the_targets_that_the_same_seed_then_hits(bench: Bench, mode: Json) -> None:
    pods = {f"web-{number}": await bench.pod(f"web-{number}", node=f"n{number % 3 + 1}", owner=SET)
            for number in range(6)}
    spec = {**mode, "selector": WEB, "duration": "1h"}
    raised = {"testbed.io/seed": "4", "testbed.io/max-pods": "100%"}
    await bench.fault(FREEZE_CHAOS, spec, "dry", annotations={**raised, "testbed.io/dry-run": "true"})
    await bench.until_condition(FREEZE_CHAOS, "Selected", name="dry")
    told = await bench.records(FREEZE_CHAOS, "dry")
    assert bench.world.log == []
    assert "finalizers" not in (await bench.client.get(FREEZE_CHAOS, "dry", "default"))["metadata"]
    for record in told:
        pod = pods[record["id"].split("/")[1]]
        assert (record["podUID"], record["node"]) == (pod["metadata"]["uid"], pod["spec"]["nodeName"])
        assert record["containerID"] in bench.world.containers
    await bench.client.delete(FREEZE_CHAOS, "dry", "default")
    await bench.fault(FREEZE_CHAOS, spec, "real", annotations=raised)
    await bench.until_condition(FREEZE_CHAOS, "AllInjected", name="real")
    assert [item["containerID"] for item in await bench.records(FREEZE_CHAOS, "real")] == [
        item["containerID"] for item in told]


async def test_a_dry_run_tells_refusals(bench: Bench) -> None:
    for number in range(2):
        await bench.pod(f"web-{number}", owner=SET)
    for name, spec, says in (("much", ALL, "2 of the 2 pods"), ("none", {**ONE, "selector": {
            "labelSelectors": {"app": "x"}}}, "matches nothing"), ("long", {**ONE, "duration": "99h"}, "at most 24h")):
        await bench.fault(FREEZE_CHAOS, spec, name, annotations={"testbed.io/dry-run": "true"})
        await bench.until_condition(FREEZE_CHAOS, "Selected", "False", name)
        assert says in await said(bench, name)


# --- following


async def replace_pod(bench: Bench, name: str, new: str, owner: tuple[str, str] = SET) -> None:
    await bench.client.delete(PODS, name, "default")
    bench.world.containers.clear()
    bench.world.frozen_cgroups.clear()
    await bench.pod(new, owner=owner)


async def test_a_fault_that_follows_hits_the_pod_that_takes_its_targets_place(bench: Bench) -> None:
    await bench.pod("web-a", owner=SET)
    await bench.fault(FREEZE_CHAOS, ONE, annotations={"testbed.io/follow": "true"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    await bench.pod("db", app="web", owner=("ReplicaSet", "db"))
    await replace_pod(bench, "web-a", "web-b")

    async def moved() -> bool:
        past, record = [*await bench.records(FREEZE_CHAOS), {}, {}][:2]
        return (past["id"], past["recoveredCount"], record.get("id"), record.get("phase")) == (
            "default/web-a/app", 1, "default/web-b/app", "Injected")

    await bench.until(moved)
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    assert len(bench.world.frozen_cgroups) == 1
    await bench.kill_daemon()
    bench.start_daemon()
    await bench.client.delete(FREEZE_CHAOS, "f", "default")

    async def thawed() -> bool:
        return not bench.world.frozen_cgroups

    await bench.until(thawed)


async def test_without_the_annotation_the_new_pod_stays_unhurt(bench: Bench) -> None:
    await bench.pod("web-a", owner=SET)
    await bench.fault(FREEZE_CHAOS, {**ONE, "duration": "600ms"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    await replace_pod(bench, "web-a", "web-b")
    await bench.until_condition(FREEZE_CHAOS, "AllRecovered")
    assert sum(line.startswith("freeze") for line in bench.world.log) == 1


async def test_of_a_stateful_set_only_the_pod_of_the_same_name_is_followed(bench: Bench) -> None:
    db = ("StatefulSet", "db")
    for name in ("db-0", "db-1"):
        await bench.pod(name, owner=db)
    await bench.fault(FREEZE_CHAOS, {**ONE, "selector": {"pods": {"default": ["db-0"]}, **WEB}},
                      annotations={"testbed.io/follow": "true"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    first = (await bench.records(FREEZE_CHAOS))[0]["podUID"]
    await replace_pod(bench, "db-0", "db-0", db)

    async def moved() -> bool:
        record = (await bench.records(FREEZE_CHAOS))[-1]
        return bool(record["podUID"] != first) and (record["phase"], record["id"]) == ("Injected", "default/db-0/app")

    await bench.until(moved)


async def test_a_container_that_was_restarted_is_hit_again(bench: Bench) -> None:
    pod = await bench.pod("web-a", owner=SET)
    await bench.fault(FREEZE_CHAOS, ONE, annotations={"testbed.io/follow": "true"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    (old,) = bench.world.containers
    bench.world.containers.clear()
    bench.world.frozen_cgroups.clear()
    new = bench.container(pod, attempt=1)
    await bench.client.patch(PODS, "web-a", {"status": {"containerStatuses": [{
        "name": "app", "image": "sample:v1", "imageID": "", "ready": True, "restartCount": 1,
        "containerID": f"docker://{new.id}", "state": {"running": {}}}]}}, "default", subresource="status")

    async def hit() -> bool:
        record = (await bench.records(FREEZE_CHAOS))[-1]
        return bool(record["containerID"] == new.id != old) and record["phase"] == "Injected"

    await bench.until(hit)
    assert len(bench.world.frozen_cgroups) == 1


async def test_following_never_hits_more_than_the_limit(bench: Bench) -> None:
    """Two of four were hit; the workload has shrunk to two, both new."""
    for number in range(4):
        await bench.pod(f"web-{number}", owner=SET)
    await bench.fault(FREEZE_CHAOS, {**ALL, "mode": "fixed", "value": "2"}, annotations={"testbed.io/follow": "true"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    for number in range(4):
        await bench.client.delete(PODS, f"web-{number}", "default")
    bench.world.frozen_cgroups.clear()
    before = len(bench.world.log)
    for name in ("new-0", "new-1"):
        await bench.pod(name, owner=SET)

    async def one_at_most() -> bool:
        return any("does not follow" in str(item.get("message")) for item in (
            await bench.client.get(FREEZE_CHAOS, "f", "default"))["status"]["conditions"])

    await bench.until(one_at_most)
    frozen = [line for line in bench.world.log[before:] if line.startswith("freeze")]
    assert len(frozen) <= 1


async def test_a_kill_never_follows(bench: Bench) -> None:
    await bench.pod("web-a", owner=SET)
    await bench.fault(POD_CHAOS, {"action": "pod-kill", "mode": "one", "selector": WEB},
                      annotations={"testbed.io/follow": "true"})
    await bench.until_condition(POD_CHAOS, "AllInjected")
    await bench.pod("web-b", owner=SET)
    await bench.until_condition(POD_CHAOS, "AllInjected")
    assert not (await bench.client.get(PODS, "web-b", "default"))["metadata"].get("deletionTimestamp")


# --- abilities


async def test_a_fault_that_this_machine_cannot_do_is_refused_with_the_abilitys_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Freeze, "needs", ("netem or nfqueue", "fuse"))
    asked: list[set[str]] = []

    async def tried(engine: object, wanted: set[str]) -> dict[str, bool]:
        asked.append(set(wanted))
        return {"netem": False, "nfqueue": True, "fuse": False}

    monkeypatch.setattr("faults.abilities.tried", tried)
    await bench.kill_daemon()
    bench.abilities = Tried(bench.world)  # type: ignore[arg-type]
    bench.start_daemon()
    await bench.pod("web-a")
    for name in ("first", "second"):
        await bench.fault(FREEZE_CHAOS, ONE, name)
        await bench.until_condition(FREEZE_CHAOS, "Selected", "False", name)
        told = await said(bench, name)
        assert "it lacks fuse" in told and "modprobe fuse" in told and "netem" not in told
    assert bench.world.log == [] and len(asked) == 1


async def test_what_could_not_be_tried_is_not_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Freeze, "needs", ("fuse",))

    async def tried(engine: object, wanted: set[str]) -> dict[str, bool]:
        raise EngineUnavailable("no answer")

    monkeypatch.setattr("faults.abilities.tried", tried)
    await bench.kill_daemon()
    bench.abilities = Tried(bench.world)  # type: ignore[arg-type]
    bench.start_daemon()
    await bench.pod("web-a")
    await bench.fault(FREEZE_CHAOS, ONE)
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
