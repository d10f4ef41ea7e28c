"""Chaos Toolkit experiments on the command line: found among other files, run, and told apart from our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def testbed(*arguments: str, here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "testbed", *arguments], cwd=here, capture_output=True, text=True, timeout=120,
        env={**os.environ, "XDG_STATE_HOME": str(here / "state"), "NO_COLOR": "1"}, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]


def test_it_is_run_and_leaves_what_every_run_leaves(tmp_path: Path) -> None:
    """What its modules print does not get among the data."""
    (tmp_path / "beside.py").write_text("print('at import')\ndef look(word): print('look'); return {'word': word}\n")
    (tmp_path / "experiment.yaml").write_text("""\
title: small
description: one probe, one action that takes its word from the command line
configuration: {word: none}
method:
  - type: probe
    name: look
    provider: {type: python, module: beside, func: look, arguments: {word: "${word}"}}
  - type: action
    name: say
    provider: {type: process, path: echo, arguments: "'a word:' ${word}"}
""")
    done = testbed("run", "experiment.yaml", "--var", "word=hello", "-o", "json", "--journal-path", "j.json",
                   "--junit", "j.xml", here=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["name"], result["verdict"], result["environment"]["platform"]) == (
        "small", "passed", "chaos-toolkit")
    assert [item["output"] for item in json.loads((tmp_path / "j.json").read_text())["run"]] == [
        {"word": "hello"}, {"status": 0, "stdout": "a word: hello\n", "stderr": ""}]
    assert (tmp_path / "j.xml").exists() and "at import" in done.stderr
    assert "small" in testbed("runs", here=tmp_path).stdout


def test_both_kinds_of_experiments_are_checked_and_their_options_told_apart(tmp_path: Path) -> None:
    files = [str(EXAMPLES / name) for name in ("chaos-toolkit.json", "crash.yaml")]
    assert testbed("validate", *files, here=tmp_path).stderr == "no mistake in 2 objects\n"
    done = testbed("run", str(EXAMPLES / "crash.yaml"), "--dry", "actions", "--fail-fast", here=tmp_path)
    assert done.returncode == 2 and "--fail-fast, --dry: only for Chaos Toolkit experiments" in done.stderr
