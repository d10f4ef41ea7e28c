"""What a Chaos Toolkit file may say, and how all its mistakes are told at once, with lines, before anything is done."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from toolkit_world import action, exists, experiment, probe, process, python, run, write

from testbed.errors import EnvironmentProblem, InvalidInput, UsageError
from testbed.experiment.toolkit.loading import is_toolkit_file, load_scope, load_toolkit
from testbed.experiment.toolkit.processes import argument_list
from testbed.experiment.toolkit.values import Options
from testbed.experiment.toolkit.variables import parse_variables, read_variable_files

WRONG = """\
title: "   "
method:
  - type: probe
    provider: {type: process, path: surely-no-such-program}
  - {type: action, name: pipe, provider: {type: process, path: sh, arguments: "-c echo | cat"}}
  - {type: action, name: odd, provider: {type: rpc}}
  - {type: action, name: gone, provider: {type: python, module: os.path, func: exist}}
  - {type: action, name: much, provider: {type: python, module: os.path, func: exists, arguments: {paht: x}}}
  - {type: action, name: late, pauses: {after: soon}, background: 1, provider: {type: http, timeout: 0}}
  - {ref: nobody}
rollbacks: {}
runtime: {rollbacks: {strategy: sometimes}}
steady-state-hypothesis:
  probes:
    - {type: probe, name: web, provider: {type: http, url: "http://x/"}}
    - {type: probe, name: app, tolerance: 1.5, provider: {type: http, url: "http://x/"}}
controls:
  - {name: safe, scope: middle, provider: {type: python, module: surely_no_such_module}}
configuration: {port: {type: env, key: SURELY_NOT_SET}}
"""


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    assert is_toolkit_file(file)
    with pytest.raises(InvalidInput) as told:
        load_toolkit(file)
    found = {(mistake.field, mistake.line) for mistake in told.value.mistakes}
    assert found == {
        ("title", 1), ("description", 1), ("method[0].name", 3), ("method[0].provider.path", 4),
        ("method[1].provider.arguments", 5), ("method[2].provider.type", 6), ("method[3].provider.func", 7),
        ("method[4].provider.arguments", 8), ("method[5].pauses.after", 9), ("method[5].background", 9),
        ("method[5].provider.timeout", 9), ("method[5].provider.url", 9), ("method[6].ref", 10), ("rollbacks", 11),
        ("runtime.rollbacks.strategy", 12), ("steady-state-hypothesis.title", 13),
        ("steady-state-hypothesis.probes[0].tolerance", 15), ("steady-state-hypothesis.probes[1].tolerance", 16),
        ("controls[0].scope", 18), ("controls[0].provider.module", 18), ("configuration.port", 19),
    }


@pytest.mark.parametrize("value", [
    {"title": "x", "description": "y", "method": [{"title": "old form", "probes": {"steady": {"title": "z"}}}]},
    {"title": "x", "description": "y", "method": ["word", None, {}]},
    {"title": "x", "description": "y", "method": 3, "controls": {}, "secrets": [], "configuration": 1, "tags": "a"},
    {"title": "x", "description": "y", "method": [], "steady-state-hypothesis": [], "runtime": [], "extensions": [1]},
])
def test_no_form_is_too_odd_to_be_told(tmp_path: Path, value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        load_toolkit(write(tmp_path, value))


def test_other_files_are_not_taken_for_one(tmp_path: Path) -> None:
    for value in ({"apiVersion": "v1", "kind": "Pod", "method": []}, {"kind": "x"}, [1], "text"):
        assert not is_toolkit_file(write(tmp_path, value))  # type: ignore[arg-type]


async def test_configuration_from_the_environment_with_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICAS", "3")
    value = experiment(configuration={
        "replicas": {"type": "env", "key": "REPLICAS", "env_var_type": "int"},
        "on": {"type": "env", "key": "SURELY_NOT_SET", "env_var_type": "bool", "default": "no"},
        "plain": "text", "url": {"type": "env", "key": "SURELY_NOT_SET", "default": "http://x"}},
        secrets={"group": {"token": {"type": "env", "key": "REPLICAS"}, "word": "s3cret"}})
    loaded = load_toolkit(write(tmp_path, value))
    scope = load_scope(loaded, Options(variables={"plain": 5}))
    assert scope.configuration == {"replicas": 3, "on": False, "plain": 5, "url": "http://x"}
    assert scope.secrets == {"group": {"token": "3", "word": "s3cret"}}


async def test_a_probe_can_give_a_configuration_value(tmp_path: Path) -> None:
    value = experiment(
        configuration={
            "word": {"type": "probe", "name": "w", "provider": process("echo", "hello")},
            "size": {"type": "probe", "name": "s", "provider": python("os.path", "getsize", filename=str(tmp_path))},
            "none": {"type": "probe", "name": "n", "provider": process("false")}},
        method=[action("say", process("echo", "${word} ${size} ${none}"))])
    ran = await run(tmp_path, value)
    size = ran.run[0]["output"]["stdout"].split()[1]
    assert ran.run[0]["output"]["stdout"] == f"hello {size} ${{none}}\n" and int(size) > 0
    assert any("configuration none has no value: exit status 1" in note for note in ran.result.notes)


async def test_secrets_reach_python_by_their_groups_and_stay_out_of_the_journal(tmp_path: Path) -> None:
    (tmp_path / "keeping.py").write_text(
        "def keep(secrets, configuration, more): return [secrets['key'] == 'hush-hush', configuration['a'], more]\n")
    value = experiment(
        secrets={"mine": {"key": "hush-hush"}, "other": {"key": "no"}}, configuration={"a": 1},
        method=[probe("keep", python("keeping", "keep", more="${a}") | {"secrets": ["mine"]})])
    ran = await run(tmp_path, value)
    assert ran.run[0]["output"] == [True, 1, 1]
    assert "hush-hush" not in json.dumps(ran.journal)


async def test_references_background_pauses_and_dry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    waits = "for i in $(seq 200); do test -e second && touch first && exit 0; sleep 0.05; done; exit 1"
    value = experiment(
        hypothesis=exists(tmp_path), configuration={"pause": 0.3},
        method=[action("first", process("sh", "-c", waits), background=True),
                action("second", process("touch", "second"), pauses={"before": "${pause}"}),
                {"ref": "there"}, action("left out", process("touch", "third"), dry=True)])
    ran = await run(tmp_path, value)
    assert ran.ended == (0, "completed", False) and (tmp_path / "first").exists()
    assert [item["activity"]["name"] for item in ran.run] == ["first", "second", "there", "left out"]
    assert ran.journal["duration"] >= 0.3 and not (tmp_path / "third").exists()


@pytest.mark.parametrize(("dry", "made", "looked"), [
    ("actions", False, True), ("activities", False, False), ("probes", True, False), ("pause", True, True)])
async def test_dry(tmp_path: Path, dry: str, made: bool, looked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = await run(tmp_path, experiment(hypothesis=exists(tmp_path), method=[
        action("make", process("touch", "made"), pauses={"after": 30})] if dry != "probes" else [
        action("make", process("touch", "made"))]), dry=dry)
    assert ran.ended == (0, "completed", False) and (tmp_path / "made").exists() == made
    assert (ran.journal["steady_states"]["before"]["probes"][0]["output"] is True) == looked
    assert any(note.startswith("dry") for note in ran.result.notes)


@pytest.mark.parametrize(("arguments", "found"), [
    ("'updated'", ["updated"]), ("restart my-app", ["restart", "my-app"]),
    ("-c 'a | b > c'", ["-c", "a | b > c"]),
    ('-d "{\\"a\\": 1}"', ["-d", '{"a": 1}']), ("a\\;b", ["a;b"]), ("", []), (None, []),
    (["a b", 3, None, ""], ["a b", "3"]), ({"-n": 1, "-v": ""}, ["-n", "1", "-v"]),
    ("'$HOME' '*.txt'", ["$HOME", "*.txt"]),
])
def test_arguments_are_split_as_a_shell_would(arguments: Any, found: list[str]) -> None:
    assert argument_list(arguments) == found


@pytest.mark.parametrize("arguments", [
    "a | b", "a; b", "*.txt", "a > b", "a && b", "a `b`", "$HOME", '"$HOME"', "$(a)", "a 'b", "${unknown}", "a\nb"])
def test_what_needs_a_shell_is_refused(arguments: str) -> None:
    with pytest.raises(ValueError, match=r"needs a shell|No closing quotation"):
        argument_list(arguments)


def test_variables_from_the_command_line(tmp_path: Path) -> None:
    assert parse_variables(["a=1", "b:int=2", "c:float=0.5", "d:bool=no", "e:json=[1]", "f:bytes=x", "g=a=b"]) == {
        "a": "1", "b": 2, "c": 0.5, "d": False, "e": [1], "f": b"x", "g": "a=b"}
    for wrong in ("a", "=1", "a:int=x", "a:odd=1", "a:json={"):
        with pytest.raises(UsageError):
            parse_variables([wrong])
    (tmp_path / "v.yaml").write_text("configuration: {a: 1}\nsecrets: {g: {k: v}}\n")
    (tmp_path / "w.json").write_text('{"configuration": {"a": 2}}')
    (tmp_path / "x.env").write_text("# words\nA=b=c\n\nB=\n")
    assert read_variable_files([tmp_path / "v.yaml", tmp_path / "w.json", tmp_path / "x.env"]) == (
        {"a": 2}, {"g": {"k": "v"}}, {"A": "b=c", "B": ""})
    (tmp_path / "y.env").write_text("A=1\nwrong\n")
    with pytest.raises(InvalidInput, match=r"y\.env:2"):
        read_variable_files([tmp_path / "y.env"])


def test_vault_is_asked_only_when_it_runs_and_needs_hvac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = experiment(configuration={"vault_addr": "http://v", "vault_token": "t"},
                       secrets={"g": {"k": {"type": "vault", "path": "a/b", "key": "word"}}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(InvalidInput, match="pip install hvac"):
        load_toolkit(write(tmp_path, value))

    class Client:
        def __init__(self, url: str) -> None:
            assert url == "http://v"
            self.token = ""
            self.secrets = self.kv = self.v2 = self

        def read_secret_version(self, path: str, mount_point: str) -> dict[str, Any]:
            if path != "a/b":
                raise RuntimeError("no such path")
            assert (self.token, mount_point) == ("t", "secret")
            return {"data": {"data": {"word": "hush"}}}

    hvac = types.ModuleType("hvac")
    hvac.Client = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hvac", hvac)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: object())
    loaded = load_toolkit(write(tmp_path, value))
    assert load_scope(loaded, Options()).secrets == {"g": {"k": "hush"}}
    value["secrets"]["g"]["k"]["path"] = "c/d"
    with pytest.raises(EnvironmentProblem, match="no such path"):
        load_scope(load_toolkit(write(tmp_path, value)), Options())
