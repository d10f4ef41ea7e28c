"""What a cluster has written is printed whole in every form, and steers no terminal in any."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from testbed.api.printable import printable_json
from testbed.cli.output import dump, plain, yaml_text

STRANGE = "\x00\x07\x1b\x7f\x80\x85\x9b\xa0\u2028\u202e\ufeff\U000e0001"
TEXTS = st.text(st.sampled_from(f"a ü✗🙂\"\\:#-[]\n\r\t{STRANGE}"), max_size=12)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
                      max_leaves=6)


def harmless(text: str) -> bool:
    return all(row.isprintable() for row in text.split("\n"))


@given(VALUES)
@example(f"{STRANGE}ü")
def test_json_and_yaml_say_the_same_as_before_without_what_a_terminal_obeys(value: Any) -> None:
    for indent in (None, 1):
        text = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert harmless(text) and json.loads(text) == value
    text = yaml_text(value)
    assert harmless(text) and YAML(typ="safe").load(text) == value


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_objects_are_printed_so(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    dump({"message": STRANGE}, form)
    assert harmless(capsys.readouterr().out)


def test_what_is_printed_is_not_escaped() -> None:
    assert printable_json('"ü ✗ 🙂"') == '"ü ✗ 🙂"'
    assert yaml_text({"a": "ü ✗ 🙂"}) == "a: ü ✗ 🙂"
    assert plain(f"ü{STRANGE}") == "ü" + "?" * len(STRANGE)
