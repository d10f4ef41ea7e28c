"""What the command line says without a cluster: help, versions, misspelt words, exit codes, where words go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.cli.main import COMMANDS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def testbed(*arguments: str, state: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "NO_COLOR": "1", "COLUMNS": "120", **more}
    environment.pop("TESTBED_NAME", None)
    return subprocess.run([sys.executable, "-m", "testbed", *arguments], env=environment, capture_output=True,
                          text=True, timeout=60, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", [
    (), ("-h",), ("--help",), ("rollout",), ("get", "-h"), ("node", "add", "--help")])
def test_help_goes_to_stdout_and_is_no_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = testbed(*arguments, state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = testbed("--help", state=tmp_path).stdout
    assert all(re.search(rf"^  {name}\s", shown, re.MULTILINE) for name in COMMANDS)


def test_the_version_needs_no_command(tmp_path: Path) -> None:
    done = testbed("--version", state=tmp_path)
    assert done.returncode == 0 and re.fullmatch(r"testbed \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(("arguments", "code", "word"), [
    (("geet", "pods"), 2, "'get'"), (("rollout", "statu", "web"), 2, "status"),
    (("get", "po", "--watchh"), 2, "--watch"),
    (("run", "crsh"), 3, "'crash'"), (("inject", "node-kil", "-l", "app=web"), 2, "'node-kill'"),
    (("inject", "freeze", "-l", "app=web", "--mode", "oen"), 3, "'one'"),
])
def test_a_misspelt_word_gets_a_suggestion(arguments: tuple[str, ...], code: int, word: str, tmp_path: Path) -> None:
    done = testbed(*arguments, state=tmp_path)
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith("error: ") and word in done.stderr


@pytest.mark.parametrize("arguments", [
    ("get", "pods"), ("status", "--name", "nothing"), ("apply", "-f", "-"), ("top", "pods"), ("load", "web"),
])
def test_a_cluster_that_is_not_up_is_told_with_what_mends_it(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("")
    done = testbed(*arguments, state=tmp_path)
    assert done.returncode in (2, 4) and done.stdout == "" and "Traceback" not in done.stderr
    assert "testbed up" in done.stderr or "there are no objects" in done.stderr


def test_all_mistakes_of_a_file_are_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicas: two
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: other}}
    spec:
      containers:
        - name: a
          imagee: sample:v1
          livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}
""")
    done = testbed("validate", str(file), state=tmp_path)
    lines = [int(found) for found in re.findall(r"web\.yaml:(\d+): ", done.stderr)]
    assert (done.returncode, lines) == (3, [5, 8, 12, 13])
    assert "(did you mean 'image'?)" in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-m", "testbed", "config", "--schema", "experiment"], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (0, b"")


def test_completion_knows_commands_and_flags(tmp_path: Path) -> None:
    # The shell is named: make runs this under sh, whose completion nobody knows.
    script = testbed("--show-completion", "bash", state=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode == 0 and "COMPLETE=complete_bash" in script.stdout


@pytest.mark.parametrize(("kind", "meant"), [
    ("experiment", "Experiment"), ("Experimet", "Experiment"), ("NodeChoas", "NodeChaos"), ("nodechaos", "NodeChaos")])
def test_a_misspelt_kind_of_ours_gets_one_of_ours(kind: str, meant: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"apiVersion: testbed.io/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n")
    done = testbed("validate", str(file), state=tmp_path)
    assert done.returncode == 3 and "mine.yaml:2: kind: " in done.stderr and f"(did you mean '{meant}'?)" in done.stderr


def test_to_validate_nothing_is_not_to_find_it_right(tmp_path: Path) -> None:
    done = testbed("validate", str(tmp_path), state=tmp_path)
    assert done.returncode == 2 and f"there are no objects in {tmp_path}" in done.stderr


@pytest.mark.parametrize(("change", "line", "words"), [
    (("", ""), 0, "no mistake in 1 object"),
    (("@every 5s", "often"), 5, "expected 5 to 6 fields"),
    (("pod-kill", "pod-kil"), 9, "did you mean 'pod-kill'?"),
    (("podChaos:", "podChaoz:"), 8, "did you mean 'podChaos'?"),
    (("type: PodChaos", "type: DNSChaos"), 4, "spec.dnsChaos: is required"),
])
def test_a_schedule_is_validated_with_what_it_makes(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text("""apiVersion: chaos-mesh.org/v1alpha1
kind: Schedule
metadata: {name: often}
spec:
  schedule: "@every 5s"
  type: PodChaos
  historyLimit: 5
  podChaos:
    action: pod-kill
    mode: one
    selector: {labelSelectors: {app: web}}
""".replace(*change))
    done = testbed("validate", str(file), state=tmp_path)
    assert words in done.stderr
    assert done.returncode == (3 if line else 0)
    assert not line or f"schedule.yaml:{line}: " in done.stderr


@pytest.mark.parametrize(("experiment", "options", "words"), [
    ("crash", ("--max-runs", "5"), "--max-runs: only with --until-ci"),
    ("crash", ("--context", "a", "--address", "web=b:80"), "--context, --address: only for --platform kubernetes"),
    ("chaos-toolkit.json", ("--keep", "--kubeconfig", "a"), "--keep, --kubeconfig: not for Chaos Toolkit"),
])
def test_an_option_that_would_do_nothing_is_refused(
    experiment: str, options: tuple[str, ...], words: str, tmp_path: Path,
) -> None:
    file = EXAMPLES / experiment
    done = testbed("run", str(file) if file.exists() else experiment, *options, state=tmp_path)
    assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize(("arguments", "told"), [
    (("--bind", "0.0.0.0:5557"), "--workers"), (("--workers", "2"), "no locustfile"),
    (("--processes", "2"), "no locustfile"), (("--inject-at", "3s"), "--inject FILE")])
def test_an_option_of_a_load_test_that_would_do_nothing_is_refused(
    arguments: tuple[str, ...], told: str, tmp_path: Path,
) -> None:
    done = testbed("load", "web", *arguments, state=tmp_path)
    assert done.returncode == 2 and told in done.stderr and done.stdout == ""
