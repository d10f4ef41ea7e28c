"""What a driver remembers of its `up`s."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.api.instance import Instance
from testbed.supervisors.compose.done import read_done, write_done


def test_what_was_done_is_known_after_a_restart(tmp_path: Path) -> None:
    instance = Instance("c", "abc", tmp_path, "10.0.0.0/16", 1, ())
    assert read_done(instance) == {}
    write_done(instance, {"uid": 3})
    assert read_done(instance) == {"uid": 3}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"uid": "x"}', '{"uid": null}'])
def test_a_damaged_record_means_that_nothing_is_known(tmp_path: Path, content: str) -> None:
    (tmp_path / "ups.json").write_text(content)
    assert read_done(Instance("c", "abc", tmp_path, "10.0.0.0/16", 1, ())) == {}
