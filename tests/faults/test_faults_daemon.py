"""The chaos daemon over the real API (in process) and a made-up engine, host and room."""

from __future__ import annotations

import asyncio
import stat
from typing import Any

import pytest
from fault_bench import Bench

from faults.kinds import FREEZE_CHAOS, NODE_CHAOS, POD_CHAOS
from faults.node_freeze import NodeFreeze
from testbed.api.resources import EVENTS, PODS
from testbed.errors import Invalid, NotFound

WEB = {"labelSelectors": {"app": "web"}}


async def test_container_kill_is_a_crash_from_outside_the_engine(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(POD_CHAOS, {"action": "container-kill", "mode": "one", "selector": WEB,
                                  "containerNames": ["app"]})
    await bench.until_condition(POD_CHAOS, "AllInjected")
    assert [line.split()[2] for line in bench.world.log] == ["9"]
    (record,) = await bench.records(POD_CHAOS)
    assert record["id"] == "default/web-1/app"
    assert (record["phase"], record["injectedCount"], record["oneShot"]) == ("Injected", 1, True)
    started, succeeded = record["events"]
    assert (started["type"], succeeded["type"]) == ("Started", "Succeeded")
    assert started["monotonicNs"] < succeeded["monotonicNs"]


async def test_pod_kill_deletes_this_pod_and_no_other(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.pod("db-1", app="db")
    await bench.fault(POD_CHAOS, {"action": "pod-kill", "mode": "all", "selector": WEB})
    await bench.until_condition(POD_CHAOS, "AllInjected")
    with pytest.raises(NotFound):
        await bench.client.get(PODS, "web-1", "default")
    assert "deletionTimestamp" not in (await bench.client.get(PODS, "db-1", "default"))["metadata"]


async def test_freeze_is_verified_and_undone_at_its_deadline(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "1s"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    assert len(bench.world.frozen_cgroups) == 1
    (held,) = await bench.records(FREEZE_CHAOS)
    await bench.until_condition(FREEZE_CHAOS, "AllRecovered")
    assert not bench.world.frozen_cgroups
    (record,) = await bench.records(FREEZE_CHAOS)
    applied = record["events"][1]["monotonicNs"]
    recovered = record["events"][-1]
    assert abs(held["deadlineNs"] - record["events"][0]["monotonicNs"] - 1e9) < 0.5e9
    assert "deadlineNs" not in record, "it is over"
    assert "oneShot" not in record
    assert (recovered["operation"], recovered["type"], record["recoveredCount"]) == ("Recover", "Succeeded", 1)
    assert 0.3e9 < recovered["monotonicNs"] - applied < 5e9


async def test_deleting_the_object_undoes_before_it_goes(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(NODE_CHAOS, {"action": "kill", "mode": "one", "selector": WEB, "duration": "1h"})
    await bench.until_condition(NODE_CHAOS, "AllInjected")
    assert bench.world.off == {"n1"}
    await bench.client.delete(NODE_CHAOS, "f", "default")

    async def gone() -> bool:
        try:
            await bench.client.get(NODE_CHAOS, "f", "default")
        except NotFound:
            return True
        return False

    await bench.until(gone)
    assert not bench.world.off


async def test_partition_heals_by_its_own_deadline_too(bench: Bench) -> None:
    await bench.fault(NODE_CHAOS, {"action": "partition", "mode": "one", "selector": {"nodes": ["n2"]},
                                   "duration": "300ms"})
    await bench.until_condition(NODE_CHAOS, "AllInjected")
    assert 0 < (bench.world.cut["n2"] or 0) < 1.0
    await bench.until_condition(NODE_CHAOS, "AllRecovered")
    assert not bench.world.cut


async def test_node_freeze_freezes_the_nodes_cgroup(bench: Bench) -> None:
    await bench.fault(NODE_CHAOS, {"action": "freeze", "mode": "one", "selector": {"nodes": ["n3"]},
                                   "duration": "300ms"})
    await bench.until_condition(NODE_CHAOS, "AllInjected")
    assert bench.world.frozen_cgroups == {"/testbed-id/n3"}
    await bench.until_condition(NODE_CHAOS, "AllRecovered")


async def test_pod_failure_exchanges_images_and_restores_them(bench: Bench) -> None:
    pod = await bench.pod("web-1")

    async def agent() -> None:
        """A healer that carries image changes out."""
        while True:
            image = (await bench.client.get(PODS, "web-1", "default"))["spec"]["containers"][0]["image"]
            if image == "testbed-pause:1":
                bench.world.containers.clear()
                bench.container(pod, attempt=1)
                return
            await asyncio.sleep(0.01)

    healer = asyncio.create_task(agent())
    await bench.fault(POD_CHAOS, {"action": "pod-failure", "mode": "one", "selector": WEB, "duration": "500ms"})
    await bench.until_condition(POD_CHAOS, "AllInjected")
    await healer
    await bench.until_condition(POD_CHAOS, "AllRecovered")
    assert (await bench.client.get(PODS, "web-1", "default"))["spec"]["containers"][0]["image"] == "sample:v1"


async def test_a_second_pod_failure_is_refused_while_the_first_holds(bench: Bench) -> None:
    """It would take the pause image for the pod's own, and leave it there for good."""
    pod = await bench.pod("web-1")
    await bench.client.patch(PODS, "web-1", {"spec": {"containers": [
        {"name": pod["spec"]["containers"][0]["name"], "image": "testbed-pause:1"}]}}, "default")
    await bench.fault(POD_CHAOS, {"action": "pod-failure", "mode": "one", "selector": WEB, "duration": "500ms"})

    async def refused() -> bool:
        return any("has the pause image already" in event.get("message", "")
                   for record in await bench.records(POD_CHAOS) for event in record["events"])

    await bench.until(refused)


async def test_pause_undoes_and_resume_injects_again(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "1h"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    for value, condition in (("true", "Paused"), ("false", "AllInjected")):
        await bench.client.patch(FREEZE_CHAOS, "f", {"metadata": {"annotations": {
            "experiment.chaos-mesh.org/pause": value}}}, "default")
        await bench.until_condition(FREEZE_CHAOS, condition)

        async def as_wanted(frozen: bool = value == "false") -> bool:
            return bool(bench.world.frozen_cgroups) is frozen

        await bench.until(as_wanted)
    assert (await bench.records(FREEZE_CHAOS))[0]["injectedCount"] == 2


# --- refusals


@pytest.mark.parametrize(("resource", "spec", "says"), [
    (NODE_CHAOS, {"action": "kill", "mode": "all", "selector": {"nodes": ["n1", "n2", "n3"]}}, "3 of the 3 nodes"),
    (POD_CHAOS, {"action": "pod-kill", "mode": "all", "selector": {"namespaces": ["kube-system"]}}, "kube-system"),
    (POD_CHAOS, {"action": "container-kill", "mode": "one", "selector": WEB}, "containerNames"),
    (POD_CHAOS, {"action": "container-kill", "mode": "one", "selector": WEB, "containerNames": ["x"]}, "no container"),
    (POD_CHAOS, {"action": "pod-kill", "mode": "fixed", "value": "0", "selector": WEB}, "from 1 to"),
    (POD_CHAOS, {"action": "pod-kill", "mode": "fixed", "selector": WEB}, "needs a value"),
    (FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "1000000h"}, "at most 24h"),
    (FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "0s"}, "more than 0"),
    (POD_CHAOS, {"action": "pod-kill", "mode": "one", "selector": {"labelSelectors": {"app": "none"}}}, "matches"),
])
async def test_refusals_are_told_in_the_status_and_nothing_is_done(
    bench: Bench, resource: Any, spec: dict[str, Any], says: str,
) -> None:
    await bench.pod("web-1")
    await bench.fault(resource, spec)
    await bench.until_condition(resource, "Selected", "False")
    status = (await bench.client.get(resource, "f", "default"))["status"]
    selected = next(item for item in status["conditions"] if item["type"] == "Selected")
    assert says in selected["message"]
    assert bench.world.log == []

    async def told() -> bool:
        return any(says in event["message"] for event in (await bench.client.list(EVENTS, "default")).items)

    await bench.until(told)


async def test_all_nodes_may_be_hit_when_the_object_says_so(bench: Bench) -> None:
    await bench.fault(NODE_CHAOS, {"action": "partition", "mode": "all", "duration": "300ms",
                                   "selector": {"nodes": ["n1", "n2", "n3"]}},
                      annotations={"testbed.io/max-nodes": "3"})
    await bench.until_condition(NODE_CHAOS, "AllInjected")
    assert set(bench.world.cut) == {"n1", "n2", "n3"}
    await bench.until_condition(NODE_CHAOS, "AllRecovered")


@pytest.mark.parametrize("spec", [
    {"action": "explode", "mode": "one", "selector": {}},
    {"action": "pod-kill", "mode": "some", "selector": {}},
    {"action": "pod-kill", "mode": "one"},
    {"action": "pod-kill", "mode": "one", "selector": {}, "duration": "NaN"},
    {"action": "pod-kill", "mode": "one", "selector": {}, "duration": "-1s"},
    {"action": "pod-kill", "mode": "one", "selector": {}, "gracePeriod": -1},
])
async def test_the_schema_refuses_what_is_not_well_formed(bench: Bench, spec: dict[str, Any]) -> None:
    await bench.fault(POD_CHAOS, {"action": "pod-kill", "mode": "one", "selector": {"pods": {"default": ["x"]}}})
    with pytest.raises(Invalid):
        await bench.client.create(POD_CHAOS, {"apiVersion": POD_CHAOS.api_version, "kind": "PodChaos",
                                              "metadata": {"name": "bad", "namespace": "default"}, "spec": spec},
                                  "default")


# --- when things go wrong


async def test_a_target_that_comes_later_is_found(bench: Bench) -> None:
    await bench.fault(POD_CHAOS, {"action": "container-kill", "mode": "one", "selector": WEB,
                                  "containerNames": ["app"]})
    await bench.until_condition(POD_CHAOS, "Selected", "False")
    await bench.pod("web-1")
    await bench.until_condition(POD_CHAOS, "AllInjected")


async def test_no_effect_is_tried_again_and_then_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeFreeze, "verify_within_s", lambda self, plan: 0.1)
    bench.world.ineffective = True
    await bench.pod("web-1")
    await bench.fault(NODE_CHAOS, {"action": "freeze", "mode": "one", "selector": {"nodes": ["n1"]}})

    async def given_up() -> bool:
        status = (await bench.client.get(NODE_CHAOS, "f", "default")).get("status") or {}
        return any(item["type"] == "AllInjected" and item.get("reason") == "NotInEffect"
                   for item in status.get("conditions") or ())

    await bench.until(given_up, 30)
    assert sum(line.startswith("freeze") for line in bench.world.log) == 3
    assert sum(line.startswith("thaw") for line in bench.world.log) == 3


async def test_an_undo_that_fails_is_repeated_until_it_works(bench: Bench) -> None:
    bench.world.stuck = True
    await bench.pod("web-1")
    await bench.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "200ms"})

    async def failed() -> bool:
        return any(event["type"] == "Failed" and event["operation"] == "Recover"
                   for record in await bench.records(FREEZE_CHAOS) for event in record["events"])

    await bench.until(failed)
    assert (await bench.conditions(FREEZE_CHAOS))["AllRecovered"] == "False"
    bench.world.stuck = False
    await bench.until_condition(FREEZE_CHAOS, "AllRecovered")


async def test_a_target_that_dies_meanwhile_does_not_hold_up_the_others(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.pod("web-2")
    await bench.fault(FREEZE_CHAOS, {"mode": "all", "selector": WEB, "duration": "500ms"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    bench.world.containers.popitem()
    await bench.until_condition(FREEZE_CHAOS, "AllRecovered")
    assert not bench.world.frozen_cgroups


# --- a daemon that is killed


async def test_a_new_daemon_undoes_at_the_old_deadline(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "700ms"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    await bench.kill_daemon()
    assert bench.world.frozen_cgroups
    bench.start_daemon()
    await bench.until_condition(FREEZE_CHAOS, "AllRecovered")
    assert not bench.world.frozen_cgroups
    assert (await bench.records(FREEZE_CHAOS))[0]["injectedCount"] == 1


async def test_a_new_daemon_undoes_what_lost_its_object(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(FREEZE_CHAOS, {"mode": "one", "selector": WEB, "duration": "1h"})
    await bench.until_condition(FREEZE_CHAOS, "AllInjected")
    await bench.kill_daemon()
    await bench.client.patch(FREEZE_CHAOS, "f", {"metadata": {"finalizers": []}}, "default")
    await bench.client.delete(FREEZE_CHAOS, "f", "default")
    bench.start_daemon()

    async def thawed() -> bool:
        return not bench.world.frozen_cgroups

    await bench.until(thawed)


async def test_the_ledger_is_its_owners_alone(bench: Bench) -> None:
    assert stat.S_IMODE(bench.ledger_path.stat().st_mode) == 0o600
