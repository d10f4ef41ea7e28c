"""Empty words on the command line: an unset variable of a script, never the same as nothing."""

from __future__ import annotations

import pytest

from testbed.cli.main import main, refuse_empty


@pytest.mark.parametrize(("words", "told"), [
    (("run", "crash", "--baseline", ""), "--baseline has an empty value"),
    (("run", "crash", "--baseline="), "--baseline has an empty value"),
    (("run", "crash", "--against", ""), "--against has an empty value"),
    (("run", "crash", "--platform", ""), "--platform has an empty value"),
    (("run", "crash", "--fail-on", ""), "--fail-on has an empty value"),
    (("run", "crash", "--out", ""), "--out has an empty value"),
    (("baseline", "save", "--as", ""), "--as has an empty value"),
    (("delete", "pods", "-l", ""), "-l has an empty value"),
    (("compare", "", "main"), "an empty argument behind compare"),
    (("compare", "main", ""), "an empty argument behind main"), (("",), "an empty argument behind testbed"),
    (("exec", "", "--", "ls"), "an empty argument behind exec"),
])
def test_an_empty_word_is_refused_and_its_option_named(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == "" and f"error: {told}\n" in said.err and "unset" in said.err


@pytest.mark.parametrize("words", [
    ["exec", "web", "--", "echo", "", "--as="], ["exec", "web", "sh", "-c", ""], ["run", "a.json", "--var", "NAME="],
    ["runs", "--name", "a b"], []])
def test_what_another_program_gets_and_what_only_ends_empty_passes(words: list[str]) -> None:
    refuse_empty(words)
