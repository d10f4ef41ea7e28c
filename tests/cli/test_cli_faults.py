"""``testbed faults`` and ``testbed inject`` where nothing runs: lists, pages, refusals, taking back by the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.certificates import self_signed

from faults.ledger import Entry, Ledger, Phase
from faults.protocol import Target
from testbed.api.instance import Instance
from testbed.api.instance_files import save_instance
from testbed.cli.main import main


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``testbed ARGUMENTS`` in this process: each start of an interpreter would take longer than what is tested."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("TESTBED_NAME", raising=False)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


def test_without_an_engine_faults_are_listed_and_what_is_not_known_says_so(
    testbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    done = testbed("faults", "-o", "json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0 and "not known" in done.stderr
    assert {"node-kill", "container-kill", "freeze", "sham"} <= rows.keys()
    assert rows["freeze"]["here"] == "yes" and rows["freeze"]["restart"] == "cures it"
    assert {row["here"] for row in rows.values() if row["needs"]} <= {"?"}


def test_a_page_shows_fields_and_an_example(testbed: Run) -> None:
    shown = testbed("faults", "show", "pod-kill")
    assert shown.returncode == 0
    assert "gracePeriod" in shown.stdout and "kind: PodChaos" in shown.stdout and "testbed.io/max-pods" in shown.stdout
    wrong = testbed("faults", "show", "pod-kil")
    assert wrong.returncode == 2 and "'pod-kill'" in wrong.stderr


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (("pod-kill", "-l", "app=web", "--set", "gracePeriodd=1"), 3, "unknown field (did you mean 'gracePeriod'?)"),
    (("pod-kill", "-l", "app=web", "--set", "gracePeriod=-1"), 3, "spec.gracePeriod"),
    (("freeze", "-l", "app=web", "--for", "30h"), 3, "spec.duration: must be more than 0 and at most 24h"),
    (("freeze", "-l", "app=web", "--for", "-5s"), 3, "spec.duration"),
    (("freeze", "-l", "app=web", "--max-pods", "150%"), 3, "a share from 1% to 100%"),
    (("freeze", "-l", "app=web", "--mode", "fixed-percent", "--value", "150"), 3, "spec.value"),
    (("freeze", "-l", "app=web", "--mode", "fixed"), 3, "spec.value: mode fixed needs a value"),
    (("freeze",), 2, "say whom to hit"), (("node-kill",), 2, "--node NAME"), (("freze", "-l", "a=b"), 2, "'freeze'"),
])
def test_what_may_not_be_injected_is_told_before_a_cluster_is_asked(
    testbed: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = testbed("inject", *arguments)
    assert (done.returncode, done.stdout) == (code, "") and says in done.stderr


def test_kinds_that_are_left_out_are_refused_by_name(testbed: Run, tmp_path: Path) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text("apiVersion: chaos-mesh.org/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec: {}\n")
    for command in (("inject", "-f"), ("run",), ("validate",)):
        done = testbed(*command, str(file))
        assert done.returncode == 3 and "Workflow of Chaos Mesh is left out: an Experiment runs" in done.stderr


# --- with a ledger, and nothing that runs


@pytest.fixture
def dead(testbed: Run, tmp_path: Path) -> Run:
    """The state of a cluster whose every process has died, with a node that was switched off."""
    directory = tmp_path / "testbed" / "dead"
    directory.mkdir(parents=True, mode=0o700)
    save_instance(Instance("dead", "0123456789ab", directory, "10.250.0.0/16", 1, ()))
    (directory / "ca.crt").write_text(self_signed("localhost")[0])
    (directory / "token").write_text("t")
    deadline_ns = time.monotonic_ns() + 10**12
    ledger = Ledger(directory / "ledger.sqlite")
    ledger.write(
        Entry("u-0000", "u", "NodeChaos", "default", "stop", "NodeChaos/kill", Target(node="node-1"), Phase.INJECTED,
              {"node": "node-1"}, deadline_ns, injected_count=1),
        Entry("v-0000", "v", "NodeChaos", "default", "done", "NodeChaos/kill", Target(node="node-2"), Phase.UNDONE,
              {"node": "node-2"}, deadline_ns, injected_count=1, recovered_count=1))
    ledger.close()
    return testbed


def test_the_ledger_answers_for_a_dead_api(dead: Run) -> None:
    listed = dead("faults", "list", "--name", "dead")
    assert listed.returncode == 0 and "the ledger" in listed.stderr
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["default", "stop", "NodeChaos", "kill", "injected", "node-1"],
        ["default", "done", "NodeChaos", "kill", "undone", "node-2"]]


def test_an_undo_that_fails_ends_with_its_own_code_and_is_told(dead: Run) -> None:
    """Only the machine room could switch the node on, and it is dead."""
    for _ in range(2):
        done = dead("faults", "undo", "stop", "--name", "dead")
        assert done.returncode == 8 and "stop: node-1 could not be undone: " in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (("done",), 0, "nothing of it is in effect"), (("other",), 0, "nothing of it is in effect"),
    (("stopp",), 3, "'stop'"), ((), 2, "--all"), (("--all", "stop"), 2, "--all"),
])
def test_what_is_not_in_effect_is_no_error_but_a_misspelt_name_is(
    dead: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = dead("faults", "undo", *arguments, "--name", "dead")
    assert done.returncode == code and says in done.stderr
