"""Manifests from files: what a hostile or broken one does to the client is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.client.manifests import read_manifests
from testbed.errors import InvalidInput


def read(directory: Path, text: str) -> list[dict[str, object]]:
    file = directory / "f.yaml"
    file.write_text(text)
    return read_manifests(file)


def test_lists_are_taken_apart_and_aliases_are_copies(tmp_path: Path) -> None:
    found = read(tmp_path, "kind: List\nitems: [&a {kind: A, day: 2026-01-02}, *a]\n---\n---\nkind: B\n")
    assert [item["kind"] for item in found] == ["A", "A", "B"]
    assert found[0]["day"] == "2026-01-02" and found[0] is not found[1]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(("text", "says"), [
    (BOMB, "aliases"), ("a: &a [*a]", "contains itself"), ("a: " + "[" * 5000 + "]" * 5000, "nested"),
    ("a: !!python/object/apply:os.getpid []", "cannot be read"), ("a: 1\na: 2", "cannot be read"),
    ("- 1", "object is expected"), ("kind: List\nitems: 5", "items of a List"), ("x" * (1 << 20) + "x", "larger"),
    ("a: [", "cannot be read"),
])
def test_security_row8_hostile_yaml_is_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(tmp_path, text)
