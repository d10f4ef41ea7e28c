"""How a Chaos Toolkit experiment ends: every case in which Chaos Toolkit's own exit status, journal and rollbacks were
measured (chaostoolkit 1.19.0, chaostoolkit-lib 1.44.0), and what is different here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from toolkit_world import action, exists, experiment, probe, process, python, run, write

from testbed.experiment.result import Verdict
from testbed.experiment.toolkit.loading import load_toolkit
from testbed.experiment.toolkit.running import ToolkitRun
from testbed.experiment.toolkit.values import Options

UNDO = [action("undo", process("touch", "undone"))]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Paths in an experiment are relative to where it is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    return tmp_path


def undone(here: Path) -> bool:
    return (here / "undone").exists()


async def test_all_fine(here: Path) -> None:
    ran = await run(here, experiment(hypothesis=exists(here / "file"), rollbacks=UNDO,
                                     method=[action("touch", process("touch", "file"))]))
    assert ran.ended == (0, "completed", False) and undone(here)
    assert ran.journal["steady_states"]["before"]["steady_state_met"] is True
    assert ran.journal["steady_states"]["after"]["steady_state_met"] is True
    assert [item["status"] for item in ran.run] == ["succeeded"]
    assert [state.when for state in ran.result.runs[0].steady_states] == ["before", "after"]
    assert [event.object for event in ran.result.runs[0].events] == ["action touch", "rollback action undo"]


async def test_a_hypothesis_that_is_not_met_before_the_method_fails(here: Path) -> None:
    """Upstream: 0, completed, and its rollbacks are played though the method never ran."""
    ran = await run(here, experiment(hypothesis=exists(here / "nowhere"), rollbacks=UNDO,
                                     method=[action("touch", process("touch", "touched"))]))
    assert ran.ended == (5, "failed", False)
    assert not undone(here) and not (here / "touched").exists() and ran.run == []
    assert "there: False is not True" in ran.result.reason


async def test_a_probe_that_raises_before_the_method_fails(here: Path) -> None:
    """Upstream: 1, failed, no rollbacks."""
    hypothesis = {"title": "is there", "probes": [
        probe("web", {"type": "http", "url": "http://127.0.0.1:9/", "timeout": 1}, tolerance=200)]}
    ran = await run(here, experiment(hypothesis=hypothesis, rollbacks=UNDO))
    assert ran.ended == (5, "failed", False) and not undone(here)
    before = ran.journal["steady_states"]["before"]["probes"][0]
    assert before["status"] == "failed" and before["tolerance_met"] is False and before["exception"]


async def test_a_hypothesis_that_is_not_met_afterwards_deviates(here: Path) -> None:
    ran = await run(here, experiment(hypothesis=exists(here / "file"), rollbacks=UNDO,
                                     method=[action("remove", process("rm", "file"))]))
    assert ran.ended == (7, "completed", True) and undone(here)


async def test_a_probe_that_raises_afterwards_deviates_and_is_rolled_back(here: Path) -> None:
    """Upstream: 1, failed, deviated, and no rollbacks."""
    hypothesis = {"title": "can be read", "probes": [
        probe("size", python("os.path", "getsize", filename=str(here / "file")), tolerance=0)]}
    ran = await run(here, experiment(hypothesis=hypothesis, rollbacks=UNDO,
                                     method=[action("remove", process("rm", "file"))]))
    assert ran.ended == (7, "failed", True) and undone(here)


@pytest.mark.parametrize(("provider", "word"), [
    (python("os", "rmdir", path="nowhere"), "FileNotFoundError"),
    (process("sleep", "20", timeout=0.1), "longer than 0.1 s"),
    (process("false"), "exit status 1"),
    ({"type": "http", "url": "http://127.0.0.1:9/", "timeout": 1}, "127.0.0.1"),
    (python("time", "sleep", secs=20) | {"timeout": 0.1}, "longer than 0.1 s"),
    (python("sys", "exit"), "tried to end the process"),
])
async def test_an_action_that_does_nothing_is_a_fault_without_effect(
    here: Path, provider: dict[str, object], word: str
) -> None:
    """Upstream: 0, completed; and a function that never returns holds it for ever. The rest is done all the same."""
    if provider.get("func") == "sleep":
        provider["arguments"] = {}
        (here / "sleeping.py").write_text("import time\ndef sleep(): time.sleep(60)\n")
        provider["module"] = "sleeping"
    began = time.monotonic()
    ran = await run(here, experiment(hypothesis=exists(here / "file"), rollbacks=UNDO,
                                     method=[action("act", provider), action("next", process("touch", "touched"))]))
    assert ran.ended == (6, "failed", False)
    assert word in ran.result.reason and "act: " in ran.result.reason
    assert (here / "touched").exists() and undone(here)
    assert time.monotonic() - began < 15  # of the 20 s and more that the slow ones take


async def test_an_action_says_itself_what_counts_by_its_tolerance(here: Path) -> None:
    ran = await run(here, experiment(method=[action("grep", process("grep", "x", "file"), tolerance=[0, 1])]))
    assert ran.ended == (0, "completed", False)
    ran = await run(here, experiment(method=[action("true", process("true"), tolerance=1)]))
    assert ran.ended == (6, "failed", False)


async def test_a_probe_of_the_method_that_gives_no_answer_is_a_note(here: Path) -> None:
    ran = await run(here, experiment(method=[probe("look", python("os", "stat", path="nowhere"))]))
    assert ran.ended == (0, "completed", False)
    assert any("probe look gave no answer" in note for note in ran.result.notes)


FLAPS = [action("remove", process("rm", "file"), pauses={"after": 0.4}),
         action("back", process("touch", "file"), pauses={"after": 0.2})]


@pytest.mark.parametrize("strategy", ["during-method-only", "continuously"])
async def test_a_hypothesis_that_is_not_met_during_the_method_is_missed(here: Path, strategy: str) -> None:
    """Upstream: 0, completed, not deviated."""
    ran = await run(here, experiment(hypothesis=exists(here / "file"), rollbacks=UNDO, method=FLAPS),
                    hypothesis=strategy, frequency_s=0.05)
    assert ran.ended == (1, "completed", True) and undone(here)
    states = ran.journal["steady_states"]
    assert {state["steady_state_met"] for state in states["during"]} == {True, False}
    assert (states["before"] is None) == (states["after"] is None) == (strategy == "during-method-only")
    assert "during" in [state.when for state in ran.result.runs[0].steady_states]


async def test_fail_fast_ends_the_method(here: Path) -> None:
    """Upstream: 1, failed, and no rollbacks."""
    ran = await run(here, experiment(hypothesis=exists(here / "file"), rollbacks=UNDO, method=FLAPS),
                    hypothesis="during-method-only", frequency_s=0.05, fail_fast=True)
    assert ran.ended == (1, "failed", True) and undone(here)
    assert [item["activity"]["name"] for item in ran.run] == ["remove"]


async def test_a_rollback_that_fails_is_told_and_the_rest_still_played(here: Path) -> None:
    """Upstream: 0, completed."""
    ran = await run(here, experiment(rollbacks=[action("broken", python("os", "rmdir", path="nowhere")), *UNDO]))
    assert ran.ended == (8, "failed", False) and undone(here)
    assert "rollback broken" in ran.result.reason


@pytest.mark.parametrize(("strategy", "deviates", "played"), [
    ("default", False, True), ("always", False, True), ("never", True, False), ("deviated", False, False),
    ("deviated", True, True)])
async def test_rollback_strategies(here: Path, strategy: str, deviates: bool, played: bool) -> None:
    method = [action("remove", process("rm", "file"))] if deviates else []
    value = experiment(hypothesis=exists(here / "file"), method=method, rollbacks=UNDO)
    await run(here, value, rollbacks=strategy)
    assert undone(here) == played


async def test_rollbacks_are_played_before_the_method_only_when_always_asked_for(here: Path) -> None:
    value = experiment(hypothesis=exists(here / "nowhere"), rollbacks=UNDO)
    ran = await run(here, value, rollbacks="always")
    assert ran.ended[0] == 5 and undone(here)


@pytest.mark.parametrize(("strategy", "before", "after"), [
    ("default", True, True), ("before-method-only", True, False), ("after-method-only", False, True)])
async def test_hypothesis_strategies(here: Path, strategy: str, before: bool, after: bool) -> None:
    ran = await run(here, experiment(hypothesis=exists(here / "file"),
                                     runtime={"hypothesis": {"strategy": strategy}}))
    states = ran.journal["steady_states"]
    assert (states["before"] is not None, states["after"] is not None) == (before, after)


async def test_a_journal_that_cannot_be_written_keeps_nothing_from_being_rolled_back(here: Path) -> None:
    class Full(ToolkitRun):
        def _save(self) -> None:
            self._journal._paths = (here / "file" / "journal.json",)  # under a file: as good as a full disk
            super()._save()

    value = experiment(method=[action("act", process("true"))], rollbacks=UNDO)
    said: list[str] = []
    result = await Full(load_toolkit(write(here, value)), Options(), here / "runs", said.append).run()
    assert result.exit_code == 0 and undone(here)
    assert sum("cannot be written" in note for note in result.notes) == 1


# --- signals

SLOW = [action("first", process("touch", "first")), action("slow", process("sh", "-c", "touch slow; sleep 30")),
        action("third", process("touch", "third"))]


@pytest.mark.parametrize(("number", "strategy", "rolled_back"), [
    (signal.SIGINT, "", True), (signal.SIGTERM, "", True), (signal.SIGUSR1, "", True),
    (signal.SIGINT, "never", False), (signal.SIGUSR2, "always", False)])
async def test_an_interrupt_ends_what_is_being_done_and_rolls_back(
    here: Path, number: signal.Signals, strategy: str, rolled_back: bool
) -> None:
    """Upstream: 1, interrupted, and no rollbacks unless always asked for; SIGUSR2 means none."""
    running = asyncio.create_task(run(here, experiment(
        hypothesis=exists(here / "file"), method=SLOW, rollbacks=UNDO), rollbacks=strategy))
    until = time.monotonic() + 20
    while not (here / "slow").exists():
        assert time.monotonic() < until and not running.done()
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), number)
    ran = await asyncio.wait_for(running, 20)
    assert ran.ended == (130, "interrupted", False)
    assert undone(here) == rolled_back == bool(ran.rollbacks) and not (here / "third").exists()
    assert ran.run[-1]["exception"] == ["interrupted"]
    assert ran.result.verdict is Verdict.INTERRUPTED


async def test_rollbacks_go_on_when_the_interrupt_comes_while_they_are_played(here: Path) -> None:
    waits = "touch slow; for i in $(seq 100); do test -e go && exit; sleep 0.1; done"
    slow = action("slow", process("sh", "-c", waits))
    running = asyncio.create_task(run(here, experiment(rollbacks=[slow, *UNDO])))
    until = time.monotonic() + 20
    while not (here / "slow").exists():
        assert time.monotonic() < until and not running.done()
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0)
    (here / "go").touch()
    ran = await asyncio.wait_for(running, 20)
    assert ran.ended == (130, "interrupted", False) and undone(here)


def test_a_killed_run_leaves_a_journal_that_says_how_far_it_came(here: Path) -> None:
    """Upstream: no journal at all."""
    file = write(here, experiment(hypothesis=exists(here / "file"), method=SLOW, rollbacks=UNDO))
    child = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", str(file), "--journal-path", "journal.json"], cwd=here,
        env={**os.environ, "XDG_STATE_HOME": str(here / "state")}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (here / "slow").exists():
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.02)
    inner = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.wait(timeout=20)
    for process_left in inner:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have followed its parent by itself
            process_left.kill()
    journal = json.loads((here / "journal.json").read_text())
    assert journal["status"] is None and "end" not in journal
    assert [(item["activity"]["name"], item.get("status")) for item in journal["run"]] == [
        ("first", "succeeded"), ("slow", None)]


@pytest.mark.parametrize(("value", "options", "code", "word"), [
    (experiment(configuration={"a": {"type": "env", "key": "SURELY_NOT_SET"}}), (), 3, "SURELY_NOT_SET"),
    (experiment(), ("--rollback-strategy", "sometimes"), 2, "'sometimes'"),
    (experiment(), ("--runs", "3"), 2, "--runs"),
])
def test_what_is_wrong_is_told_before_anything_is_done(
    here: Path, value: dict[str, object], options: tuple[str, ...], code: int, word: str
) -> None:
    file = write(here, value)
    done = subprocess.run([sys.executable, "-m", "testbed", "run", str(file), *options], cwd=here, check=False,
                          env={**os.environ, "XDG_STATE_HOME": str(here / "state")}, capture_output=True, text=True)
    assert done.returncode == code and word in done.stderr and "Traceback" not in done.stderr
    assert not list((here / "state").glob("*/*/runs/*"))
