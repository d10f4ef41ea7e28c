"""What a pod may use of its node, by table: disk limits, the order of evictions, the condition's memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import PodSpec
from testbed.core.local_storage import DiskUse, limited_volumes, over_limit
from testbed.core.node_pressure import (
    PodUse,
    Pressure,
    disk_threshold_bytes,
    disk_victims,
    judged,
    turned_away,
    victims,
)

MI = 1024**2


def spec(*limits: str, volume: dict[str, Any] | None = None, **more: Any) -> PodSpec:
    return PodSpec.of({
        "containers": [{"name": f"c{index}", "resources": {"limits": {"ephemeral-storage": limit} if limit else {}}}
                       for index, limit in enumerate(limits)],
        "volumes": [{"name": "v", "emptyDir": volume if volume is not None else {}}], **more})


@pytest.mark.parametrize(("wanted", "volume", "containers", "text"), [
    (spec(""), 100, {}, ""),
    (spec("", volume={"sizeLimit": "1Mi"}), 1, {}, ""),
    (spec("", volume={"sizeLimit": "1Mi"}), 2, {}, 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
    (spec("3Mi"), 2, {"c0": 1}, ""),
    (spec("3Mi"), 2, {"c0": 2}, "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "),
    (spec("3Mi", volume={"medium": "Memory"}), 9, {"c0": 2}, ""),
    (spec("1Mi", "9Mi"), 0, {"c0": 2}, 'Container c0 exceeded its local ephemeral storage limit "1Mi". '),
    (spec("1536Ki", ""), 0, {"c1": 2},
     "Pod ephemeral local storage usage exceeds the total limit of containers 1536Ki. "),
])
def test_disk_limits(wanted: PodSpec, volume: int, containers: dict[str, int], text: str) -> None:
    use = DiskUse({"v": volume * MI}, {name: size * MI for name, size in containers.items()})
    assert over_limit(wanted, use) == text


def test_only_what_is_limited_is_measured() -> None:
    assert limited_volumes(spec("")) == ()
    assert limited_volumes(spec("1Mi")) == ("v",)
    assert limited_volumes(spec("1Mi", volume={"medium": "Memory"})) == ()
    assert limited_volumes(spec("", volume={"medium": "Memory", "sizeLimit": "1Mi"})) == ("v",)


def use(uid: str, used: int, request: str = "0", priority: int = 0) -> PodUse:
    return PodUse(uid, PodSpec.of({"priority": priority, "containers": [
        {"name": "app", "resources": {"requests": {"memory": request}}}]}), {"app": used * MI})


def test_those_over_their_request_go_first_then_the_unimportant_then_the_largest() -> None:
    pods = [use("within", 500, "600Mi"), use("important", 300, priority=10), use("small", 100), use("large", 200),
            use("critical", 900, priority=2_000_001_000), use("idle", 0)]
    assert [item.uid for item in victims(pods)] == ["large", "small", "important", "within"]


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.1, 20)), max_size=30))
def test_the_condition_outlives_its_cause_by_the_hold(looks: list[tuple[int, float]]) -> None:
    state, now, last = Pressure(), 0.0, None
    for available, step in looks:
        now += step
        state = judged(state, available, 100, 30.0, now)
        last = now if available < 100 else last
        assert state.met is (available < 100)
        assert state.holds is (last is not None and now - last < 30.0)


def test_a_node_under_pressure_takes_pods_that_ask_for_something() -> None:
    assert turned_away(PodSpec.of({"containers": [{"name": "a"}]})) == "The node had condition: [MemoryPressure]. "
    assert not turned_away(use("a", 0, "1Mi").spec)
    assert not turned_away(PodSpec.of({"containers": [{"name": "a"}], "tolerations": [{"operator": "Exists"}]}))


def on_disk(uid: str, used: int, request: str = "0", priority: int = 0) -> tuple[PodSpec, str, int]:
    return (PodSpec.of({"priority": priority, "containers": [
        {"name": "app", "resources": {"requests": {"ephemeral-storage": request}}}]}), uid, used * MI)


def test_a_full_disk_evicts_those_over_their_request_then_by_priority_then_by_use() -> None:
    pods = [on_disk("within", 50, "60Mi"), on_disk("over-little", 6, "1Mi"), on_disk("over-much", 30, "1Mi"),
            on_disk("important", 90, "1Mi", priority=5), on_disk("critical", 99, priority=2_000_000_000),
            on_disk("empty", 0)]
    assert disk_victims(pods) == ["over-much", "over-little", "important", "within"]
    assert disk_threshold_bytes(200 * MI) == 20 * MI


def test_a_node_short_of_disk_takes_critical_pods_only() -> None:
    assert turned_away(use("a", 0, "1Mi").spec, disk=True) == "The node had condition: [DiskPressure]. "
    assert not turned_away(use("a", 0, priority=2_000_000_000).spec, disk=True)
