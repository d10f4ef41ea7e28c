"""Events in the order of what they tell, in kubectl's columns, of everything or about one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.labels import MONOTONIC_NS
from testbed.cli.event_rows import as_line, in_order, last_seen, row, when
from testbed.cli.log_about import Trail
from testbed.client.event_body import event_body

BOOT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = 10**9
POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-1", "namespace": "default", "uid": "uid-1"}}
SET = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "default", "uid": "s"}}
FAULT = {"kind": "PodChaos", "apiVersion": "chaos-mesh.org/v1alpha1",
         "metadata": {"name": "kill", "namespace": "default", "uid": "f"}}


def event(at_ns: int, reason: str = "Said", obj: dict[str, Any] = POD, **more: Any) -> dict[str, Any]:
    """Of ours: both clocks agree, but for the second that the wall's is cut to."""
    return event_body(obj, "Normal", reason, f"{reason} at {at_ns}", name=f"e{at_ns}", component="kubelet",
                      host="node-1", at=BOOT + timedelta(microseconds=at_ns // 1000), monotonic_ns=at_ns, **more)


def foreign(at_s: int) -> dict[str, Any]:
    return {"metadata": {"name": f"f{at_s}", "namespace": "default"}, "type": "Warning", "reason": "Foreign",
            "message": "", "involvedObject": {"kind": "Pod", "name": "web-1"},
            "lastTimestamp": (BOOT + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%SZ")}


@given(moments=st.lists(st.integers(1, 100 * SECOND), unique=True, min_size=1), counts=st.lists(st.integers(1, 3)))
def test_events_of_ours_are_in_the_order_of_the_monotonic_clock(moments: list[int], counts: list[int]) -> None:
    told = [event(at_ns) | {"count": counts[at_ns % len(counts)] if counts else 1} for at_ns in moments]
    found = in_order(told)
    assert [ns for ns, _ in found] == sorted(moments)
    assert sorted(one["metadata"]["name"] for _, one in found) == sorted(one["metadata"]["name"] for one in told)


@given(ours=st.lists(st.integers(SECOND, 100 * SECOND), min_size=1), theirs=st.lists(st.integers(1, 100)))
def test_events_of_others_stand_where_their_second_belongs(ours: list[int], theirs: list[int]) -> None:
    found = in_order([*(event(at_ns) for at_ns in ours), *(foreign(at_s) for at_s in theirs)])
    for ns, one in found:
        if one["reason"] == "Foreign":
            assert abs(ns - int(one["metadata"]["name"][1:]) * SECOND) <= 2000


def test_events_without_a_monotonic_time_are_in_the_order_of_their_seconds() -> None:
    assert [one["metadata"]["name"] for _, one in in_order([foreign(9), foreign(2), foreign(5)])] == ["f2", "f5", "f9"]


@pytest.mark.parametrize(("fields", "seen"), [
    ({"eventTime": "2026-01-01T12:00:00.250000Z", "lastTimestamp": "2026-01-01T12:00:00Z"}, 0.25),
    ({"eventTime": "2026-01-01T12:00:00.250000Z", "lastTimestamp": "2026-01-01T12:00:07Z", "count": 3}, 7),
    ({"eventTime": "2026-01-01T12:00:00Z", "series": {"lastObservedTime": "2026-01-01T12:00:09.5Z"}}, 9.5),
    ({"lastTimestamp": None, "firstTimestamp": "2026-01-01T12:00:01"}, 1),
    ({"lastTimestamp": "yesterday"}, None),
    ({}, None),
])
def test_it_is_seen_last_when_it_was(fields: dict[str, Any], seen: float | None) -> None:
    moment = last_seen({"metadata": {}, **fields})
    assert moment == (None if seen is None else BOOT + timedelta(seconds=seen))


def test_a_row_is_kubectls() -> None:
    one = event(2 * SECOND + 500_000_000, "Killing")
    now = BOOT + timedelta(seconds=130)
    cells = ("2m7s", "Normal", "Killing", "Pod/web-1", "Killing at 2500000000")
    assert row(one, now, exact=False, namespaces=False) == cells
    assert row(one | {"count": 4}, now, exact=True, namespaces=True)[:2] == ("default", "2026-01-01T12:00:02.000Z (x4)")
    assert row(one, now, exact=True, namespaces=False)[0] == "2026-01-01T12:00:02.500Z"
    assert row({"metadata": {}}, now, exact=False, namespaces=False)[0] == "<unknown>"


@pytest.mark.parametrize(("age_s", "text"), [
    (0, "0s"), (119, "119s"), (120, "2m"), (130, "2m10s"), (700, "11m"), (3 * 3600, "3h"), (3 * 3600 + 1200, "3h20m"),
    (9 * 3600 + 1200, "9h"), (60 * 3600, "2d12h"), (72 * 3600, "3d"), (-3, "<invalid>")])
def test_ages_are_kubectls(age_s: int, text: str) -> None:
    """Source: kubernetes apimachinery pkg/util/duration/duration.go HumanDuration."""
    assert when(event(0), BOOT + timedelta(seconds=age_s)) == text


def test_events_are_about_a_fault_its_victim_and_what_was_made_in_its_place() -> None:
    victim = {"pod": "default/web-1", "pod_uid": "uid-1"}
    heir = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-2", "namespace": "default", "uid": "uid-2"}}
    told = [
        event(1, "SuccessfulCreate", SET, whom=victim), event(2, "Started"), event(3, "Applied", FAULT, whom=victim),
        event(4, "Killing"),
        event(5, "SuccessfulCreate", SET, whom={"pod": "default/web-2", "pod_uid": "uid-2"}),
        event(6, "Scheduled", heir), event(7, "ContainerReady", heir), event(8, "Scaled", SET),
        event(9, "Other", {**heir, "metadata": {**heir["metadata"], "name": "other", "uid": "uid-3"}}),
    ]

    def about(word: str) -> list[str]:
        trail = Trail(word)
        return [one["message"].partition(" ")[0] for ns, one in in_order(told) if trail.takes(as_line(ns, one))]

    assert about("PodChaos/kill") == ["Applied", "Killing", "SuccessfulCreate", "Scheduled", "ContainerReady"]
    assert about("web-1") == ["SuccessfulCreate", "Started", "Applied", "Killing", "SuccessfulCreate", "Scheduled",
                              "ContainerReady"]
    assert about("ReplicaSet/web") == ["SuccessfulCreate", "SuccessfulCreate", "Scaled"]
    assert len(about("node-1")) == len(told)


@pytest.mark.parametrize(("whom", "related"), [
    ({"pod": "default/web-1", "pod_uid": "u", "node": "n"},
     {"kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": "web-1", "uid": "u"}),
    ({"node": "n"}, {"kind": "Node", "apiVersion": "v1", "name": "n"}),
    ({"container_id": "c"}, None),
])
def test_who_else_it_is_about_is_related(whom: dict[str, str], related: dict[str, str] | None) -> None:
    assert event(1, whom=whom).get("related") == related
    assert event(1, whom=whom)["metadata"]["annotations"] == {MONOTONIC_NS: "1"}
