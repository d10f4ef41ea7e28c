"""What ``testbed top`` tells of runs: load, marks, objectives, and which of several runs are shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_world import run_status
from top_pictures import NOW

from testbed.api.experiment_status import SILENT_S
from testbed.cli.top_rows import (
    BAD,
    GOOD,
)
from testbed.cli.top_run import bars, run_lines, shown_runs


def test_a_run_is_told_with_its_load_its_marks_and_its_objectives() -> None:
    started = {"startedAt": (NOW - timedelta(seconds=9)).isoformat()}
    lines = dict(run_lines("crash-1", run_status(9) | started | {"verdicts": {"passed": 1}}, NOW))
    words = list(lines)
    assert words[0] == "crash (crash-1)  run 1 of 3 · observe · crash · for 9s  so far: 1 passed"
    assert "  pulse 100/s: 900 sent, 12 failed  p50 2.1 ms, p99 8.0 ms" in words
    assert "  failed      █   " in words
    assert lines["  crash default/web-1/web (run 1): detected 120 ms · isolated 200 ms · restored 1.40 s · 12 failed"] \
        == GOOD
    assert lines["  crash.repair.median < 3s: met, 1.4s"] == GOOD


def test_the_newest_disruption_is_told_with_all_its_marks_and_older_ones_with_how_they_ended() -> None:
    marks = {"first_failed": 0.15, "detected": 1.25, "last_failed": 1.26, "isolated": 1.29, "acted": 3.3, "ready": 5.2,
             "in_rotation": 5.22, "restored": 5.24}
    each = {"step": "lose", "target": "node-1", "marks": marks, "restored": True}
    words = [text for text, _ in run_lines("x", {"disruptions": [{**each, "run": 1}, {**each, "run": 2}]}, NOW)]
    assert words[1:] == [
        "  lose node-1 (run 1): detected 1.25 s · isolated 1.29 s · restored 5.24 s",
        "  lose node-1 (run 2): detected 1.25 s · isolated 1.29 s · restored 5.24 s",
        "    clients  first failed 150 ms · last failed 1.26 s",
        "    repair   detected 1.25 s · acted 3.30 s · ready 5.20 s · in rotation 5.22 s · restored 5.24 s"]


@pytest.mark.parametrize("status", [{}, {"phase": "Running"}, {"phase": "Finished"}, {"phase": "Running", "load": [{}]},
                                    {"phase": "Running", "run": None, "disruptions": [{}], "load": None}])
def test_a_runner_of_another_version_breaks_nothing(status: dict[str, Any]) -> None:
    assert list(run_lines("x", status, NOW))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("\x1b[2J"),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=12)


@given(st.data())
def test_whatever_somebody_publishes_ends_nothing_and_cannot_steer_the_terminal(data: st.DataObject) -> None:
    """A proper status, in which one value, however deep, is something else."""
    status: Any = run_status(9) | {"startedAt": NOW.isoformat(), "verdicts": {"passed": 1}}
    status = {**status, "phase": data.draw(st.sampled_from(["Running", "Finished"])), "endedAt": NOW.isoformat()}
    inside: Any = status
    while True:
        key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
            break
        inside = inside[key]
    inside[key] = data.draw(JSON_VALUES)
    for name, shown in shown_runs({"experiments": {"default/x": status, "default/y": inside[key]}}, NOW):
        lines = list(run_lines(name, shown, NOW))
        assert lines and all(text.isprintable() for text, _ in lines)


def test_what_cannot_be_read_is_said_and_the_rest_is_told() -> None:
    words = [text for text, _ in run_lines("crash-1", run_status(9) | {"load": [7], "startedAt": "then"}, NOW)]
    assert words[0].startswith("crash (crash-1)")
    assert words[1] == "  what the run says of its load cannot be read: no runner of this version wrote it"
    assert words[2] == "  crash.repair.median < 3s: met, 1.4s"


def test_the_running_ones_are_shown_else_the_last_that_ended_a_short_while_ago() -> None:
    def ended(ago_s: float) -> dict[str, str]:
        return {"phase": "Finished", "endedAt": (NOW - timedelta(seconds=ago_s)).isoformat()}

    finished = {"default/a": ended(20), "default/b": ended(10), "default/c": ended(4000)}
    assert [name for name, _ in shown_runs({"experiments": finished}, NOW)] == ["b"]
    assert [name for name, _ in shown_runs({"experiments": finished | {"default/d": {"phase": "Running"}}}, NOW)] \
        == ["d"]
    assert shown_runs({"experiments": {"default/c": ended(4000), "default/e": {}}}, NOW) == []


def test_a_run_whose_runner_was_killed_is_said_to_have_lost_it_and_hides_none_that_runs() -> None:
    def said(ago_s: float) -> dict[str, Any]:
        return run_status(9) | {"updatedAt": (NOW - timedelta(seconds=ago_s)).isoformat()}

    assert next(run_lines("x", said(SILENT_S - 1), NOW))[0].startswith("crash (x)  run ")
    assert next(run_lines("x", said(SILENT_S + 1), NOW)) == (
        "crash (x)  its runner is gone: it said nothing more for 61s", BAD)
    lost, goes = {"default/a": said(SILENT_S + 1)}, {"default/b": said(1)}
    assert [name for name, _ in shown_runs({"experiments": lost}, NOW)] == ["a"]
    assert [name for name, _ in shown_runs({"experiments": goes | lost}, NOW)] == ["b"]
    assert shown_runs({"experiments": {"default/a": said(4000)}}, NOW) == []


@given(st.lists(st.none() | st.floats(0, 1e6)))
def test_bars_are_one_character_a_value_and_nothing_is_blank(values: list[float | None]) -> None:
    text = bars(values)
    assert len(text) == len(values)
    assert [char == " " for char in text] == [not value for value in values]
