"""The rows of ``testbed top``: what they say of nodes, pods, Services, faults and events, in order and in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.page_world import PageWorld
from top_pictures import NOW, drawn, filled, picture_of

from testbed.cli.top_rows import (
    BAD,
    GOOD,
    QUIET,
    WARN,
    event_rows,
    fault_rows,
    node_rows,
    pod_rows,
    probes,
    service_rows,
)


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return filled(tmp_path)


def test_nodes_tell_whether_they_are_ready_and_how_many_of_their_pods(world: PageWorld) -> None:
    world.node("node-2", ready="Unknown", reason="NodeStatusUnknown")
    world.pod("web-1", "node-1", ready=False, waiting="CrashLoopBackOff")
    first, second, _ = node_rows(picture_of(world))
    assert (first.cells[:3], first.tone) == (("node-1", "yes", "1/2"), GOOD)
    assert (second.cells[1], second.tone) == ("unknown: NodeStatusUnknown", WARN)


def test_pods_that_are_not_well_come_first(world: PageWorld) -> None:
    world.pod("web-4", "node-1", ready=False, restarts=7, waiting="CrashLoopBackOff")
    first, second, *_ = pod_rows(picture_of(world), NOW)
    assert first.cells[:4] == ("web-4", "CrashLoopBackOff", "0/1", "7") and first.tone == BAD
    assert second.cells[0] == "web-1" and second.tone == GOOD


@pytest.mark.parametrize("container, expected", [
    ({"probes": ["startup", "readiness", "liveness"], "ready": False, "started": False, "state": "running"}, "S-R-L-"),
    ({"probes": ["startup", "readiness", "liveness"], "ready": False, "started": True, "state": "running"}, "S+R-L+"),
    ({"probes": ["readiness"], "ready": True, "started": True, "state": "running"}, "R+"),
    ({"probes": [], "ready": True, "started": True, "state": "running"}, "–"),
])
def test_probes_are_told_by_letter(container: dict[str, Any], expected: str) -> None:
    assert probes([container]) == expected


def test_a_service_without_a_ready_endpoint_is_bad_news(world: PageWorld) -> None:
    for index in range(1, 7):
        world.pod(f"web-{index}", "node-1", ready=False)
    world.endpoints()
    [row] = service_rows(picture_of(world))
    assert (row.cells[:2], row.tone) == (("web", "0/6 ready"), BAD)


def test_a_fault_that_holds_is_bad_news_and_a_kill_is_history(world: PageWorld) -> None:
    world.fault("crash", "default/web-1/web", action="container-kill")
    world.fault("stop", "default/web-2", action="pod-failure")
    found = {row.cells[0]: (row.cells[1], row.tone) for row in fault_rows(picture_of(world), NOW)}
    assert found == {"PodChaos/container-kill crash": ("Done", QUIET), "PodChaos/pod-failure stop": ("Injected", BAD)}


def test_a_fault_without_actions_is_told_by_its_kind() -> None:
    fault = {"kind": "StressChaos", "action": "", "phase": "Injected", "targets": [], "since": "", "message": ""}
    [row] = fault_rows({"faults": {"StressChaos/default/busy": fault}}, NOW)
    assert row.cells[0] == "StressChaos busy"


def test_events_of_one_second_are_in_the_order_of_the_one_clock_and_no_name_is_cut_before_the_words() -> None:
    """An event that came again has a time of whole seconds."""
    name, reason = "web-7747cfd788-5hsct", "EndpointsProgrammed"
    picture = {"cluster": {}, "events": {
        key: {"at": at, "monotonicUs": us, "type": "Normal", "reason": why, "object": f"Pod/default/{name}",
              "message": f"{key} " + "long " * 30, "count": 1}
        for key, at, us, why in (("again", "2026-01-01T12:00:13.000000Z", 9_000_000, reason),
                                 ("once", "2026-01-01T12:00:13.395000Z", 8_000_000, "ContainerDied"),
                                 ("other", "2026-01-01T12:00:12.900000Z", 0, "Scheduled"))}}
    lines = [line for line in drawn(picture, width=80).splitlines() if name in line]
    assert [line.split()[1] for line in lines] == [reason, "ContainerDied", "Scheduled"]
    assert all(line.split()[2] == f"Pod/{name}" and line.rstrip().endswith("…") for line in lines)


def test_what_a_container_wrote_cannot_steer_the_terminal(world: PageWorld) -> None:
    world.event("Pod", "web-1", "Failed", "\x1b[2J\x1b]0;evil\x07text\r\n[red]and markup[/red]", warning=True)
    [row] = event_rows(picture_of(world), NOW)
    assert row.cells[-1] == "?[2J?]0;evil?text??[red]and markup[/red]"
    text = drawn(picture_of(world), width=200)
    assert "\x1b" not in text and "[red]and markup[/red]" in text
