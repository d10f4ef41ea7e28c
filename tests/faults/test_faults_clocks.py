"""TimeChaos: what an object may say, and what is written into the vdso, tried in this process's own."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import pytest
from support.nettools import load

from faults import clocks
from faults.durations import nanoseconds
from faults.node_clock import NodeClock
from faults.protocol import NotInEffect
from faults.time_chaos import TimeChaos

S = 10**9


@pytest.mark.parametrize(("text", "expected"), [
    ("-10m100ns", -600 * S - 100), ("1h30m", 5400 * S), ("300ms", 3 * S // 10), ("-1.5h", -5400 * S), ("+5s", 5 * S),
    ("0", 0), ("1.5ns", 1), (".5s", S // 2), ("1us", 1000), ("2µs", 2000), ("2h45m", 9900 * S),
])
def test_an_offset_is_a_duration_of_gos(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "-", "1d", "1 s", "--1s", "1s-1s", "300000h0.1s" * 9, "9999999h"])
def test_what_go_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        nanoseconds(text)


@pytest.mark.parametrize(("spec", "field"), [
    ({}, "spec.timeOffset"), ({"timeOffset": "soon"}, "spec.timeOffset"), ({"timeOffset": "0s"}, "spec.timeOffset"),
    ({"timeOffset": "-300y"}, "spec.timeOffset"),
])
def test_mistakes_name_the_field(spec: dict[str, Any], field: str) -> None:
    for fault in (TimeChaos(), NodeClock()):
        assert [mistake.field for mistake in fault.mistakes(spec)] == [field]


def test_without_clock_ids_the_real_time_is_meant() -> None:
    assert clocks.plan_of({"timeOffset": "1s"}, {})["clocks"] == [0]
    assert clocks.plan_of({"timeOffset": "1s", "clockIds": ["CLOCK_BOOTTIME", "CLOCK_MONOTONIC"]}, {})["clocks"] == [
        1, 7]


def test_a_clock_that_is_not_where_it_should_be_is_told() -> None:
    assert clocks.told({"0": 5 * S + 1000}, {"0": 5 * S}) == "CLOCK_REALTIME is +5.000001 s off"
    with pytest.raises(NotInEffect, match=r"CLOCK_REALTIME is \+0.000 s off instead of \+5.000 s"):
        clocks.told({"0": 0}, {"0": 5 * S})
    with pytest.raises(NotInEffect, match="no clock CLOCK_REALTIME_ALARM"):
        clocks.told({"8": None}, {"8": 5 * S})
    assert "no clock CLOCK_BOOTTIME_ALARM" in clocks.told({"0": 5 * S, "9": None}, {"0": 5 * S, "9": 5 * S})


needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the routines are x86_64's")


def written(image: Any, slots: dict[bytes, tuple[int, int]], into: bytes | None = None) -> bytes:
    """The vdso with these slots."""
    content = bytearray(image.bytes if into is None else into)
    for at, piece in image.patch(slots):
        content[at:at + len(piece)] = piece
    return bytes(content)


@needs_x86
def test_what_is_written_puts_the_clocks_off_and_nothing_else() -> None:
    vdso = load("vdso")
    image = vdso.Image()
    slots = {vdso.slot_id("one"): (-600 * S - 100, 1 << 0), vdso.slot_id("two"): (90 * S, 1 << 0 | 1 << 7)}
    code = vdso.Running(image, written(image, slots))
    for clock, offset in ((0, -510 * S - 100), (7, 90 * S), (1, 0), (5, 0)):
        before = time.clock_gettime_ns(clock)
        seen = code.clock_gettime_ns(clock) - offset
        assert before - 10**7 <= seen <= time.clock_gettime_ns(clock) + 10**7  # the coarse one ticks 100 times a second
    before = time.time_ns()
    seen = code.gettimeofday_ns() + 510 * S + 100
    assert before - 2000 <= seen <= time.time_ns() + 2000
    before = time.time_ns()
    assert (before - 510 * S - 100) // S <= code.time_s() <= (time.time_ns() - 510 * S - 100) // S


@needs_x86
def test_nanoseconds_carry_over_into_seconds() -> None:
    vdso = load("vdso")
    image = vdso.Image()
    for offset in (S - 1, -1, 1, 1 - S, 999_999_000):
        code = vdso.Running(image, written(image, {vdso.slot_id("one"): (offset, 1)}))
        for _ in range(200):
            before = time.time_ns()
            seen = code.clock_gettime_ns(0) - offset
            assert before <= seen <= time.time_ns()


@needs_x86
def test_injections_are_taken_back_one_by_one_until_nothing_is_left() -> None:
    vdso = load("vdso")
    image = vdso.Image()
    one, two = {vdso.slot_id("one"): (S, 1)}, {vdso.slot_id("two"): (2 * S, 3)}
    both = written(image, one | two)
    assert image.slots(both) == one | two
    left = written(image, two, into=both)
    assert image.slots(left) == two
    assert written(image, {}, into=left) == image.bytes
    assert image.slots(image.bytes) == {}


@needs_x86
def test_a_vdso_that_another_has_changed_is_left_alone() -> None:
    vdso = load("vdso")
    image = vdso.Image()
    changed = bytearray(image.bytes)
    changed[image.entries["__vdso_clock_gettime"]] = 0xCC
    assert image.slots(bytes(changed)) is None
    assert image.slots(image.bytes[:4096]) is None
    foreign = bytearray(written(image, {vdso.slot_id("one"): (S, 1)}))
    foreign[image.area] = 0xCC  # in code that a look would run
    assert image.slots(bytes(foreign)) is None
    with pytest.raises(vdso.Unfit):
        image.patch({bytes([number] * 8): (1, 1) for number in range(9)})


def test_chaos_meshs_example_is_accepted() -> None:
    spec = {"mode": "one", "selector": {"labelSelectors": {"app.kubernetes.io/component": "tikv"}},
            "timeOffset": "-10m100ns", "duration": "30s"}
    assert TimeChaos().mistakes(spec) == ()


def test_members_are_told_by_their_cgroup() -> None:
    members = load("members")
    own = Path("/proc/self/cgroup").read_text().splitlines()[0].split(":", 2)[2]
    assert members.belongs("self", {"cgroups": [own]})
    assert not members.belongs("self", {"cgroups": [f"{own}/x"], "containers": ["f" * 64]})
    assert not members.belongs(0, {"containers": [""]})
    assert not members.is_holder(0)


@pytest.mark.parametrize(("own", "other", "expected"), [
    ("/testbed-x/holders/a", "/testbed-x/holders/b", True), ("/testbed-x/holders/a", "/testbed-x/node-1/b", False),
    ("/", "/../b", True), ("/", "/../../node-1/b", False), ("/", "/", False),
])
def test_only_containers_beside_a_holder_are_holders(own: str, other: str, expected: bool) -> None:
    assert load("members").beside(own, other) is expected
