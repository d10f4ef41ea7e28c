"""Runs, baselines and comparisons on the command line: what is printed, what is refused, and the exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.cli.main import main
from testbed.experiment.result import Disruption, Environment, Marks, Result, RunResult, Verdict
from testbed.experiment.saving import write_result

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TESTBED_NAME", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(ended.value.code or 0), told.out, told.err

    return run


def kept(root: Path, run_id: str, factor: float = 1.0, *, runs: int = 20, name: str = "crash", day: int = 1,
         cluster: str = "default") -> Path:
    """A finished run on disk."""
    from datetime import UTC, datetime

    started = datetime(2026, 1, day, tzinfo=UTC)
    folder = root / "state" / "testbed" / cluster / "runs" / run_id
    folder.mkdir(parents=True)
    made = tuple(RunResult(
        number=number, verdict=Verdict.PASSED, started_at=started, duration_s=9, disruptions=(Disruption(
            name="crash", kind="fault", marks=Marks(injected=1.0, detected=1.1, isolated=1.3,
                                                    restored=1 + factor * (1 + number / 200))),))
        for number in range(1, runs + 1))
    write_result(Result(run_id=run_id, name=name, started_at=started, ended_at=started, verdict=Verdict.PASSED,
                        exit_code=0, environment=Environment(cpus=2), runs=made), folder)
    return folder


def test_a_run_becomes_a_baseline_and_others_are_held_against_it(testbed: Command, tmp_path: Path) -> None:
    kept(tmp_path, "crash-01-aaaa")
    kept(tmp_path, "crash-02-bbbb", 1.3)
    code, _, told = testbed("baseline", "save", "crash-01", "--as", "main")
    assert code == 0 and "saved baseline main: 20 runs" in told
    assert "main" in testbed("baseline", "list")[1]
    code, text, _ = testbed("compare", "main", "crash-02")
    assert code == 0 and text.startswith("WORSE") and "✗ worse" in text
    assert testbed("compare", "main", "crash-02", "--fail-on", "worse")[0] == 1
    assert testbed("compare", "main", "crash-01", "--fail-on", "worse")[0] == 0
    assert json.loads(testbed("compare", "main", "crash-02", "-o", "json")[1])["verdict"] == "worse"
    assert "| ✗ worse |" in testbed("compare", "main", "crash-02", "-o", "markdown")[1]
    assert testbed("baseline", "rm", "main")[0] == 0 and testbed("compare", "main", "crash-02")[0] == 3


def test_a_baseline_in_a_file(testbed: Command, tmp_path: Path) -> None:
    kept(tmp_path, "crash-01-aaaa", runs=3)
    code, _, told = testbed("baseline", "save", "--file", "base.json")
    assert code == 0 and "too few to tell" in told and (tmp_path / "base.json").exists()
    assert testbed("compare", "base.json", "crash-01")[1].startswith("CANNOT TELL")


@pytest.mark.parametrize(("words", "code", "says"), [
    (("compare", "crash-01", "other"), 3, "of experiment"), (("compare", "nothing", "crash-01"), 3, "neither a file"),
    (("compare", "crash-01", "crash-01", "--fail-on", "slower"), 2, "no judgement"),
    (("baseline", "save", "--as", "../x"), 3, "cannot be the name"), (("baseline", "rm", "gone"), 3, "no baseline"),
    (("run", "crash", "--fail-on", "worse"), 2, "--baseline NAME|FILE, or --against FILE"),
    (("run", "crash", "--against", "hang", "--fail-on", "worse", "--platform", "testbed,swarm"), 2, "one --platform"),
    (("run", "crash", "--until-ci", "10%", "--max-runs", "3"), 2, "--max-runs 3 is less than the 5 runs"),
    (("run", "hang", "--runs", "9", "--until-ci", "10%", "--max-runs", "8"), 2, "less than the 9 runs"),
    (("run", "crash", "--baseline", "nothing"), 3, "neither a file nor a baseline"),
    (("run", "crash", "--baseline", "other"), 3, "of experiment 'other', not of 'crash'"),
    (("run", "crash", "--baseline", "crash-01", "--against", "hang"), 2, "one variant"),
    (("runs", "rm"), 2, "say which"), (("runs", "rm", "crash-01", "--keep", "1"), 2, "by name"),
    (("runs", "rm", "crash-01"), 2, "nobody can be asked"), (("runs", "show", "zzz"), 3, "no runs begin"),
    (("report", "--bundle", "a.tar.gz", "-o", "html"), 2, "report alone"),
    (("report", "--bundle", "a.tar.gz", "--out", "x.html"), 2, "report alone"),
    (("report", "--bundle", "bad.zip"), 2, "bad.zip.tar.gz"), (("report", "no.tar.gz"), 3, "not a bundle"),
])
def test_what_is_wrong_is_told_before_anything_starts(
    words: tuple[str, ...], code: int, says: str, testbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    kept(tmp_path, "crash-01-aaaa")
    kept(tmp_path, "other-02-bbbb", name="other")
    found, text, told = testbed(*words)
    assert (found, text) == (code, "") and says in told, told


def test_a_baseline_of_few_runs_says_how_many_it_takes(testbed: Command, tmp_path: Path) -> None:
    """Its runs had no pulse: isolation, repair and restarts are judged."""
    kept(tmp_path, "crash-01-aaaa", runs=5)
    told = testbed("baseline", "save")[2]
    assert "5 and 5 runs cannot show a difference in 3 values at once: it takes 6 of each" in told
    kept(tmp_path, "crash-02-bbbb", runs=6, day=2)
    assert "too few" not in testbed("baseline", "save")[2]


@pytest.mark.parametrize(("words", "warned"), [
    (("--against", "crash"), "5 and 5 runs cannot show a difference in 5 values at once: it takes 6 of each"),
    (("--against", "crash", "--runs", "6"), ""),
    (("--baseline", "crash-01"), ""),  # 20 runs
    (("--baseline", "crash-01", "--runs", "3"), "20 and 3 runs are too few for an interval: it takes 5 of each"),
    (("--baseline", "few"), "5 and 5 runs cannot show"),
])
def test_a_gate_that_could_never_fail_is_told_before_the_run(
    testbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], warned: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    kept(tmp_path, "crash-01-aaaa")
    kept(tmp_path, "few-02-bbbb", runs=5)
    code, _, told = testbed("run", "crash", *words, "--fail-on", "worse")
    assert code == 4, "there is no engine here: nothing was run"
    assert (f"warning: {warned}" in told) if warned else "warning" not in told
    assert "warning" not in testbed("run", "crash", *words)[2], "only what can fail must be able to"


def test_a_chaos_toolkit_file_has_no_baseline(testbed: Command, tmp_path: Path) -> None:
    kept(tmp_path, "crash-01-aaaa")
    file = Path(__file__).parents[2] / "examples" / "chaos-toolkit.json"
    code, _, told = testbed("run", str(file), "--baseline", "crash-01")
    assert code == 2 and "--baseline" in told


def test_an_objective_against_a_baseline_needs_one(testbed: Command, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text((Path(__file__).parents[2] / "examples" / "web.yaml").read_text())
    text = (Path(__file__).parents[2] / "examples" / "crash.yaml").read_text()
    start = text.index("  objectives:")
    (tmp_path / "mine.yaml").write_text(text[:start] + '  objectives: ["baseline.repair.ratio <= 1.1"]\n')
    assert testbed("validate", "mine.yaml")[0] == 0
    code, _, told = testbed("run", "mine.yaml")
    assert code == 3 and "needs a baseline" in told and "--baseline" in told


# --- runs


def test_runs_are_listed_shown_and_removed(testbed: Command, tmp_path: Path) -> None:
    for day in range(1, 6):
        kept(tmp_path, f"crash-0{day}-aaaa", day=day, runs=1)
    listed = testbed("runs")[1]
    assert listed == testbed("runs", "list")[1] and listed.count("crash-0") == 5
    assert len(json.loads(testbed("runs", "-o", "json")[1])) == 5
    assert "PASSED" in testbed("runs", "show", "crash-03")[1]
    assert testbed("runs", "rm", "crash-03", "--yes")[0] == 0
    assert testbed("runs", "rm", "--keep", "2", "--yes")[0] == 0
    assert [line.split()[0] for line in testbed("runs")[1].splitlines()[1:]] == ["crash-04-aaaa", "crash-05-aaaa"]
    assert testbed("runs", "rm", "--older-than", "1d", "-y")[0] == 0
    assert "no runs yet" in testbed("runs")[2]


def test_runs_of_one_cluster_are_named_by_it(
    testbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every command about runs, as ``--name`` or by the environment; without it they are all clusters'."""
    for cluster, day in (("default", 1), ("other", 2), ("other", 3)):
        kept(tmp_path, f"crash-0{day}-{cluster}", day=day, runs=1, cluster=cluster)
    other = {"crash-02-other", "crash-03-other"}

    def ids(*words: str) -> set[str]:
        return {item["id"] for item in json.loads(testbed("runs", *words, "-o", "json")[1])}

    assert ids() == {"crash-01-default", *other}
    assert ids("--name", "other") == ids("list", "--name", "other") == other
    assert "crash-01-default" in testbed("runs", "show", "--name", "default")[2]  # the newest of that cluster
    code, _, told = testbed("runs", "show", "crash-01", "--name", "other")
    assert code == 3 and "no runs of cluster 'other' begin with 'crash-01'" in told and "--name other" in told
    assert json.loads(testbed("report", "--name", "default", "-o", "json")[1])["runId"] == "crash-01-default"
    assert testbed("runs", "rm", "crash-02", "--name", "default", "--yes")[0] == 3
    assert testbed("runs", "rm", "--keep", "1", "--name", "other", "--yes")[0] == 0
    assert ids() == {"crash-01-default", "crash-03-other"}
    told = testbed("runs", "--name", "third")[2]
    assert "no runs of cluster 'third' yet" in told and "--name third" in told
    assert testbed("report", "--name", "../x")[0] == testbed("runs", "list", "--name", "*")[0] == 3
    code, _, told = testbed("runs", "--name", "other", "rm", "--keep", "0", "--yes")
    assert code == 2 and "testbed runs rm --name other" in told and "crash-03-other" in ids()
    monkeypatch.setenv("TESTBED_NAME", "other")
    assert ids() == {"crash-03-other"} and testbed("runs", "rm", "crash-01", "--yes")[0] == 3
    assert ids("--name", "default") == {"crash-01-default"}


def test_what_was_broken_off_is_removed_too_and_a_folder_elsewhere_never(testbed: Command, tmp_path: Path) -> None:
    broken = kept(tmp_path, "crash-01-aaaa", runs=1)
    elsewhere = tmp_path / "mine"
    (broken / "result.json").rename(broken / "journal.json")
    elsewhere.mkdir()
    (elsewhere / "result.json").write_text("{}")
    for words in (str(elsewhere), "mine", "."):
        assert testbed("runs", "rm", words, "--yes")[0] == 3 and elsewhere.exists()
    assert testbed("runs", "rm", "crash-01", "--yes")[0] == 0 and not broken.exists()


def test_a_no_removes_nothing(testbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = kept(tmp_path, "crash-01-aaaa", runs=1)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: (_ for _ in ()).throw(__import__("click").Abort()))
    assert testbed("runs", "rm", "crash-01")[0] == 130 and folder.exists()


def test_a_bundle_is_made_and_opened(testbed: Command, tmp_path: Path) -> None:
    kept(tmp_path, "crash-01-aaaa", runs=2)
    code, _, told = testbed("report", "crash-01", "--bundle", "bad.tar.gz")
    assert code == 0 and "bad.tar.gz" in told
    assert "PASSED" in testbed("report", "bad.tar.gz")[1]
    assert testbed("report", "bad.tar.gz", "-o", "junit")[1].startswith("<?xml")
    assert testbed("compare", "bad.tar.gz", "crash-01")[0] == 0


def test_a_baseline_that_cannot_be_read_hides_no_other(testbed: Command, tmp_path: Path) -> None:
    kept(tmp_path, "crash-01-aaaa")
    testbed("baseline", "save", "--as", "main")
    (tmp_path / "state" / "testbed" / ".baselines" / "old.json").write_text('{"runId": 7}')
    code, text, told = testbed("baseline", "list")
    assert code == 0 and "crash-01-aaaa" in text and "old" in text and "unreadable" in text
    assert "old.json is not a result of this version" in told
    listed = {item["name"]: item for item in json.loads(testbed("baseline", "list", "-o", "json")[1])}
    assert listed["main"]["runs"] == 20 and "not a result" in listed["old"]["problem"]
    assert testbed("baseline", "rm", "old")[0] == 0
