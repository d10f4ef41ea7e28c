"""IOChaos: what an object may say, which operations a rule means, and how what was seen is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from support.nettools import load

from faults.io_chaos import IoFault, IoLatency, told
from faults.protocol import NotInEffect, Refused
from faults.registry import Registry

FAULT = {"volumePath": "/var/run/etcd", "errno": 5}
LATENCY = {"volumePath": "/var/run/etcd", "delay": "10ms"}


@pytest.mark.parametrize(("changes", "field"), [
    ({"volumePath": "data"}, "spec.volumePath"), ({"volumePath": "/"}, "spec.volumePath"),
    ({"path": "/elsewhere/**"}, "spec.path"), ({"path": "x"}, "spec.path"), ({"path": "/var/run/etcd2"}, "spec.path"),
    ({"percent": 0}, "spec.percent"), ({"methods": ["access", "forget"]}, "spec.methods"),
    ({"errno": 0}, "spec.errno"), ({"errno": 4711}, "spec.errno"),
])
def test_mistakes_name_the_field(changes: dict[str, Any], field: str) -> None:
    assert [mistake.field for mistake in IoFault().mistakes(FAULT | changes)] == [field]


@pytest.mark.parametrize("delay", [None, "0s", "11m", "soon", "-1s"])
def test_a_latency_needs_a_delay_that_ends(delay: str | None) -> None:
    assert [mistake.field for mistake in IoLatency().mistakes(LATENCY | {"delay": delay})] == ["spec.delay"]


@pytest.mark.parametrize("path", [
    "/var/run/etcd/**/*", "/var/run/etcd", "/var/**", "/var/run/etcd/wal/*.wal", "/*", "**/x"])
def test_paths_that_may_match_are_accepted(path: str) -> None:
    assert IoFault().mistakes(FAULT | {"path": path}) == ()


def test_chaos_meshs_examples_are_accepted() -> None:
    selector = {"mode": "one", "selector": {"labelSelectors": {"app": "etcd"}}, "duration": "400s"}
    where = {"volumePath": "/var/run/etcd", "path": "/var/run/etcd/**/*"}
    assert IoLatency().mistakes({**selector, **where, "action": "latency", "delay": "10ms", "percent": 10}) == ()
    assert IoFault().mistakes({**selector, **where, "action": "fault", "errno": 5, "percent": 50}) == ()


@pytest.mark.parametrize("action", ["mistake", "attrOverride"])
def test_actions_that_are_left_out_are_refused_by_name_with_the_reason(action: str) -> None:
    with pytest.raises(Refused, match=f"IOChaos/{action} is left out: .*(no undo|no disk)"):
        Registry().get(f"IOChaos/{action}")


def rule(**changes: Any) -> Any:
    plan = {"id": "x", "delay_ns": 0, "errno": 5, "percent": 100, "methods": [], "volume": "/data", "path": ""}
    return load("files").Rule(plan | changes)


@pytest.mark.parametrize(("pattern", "matching", "other"), [
    ("", [b"", b"/a", b"/a/b"], []),
    ("/data/**/*", [b"/a", b"/a/b", b"/a/b/c"], [b""]),
    ("/data/*.log", [b"/a.log", b"/a/b.log"], [b"/a.txt", b""]),
    ("/data/wal/?.wal", [b"/wal/1.wal"], [b"/wal/12.wal", b"/1.wal"]),
    ("/data/[ab]", [b"/a", b"/b"], [b"/c"]),
    ("/data/a", [b"/a"], [b"/ab", b"/a/b"]),
])
def test_patterns_match_as_in_chaos_mesh(pattern: str, matching: list[bytes], other: list[bytes]) -> None:
    one = rule(path=pattern)
    assert [path for path in matching if not one.concerns("read", path)] == []
    assert [path for path in other if one.concerns("read", path)] == []


def test_methods_are_fuses_and_kin_counts_as_its_like() -> None:
    one = rule(methods=["write", "rename"])
    asked = ("write", "fallocate", "rename2", "read", "lookup")
    assert [method for method in asked if one.concerns(method, b"/a")] == ["write", "fallocate", "rename2"]


def test_a_share_is_drawn_from_a_seed() -> None:
    drawn = [[one.met("read", [b"/a"]) for _ in range(1000)] for one in (rule(percent=30), rule(percent=30))]
    assert drawn[0] == drawn[1]
    assert 230 <= sum(drawn[0]) <= 370


def test_what_was_seen_is_told_with_figures() -> None:
    seen = {"mounted": True, "method": "open", "path": "/data/x", "tries": 3, "met": 1, "errno": errno.EIO,
            "took_s": 0.1}
    plan = {"volume": "/data", "percent": 50, "errno": 5, "delay_ns": 0}
    assert told(plan, seen) == "open of /data/x fails with EIO in 1 of 3 tries"
    assert told(plan | {"errno": 0, "percent": 100}, seen) == "open of /data/x takes 100.0 ms"
    with pytest.raises(NotInEffect, match="3 tries met nothing"):
        told(plan, seen | {"met": 0})
    with pytest.raises(NotInEffect, match="nothing is mounted"):
        told(plan, seen | {"mounted": False})


def test_a_volumes_path_may_lead_over_links(tmp_path: Path) -> None:
    """Chaos Mesh's examples say /var/run/etcd, and /var/run is a link to /run in many images."""
    mounts, own = load("mounts"), os.getpid()
    (tmp_path / "run" / "etcd").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to(tmp_path / "run")
    (tmp_path / "var" / "near").symlink_to("../run/./etcd")
    (tmp_path / "circle").symlink_to("circle")
    there = str(tmp_path.resolve() / "run" / "etcd")
    for path in ("run/etcd", "var/run/etcd", "var/near", "var/../run//etcd/"):
        assert mounts.place(own, f"{tmp_path}/{path}") == there
    assert mounts.place(own, f"{tmp_path}/none/such") == f"{tmp_path.resolve()}/none/such"
    with pytest.raises(mounts.Unfit):
        mounts.place(own, f"{tmp_path}/circle")
