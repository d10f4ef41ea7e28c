"""``testbed logs``: which flags mean something together, and what is printed of the cluster's own processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.api.instance import Instance
from testbed.api.instance_files import save_instance
from testbed.api.log_lines import LogLine
from testbed.cli.logs import logged_nothing
from testbed.cli.main import main


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("TESTBED_NAME", raising=False)
    made = Instance("default", "0123456789ab", tmp_path / "testbed" / "default", "10.9.0.0/16", 1, ())
    made.log_file("api").parent.mkdir(parents=True)
    save_instance(made)
    return made


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.mark.parametrize(("arguments", "told"), [
    ((), "whose log?"),
    (("web-1", "-l", "app=web"), "either a name or -l"),
    (("-l", "app=web", "-p"), "--all prints"),
    (("web-1", "--all", "-c", "web"), "either --all or -c"),
    (("web-1", "--about", "web-1"), "--about and --json are for --system"),
    (("-l", "app=web", "--json"), "--about and --json are for --system"),
    (("--system", "web-1"), "no pod, container or --tail goes with it"),
    (("--system", "--tail", "3"), "no pod, container or --tail goes with it"),
    (("--system", "--since", "yesterday"), "is not a duration"),
    (("--system", "--max-lines", "0"), "--max-lines"),
])
def test_flags_that_mean_nothing_together_are_refused(
    instance: Instance, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str,
) -> None:
    assert ended("logs", *arguments) == 2
    said = capsys.readouterr()
    assert told in said.err and said.out == ""


def test_our_own_processes_are_told_in_words_or_as_they_are_written(
    instance: Instance, capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [LogLine(number, f"2026-01-01T12:00:0{number}.000000Z", process, text, fields={"node": node})
             for number, process, text, node in ((1, "api", "one", "node-1"), (2, "chaos", "two", "node-2"),
                                                 (3, "api", "three", "node-1"))]
    for line in lines:
        with instance.log_file(line.process).open("a") as stream:
            stream.write(f"{line.to_json()}\n")
    assert ended("logs", "--system") == 0
    assert capsys.readouterr().out.splitlines()[1] == "2026-01-01T12:00:02.000Z chaos | two (node=node-2)"
    assert ended("logs", "--system", "--json", "--about", "node-1") == 0
    assert [json.loads(text)["message"] for text in capsys.readouterr().out.splitlines()] == ["one", "three"]
    assert ended("logs", "--system", "--max-lines", "1") == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1 and said.err == "2 older lines are left out: --max-lines\n"
    assert ended("logs", "--system", "--about", "nobody") == 0
    assert capsys.readouterr().err == "no line is about 'nobody'\n"
    assert ended("logs", "--system", "--about", "node") == 0
    assert capsys.readouterr().err == "no line is about 'node'; there is node-1, node-2\n"


def test_json_lines_steer_no_terminal_whoever_has_written_them(
    instance: Instance, capsys: pytest.CaptureFixture[str],
) -> None:
    said = "\x1b[2J\x9b2J\x85\x7f\u202e\U000e0001ü"
    line = {**json.loads(LogLine(1, "", "api", "").to_json()), "message": said}
    instance.log_file("api").write_text(f"{json.dumps(line, ensure_ascii=False)}\n")
    assert ended("logs", "--system", "--json") == 0
    (text,) = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert json.loads(text)["message"] == said
    assert text.isprintable() and "\\u009b2J" in text and "ü" in text


def test_silence_of_containers_is_said() -> None:
    assert logged_nothing(1, "") == "1 pod has logged nothing"
    assert logged_nothing(4, "30s") == "4 pods have logged nothing in the last 30s"


def test_without_a_cluster_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert ended("logs", "--system", "--name", "none") == 4
    assert "testbed up --name none" in capsys.readouterr().err
