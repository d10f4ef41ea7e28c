"""A pulse's file is read while it grows, in as small parts as whoever reads wants, and what is broken stays broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import InvalidInput
from testbed.load.profile import Profile, Stage
from testbed.load.records import FRESH, Follower, Outcome, Record


def lines(count: int) -> str:
    start = '#{"kind": "start", "rate": 100}\n'
    return start + "".join(Record(index, FRESH, index, index, index + 1, Outcome.OK, 200).line()
                           for index in range(count))


@pytest.mark.parametrize("most_bytes", [40, 100, 1000, -1])
def test_in_parts_the_same_is_read_each_record_once(tmp_path: Path, most_bytes: int) -> None:
    file = tmp_path / "pulse"
    file.write_text(lines(200))
    follower = Follower(file)
    parts = [follower.poll(most_bytes) for _ in range(400)]
    assert [record.index for part in parts for record in part] == list(range(200))
    assert [record.index for record in follower.data.records] == list(range(200)) and follower.data.rate == 100
    assert most_bytes < 0 or max(map(len, parts)) <= most_bytes / 10


def test_a_broken_file_is_told_at_every_look_not_only_to_who_looked_first(tmp_path: Path) -> None:
    file = tmp_path / "pulse"
    file.write_text(lines(3) + "no record\n")
    follower = Follower(file)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="no record"):
            follower.poll()
    file.write_text(lines(3) + "no record\n" + lines(9))
    with pytest.raises(InvalidInput):
        follower.poll()


@given(st.floats(0, 100))
def test_the_rate_of_a_moment_is_the_slope_of_the_arrivals(at_s: float) -> None:
    profile = Profile(50.0, (Stage(150.0, 10.0), Stage(20.0, 0.0), Stage(80.0, 30.0)), wait_s=5.0)
    slope = (profile.arrivals(at_s + 1e-4) - profile.arrivals(at_s)) / 1e-4
    assert profile.rate_at(at_s) == pytest.approx(slope, rel=1e-3, abs=0.02) or abs(at_s - 15.0) < 1e-3
