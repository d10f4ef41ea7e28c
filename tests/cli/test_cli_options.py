"""What help says of options is what the command line takes, for every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from testbed.cli.main import app
from testbed.errors import UsageError

WORDS = ("wide", "json", "yaml", "name", "terminal", "html", "junit", "markdown", "xml")


def commands() -> Iterator[tuple[str, typer.Context]]:
    """Every command and group by the words that name it."""
    def below(name: str, command: Any, above: typer.Context | None) -> Iterator[tuple[str, typer.Context]]:
        context = typer.Context(command, parent=above, info_name=name)
        yield context.command_path, context
        if isinstance(command, TyperGroup):
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None, word
                yield from below(word, found, context)

    return below("testbed", typer.main.get_command(app), None)


def options() -> list[tuple[str, typer.Context, TyperOption]]:
    return [(f"{name} {parameter.opts[0]}", context, parameter) for name, context in commands()
            for parameter in context.command.params if isinstance(parameter, TyperOption)]


FORMATS = [(name, context, option) for name, context, option in options() if "--output" in option.opts]


@pytest.mark.parametrize(("context", "option"), [rest for _, *rest in FORMATS], ids=[name for name, *_ in FORMATS])
def test_the_formats_that_help_names_are_those_that_are_taken(context: typer.Context, option: TyperOption) -> None:
    named = set(re.findall(r"\w+", option.help or "")) & set(WORDS)
    taken = set()
    for word in WORDS:
        try:
            taken.add(option.process_value(context, word))
        except UsageError as refused:
            assert set(re.findall(r"\w+", refused.hint)) & set(WORDS) == named
    assert taken == named and taken
    assert option.process_value(context, option.get_default(context)) == option.default


def test_formats_are_found_where_they_are_known_to_be() -> None:
    found = {name for name, *_ in FORMATS}
    assert {f"testbed {name} -o" for name in ("get", "run", "runs list", "baseline list", "config", "faults", "status",
                                              "report", "compare")} <= found


def test_no_number_of_a_measuring_command_stands_for_its_absence() -> None:
    """``-1`` and ``0`` that mean "not given" are shown as if they could be typed, and then do nothing."""
    wanted = {"testbed run --runs", "testbed run --seed", "testbed runs rm --keep"}
    defaults = {name: option.default for name, _, option in options() if name in wanted}
    assert defaults == dict.fromkeys(wanted)
