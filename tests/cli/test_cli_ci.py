"""The ready workflow: it is YAML of the form that GitHub wants, and every command in it exists with these flags."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML
from typer.core import TyperGroup

from testbed.cli.main import app

WORKFLOW = Path(__file__).parents[2] / "examples" / "github-actions.yml"
DOCUMENT = Path(__file__).parents[2] / "docs" / "ci.md"


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(WORKFLOW.read_text())
    return loaded


def commands(text: str) -> list[list[str]]:
    """Every ``testbed ...`` of a script, words apart; expressions of GitHub become their first alternative."""
    text = re.sub(r"\$\{\{.*?&& '([^']*)'.*?\}\}", r"\1", text.replace("\\\n", " "))
    lines = [line.strip().removeprefix("$ ").partition(" #")[0] for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("testbed ")]


def used() -> list[list[str]]:
    steps = workflow()["jobs"]["resilience"]["steps"]
    console = "\n".join(re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    return [words for text in (*(step["run"] for step in steps if "run" in step), console) for words in commands(text)]


def test_it_has_the_form_of_a_workflow() -> None:
    found = workflow()
    assert {"name", "jobs"} <= set(found) and (True in found or "on" in found)
    for step in found["jobs"]["resilience"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        assert "uses" not in step or re.fullmatch(r"[\w./-]+@v\d+", step["uses"])


@pytest.mark.parametrize("words", used(), ids=" ".join)
def test_every_command_exists_with_these_flags(words: list[str]) -> None:
    asked = words
    command: Any = typer.main.get_command(app)
    context = typer.Context(command)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, context, words = found, typer.Context(found, parent=context), words[1:]
    assert words != asked  # the command was found, and its own flags are judged
    command.make_parser(context).parse_args(list(words))


def test_enough_is_checked() -> None:
    names = {words[0] for words in used()}
    assert {"setup", "validate", "run", "baseline", "report"} <= names
