"""``testbed top``: what fits on a terminal, and what is shown of a cluster that is away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_world import PageWorld
from top_pictures import NOW, drawn, filled, picture_of

from testbed.cli.top_view import GIVES_WAY, parts_of, shares


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return filled(tmp_path)


@given(st.fixed_dictionaries({name: st.integers(0, 60) for name in (*GIVES_WAY, "pods")}), st.integers(12, 120),
       st.integers(1, 5))
def test_the_view_never_grows_over_the_terminal_and_pods_always_show(
    counts: dict[str, int], height: int, lines: int,
) -> None:
    shown = shares(counts, height, lines)
    assert all(0 <= shown[name] <= count for name, count in counts.items())
    assert shown["pods"] >= min(1, counts["pods"])
    used = lines + sum(2 + shown[name] + (shown[name] < count) for name, count in counts.items() if shown[name])
    used += any(count and not shown[name] for name, count in counts.items())
    assert used <= height


@pytest.mark.parametrize("height", [14, 24, 40, 100])
def test_what_is_drawn_is_as_high_as_was_reckoned(tmp_path: Path, height: int) -> None:
    world = PageWorld(tmp_path / "testbed")
    world.fill(nodes=5, pods=40)
    for number in range(30):
        world.event("Pod", "web-1", "Killing", f"number {number}")
    text = drawn(picture_of(world), height=height)
    assert len(text.rstrip("\n").splitlines()) <= height
    assert re.search(r"and \d+ more|no room for", text) or height == 100


def test_everything_is_shown_where_there_is_no_height(world: PageWorld) -> None:
    parts = parts_of(picture_of(world), NOW, None, 1)
    assert not any(part.left_out for part in parts)


def test_a_control_plane_that_is_away_is_said_and_the_picture_stays(world: PageWorld) -> None:
    text = drawn(picture_of(world), away_s=7.2)
    assert "the control plane is away for 7 s" in text and "web-1" in text
    assert "waiting for the control plane" in drawn({}, away_s=1)


def test_one_node_is_said_as_one(world: PageWorld) -> None:
    picture = picture_of(world)
    assert "3 of 3 nodes ready" in drawn(picture)
    picture["nodes"] = dict(list(picture["nodes"].items())[:1])
    assert "1 of 1 node ready" in drawn(picture)
