"""``testbed top``: what it shows of a picture, as values; on a pipe; and live on a real terminal, through the loss of
the control plane."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_world import PageWorld, run_status

from testbed.api.experiment_status import SILENT_S
from testbed.cli.top_live import as_text
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
from testbed.cli.top_run import bars, run_lines, shown_runs
from testbed.cli.top_view import GIVES_WAY, Connection, parts_of, render, shares
from testbed.server.picture import cluster
from testbed.server.sketch import Sketch

NOW = datetime.now(UTC)


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    world = PageWorld(tmp_path / "testbed")
    world.fill()
    return world


def picture_of(world: PageWorld) -> dict[str, Any]:
    return {"cluster": cluster(world.instance, NOW), **Sketch(world.registry).whole()}


def drawn(picture: dict[str, Any], *, width: int = 100, height: int | None = None, away_s: float | None = None) -> str:
    import io

    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, no_color=True).print(render(picture, NOW, Connection(away_s), height=height))
    return stream.getvalue()


# --- rows


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


# --- the run


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


# --- what fits


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


# --- as a program


async def run_top(world: PageWorld, *arguments: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testbed", "top", "--name", "instance", *arguments, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment(world) | env)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


def environment(world: PageWorld) -> dict[str, str]:
    return os.environ | {"XDG_STATE_HOME": str(world.instance.directory.parent.parent), "TERM": "xterm-256color"}


async def test_a_pipe_gets_one_picture_without_colours(world: PageWorld) -> None:
    world.experiment("crash-1", run_status(8))
    async with world.serving():
        code, out, err = await run_top(world)
    assert (code, err) == (0, "")
    assert "\x1b" not in out and "3 of 3 nodes ready" in out and "crash (crash-1)" in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]
    assert out.count("web-") >= 6


async def test_one_picture_of_a_cluster_that_does_not_answer_or_is_not_there_is_an_error(world: PageWorld) -> None:
    code, out, err = await run_top(world, "--once")
    assert (code, out) == (4, "") and err.startswith("error: the control plane does not answer")
    code, out, err = await run_top(world, "--once", TESTBED_NAME="x", XDG_STATE_HOME="/nowhere")
    assert code == 4 and "is not up" in err


class Screen:
    """A terminal of 40 rows and 120 columns that a program runs in."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor, self._seen = pid, descriptor, ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            self._seen += os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._descriptor)

    async def shows(self, text: str) -> None:
        """Waits for it to be drawn anew."""
        self._seen = ""
        for _ in range(600):
            if text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{text!r} was not shown; last: {self._seen[-2000:]}")

    def press(self, key: str) -> None:
        os.write(self._descriptor, key.encode())

    async def ended(self) -> int:
        for _ in range(400):
            pid, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            await asyncio.sleep(0.05)
        raise AssertionError("it did not end")

    @property
    def all(self) -> str:
        return self._seen


@contextmanager
def terminal(world: PageWorld) -> Iterator[Screen]:
    pid, descriptor = pty.fork()
    if pid == 0:
        ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execvpe(sys.executable, [sys.executable, "-m", "testbed", "top", "--name", "instance"], environment(world))
    screen = Screen(pid, descriptor)
    try:
        yield screen
    finally:
        if screen.pid:
            os.kill(screen.pid, signal.SIGKILL)
            os.waitpid(screen.pid, 0)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_a_terminal_is_kept_up_until_q_through_the_loss_of_the_control_plane(world: PageWorld) -> None:
    with terminal(world) as screen:
        await screen.shows("the control plane is away")
        async with world.serving():
            await screen.shows("6 of 6 pods ready")
            world.pod("web-3", "node-3", ready=False, restarts=4, waiting="CrashLoopBackOff")
            await screen.shows("CrashLoopBackOff")
        await screen.shows("the control plane is away")
        world.pod("web-3", "node-3", restarts=5)
        async with world.serving():
            await screen.shows("6 of 6 pods ready")
            screen.press("xq")
            assert await screen.ended() == 0
    assert {"\x1b[?1049l", "\x1b[?25h"} <= set(re.findall(r"\x1b\[[?0-9]*[a-z]", screen.all[-40:]))  # as it was before


async def test_ctrl_c_ends_it_as_q_does(world: PageWorld) -> None:
    async with world.serving():
        with terminal(world) as screen:
            await screen.shows("6 of 6 pods ready")
            screen.press("\x03")
            assert await screen.ended() == 0


def test_colours_are_only_there_where_they_are_wanted(world: PageWorld) -> None:
    assert "\x1b[" in as_text(picture_of(world), NOW, width=100, color=True)
    assert "\x1b" not in as_text(picture_of(world), NOW, width=100, color=False)
