"""Set-up and doctor where something is missing: one line that says what to do, nothing changed, exit code 4."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import EnvironmentProblem
from testbed.machines import doctor, engine, setup
from testbed.machines.narration import Lines, Silent
from testbed.runtime.recipes import RECIPES

NOWHERE = "unix:///nonexistent/engine.sock"


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)


@pytest.fixture
def run_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for /var/run after an engine died."""
    (tmp_path / "docker/containerd").mkdir(parents=True)
    monkeypatch.setattr(engine, "RUN", tmp_path)
    return tmp_path


def test_an_engine_elsewhere_is_never_started_here(no_engine: None) -> None:
    with pytest.raises(EnvironmentProblem, match="DOCKER_HOST") as caught:
        engine.ensure_engine(Silent())
    assert caught.value.hint and caught.value.exit_code == 4


@pytest.mark.parametrize("root, debian, dockerd, hint", [
    (False, True, "", "sudo"), (True, False, "", "package manager"),
])
def test_where_an_engine_may_not_be_started_one_line_says_what_to_do(
    root: bool, debian: bool, dockerd: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(*_: object) -> None:
        raise engine.EngineUnavailable("no container engine answers")

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "Images", unanswered)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(engine, "debian", lambda: debian)
    monkeypatch.setattr(engine, "which", lambda name: dockerd or None)
    monkeypatch.setattr(engine, "processes_named", lambda name: [])
    with pytest.raises(EnvironmentProblem) as caught:
        engine.ensure_engine(Silent())
    assert hint in caught.value.hint
    assert "\n" not in caught.value.hint


def test_pid_files_of_the_dead_are_removed_even_when_the_number_is_in_use_again(run_folder: Path) -> None:
    """Our own process has the number, and is no dockerd."""
    for name in ("docker.pid", "docker/containerd/containerd.pid"):
        (run_folder / name).write_text(str(os.getpid()))
    (run_folder / "docker.sock").touch()
    engine.clear_leftovers()
    assert not (run_folder / "docker.pid").exists()
    assert not (run_folder / "docker.sock").exists()


def test_pid_file_of_a_living_containerd_is_kept(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "processes_named", lambda name: [4711] if name == "containerd" else [])
    pid_file = run_folder / "docker/containerd/containerd.pid"
    socket = run_folder / "docker/containerd/containerd.sock"
    pid_file.write_text("4711")
    socket.touch()
    engine.clear_leftovers()
    assert pid_file.exists() and socket.exists()


def test_clearing_twice_or_nothing_is_harmless(run_folder: Path) -> None:
    engine.clear_leftovers()
    engine.clear_leftovers()


def test_processes_are_found_by_name() -> None:
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert os.getpid() in engine.processes_named(name)
    assert engine.processes_named("no-such-program") == []


def test_doctor_without_an_engine_says_so_and_what_mends_it(no_engine: None) -> None:
    checks = {check.name: check for check in doctor.examine()}
    assert checks["engine"].ok is False and "unset DOCKER_HOST" in checks["engine"].mend
    assert not doctor.healthy(tuple(checks.values()))


def test_every_no_has_the_one_line_that_mends_it(no_engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "which", lambda name: None)
    for check in doctor.examine():
        if not check.ok:
            assert check.mend and "\n" not in check.mend, check.name


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | environment)


def test_doctor_as_json_is_data_on_stdout() -> None:
    done = command("doctor", "-o", "json", DOCKER_HOST=NOWHERE)
    assert done.returncode == 4
    value = json.loads(done.stdout)
    assert value["healthy"] is False
    assert {"name", "ok", "found", "mend", "required", "ability", "faults"} == set(value["checks"][0])


@pytest.mark.parametrize("arguments", [("setup",), ("image", "list"), ("image", "load", "nothing.tar")])
def test_commands_end_in_words_when_the_engine_is_silent(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = command(*arguments, DOCKER_HOST=NOWHERE, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [
    ("doctor", "-o", "xml"), ("image", "build", ".", "-t", "x:1", "--build-arg", "oops"), ("image", "build"),
])
def test_a_wrong_command_line_is_exit_2(arguments: tuple[str, ...]) -> None:
    assert command(*arguments).returncode == 2


def test_plain_narration_is_two_lines_per_task() -> None:
    stream = io.StringIO()
    with Lines(stream).task("image x") as task:
        task.update("Step 1/2", 0.5)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "image x ..." and lines[1].startswith("image x: done in ")
    assert len(lines) == 2


@pytest.mark.engine
def test_a_second_setup_finds_nothing_to_do() -> None:
    setup.set_up(Silent())
    assert not setup.set_up(Silent()).changed


@pytest.mark.engine
def test_doctor_is_content_after_setup() -> None:
    setup.set_up(Silent())
    checks = {check.name: check for check in doctor.examine()}
    assert doctor.healthy(tuple(checks.values())), [check for check in checks.values() if not check.ok]
    assert str(len(RECIPES)) in checks["images"].found
    assert all(check.ok is not None for check in checks.values()), "every trial could be made"
