"""Lines of many containers in one: in the order of their times, none lost, none told twice, none in a wrong hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.cli.log_merging import InOrder, Newest, stamped
from testbed.cli.log_position import OVERLAP_NS, Position
from testbed.cli.log_prefixes import Prefixes, Source, tame

TIMES = st.integers(0, 10**10)


@pytest.mark.parametrize(("line", "at_ns", "text"), [
    (b"1970-01-01T00:00:01.000000002Z hello\n", 1_000_000_002, "hello"),
    (b"1970-01-01T00:00:01.5Z hello\r\n", 1_500_000_000, "hello"),
    (b"1970-01-01T02:00:01+02:00 hello", 1_000_000_000, "hello"),
    (b"1970-01-01T00:00:01Z \n", 1_000_000_000, ""),
    (b"1970-01-01T00:00:01Z   two blanks\n", 1_000_000_000, "  two blanks"),
    (b"no time at all\n", 7, "no time at all"),
    (b"1970-99-01T00:00:01Z no such month\n", 7, "1970-99-01T00:00:01Z no such month"),
    (b"1970-01-01T00:00:01Z \xff\n", 1_000_000_000, "\ufffd"),
])
def test_a_line_begins_with_its_time(line: bytes, at_ns: int, text: str) -> None:
    assert stamped(line, 7) == (at_ns, text)


@given(times=st.lists(TIMES), max_lines=st.integers(1, 10))
def test_the_newest_lines_are_kept_in_order_and_the_others_are_counted(times: list[int], max_lines: int) -> None:
    newest: Newest[tuple[int, int]] = Newest(max_lines)
    lines = [(at_ns, number) for number, at_ns in enumerate(times)]
    for at_ns, number in lines:
        newest.add(at_ns, (at_ns, number))
    assert newest.in_order() == sorted(lines)[-max_lines:]
    assert newest.left_out == max(0, len(lines) - max_lines)


@given(arrivals=st.lists(st.tuples(st.floats(0, 1), TIMES), max_size=60), hold_s=st.floats(0, 1),
       max_held=st.integers(1, 20))
def test_held_lines_come_out_whole_and_none_waits_longer(
    arrivals: list[tuple[float, int]], hold_s: float, max_held: int,
) -> None:
    held: InOrder[int] = InOrder(hold_s, max_held)
    now_s, waiting, told = 0.0, {}, []
    for number, (pause_s, at_ns) in enumerate(arrivals):
        now_s += pause_s
        held.add(at_ns, number, now_s)
        waiting[number] = now_s
        given = held.due(now_s)
        assert [arrivals[one][1] for one in given] == sorted(arrivals[one][1] for one in given)
        for one in given:
            del waiting[one]
        assert all(came_s > now_s - hold_s for came_s in waiting.values()) and len(waiting) <= max_held
        told += given
    assert sorted([*told, *held.rest()]) == list(range(len(arrivals)))
    assert held.rest() == []


@given(late_ns=st.lists(st.integers(0, 400_000_000), max_size=40))
def test_what_comes_less_late_than_lines_are_held_is_told_in_order(late_ns: list[int]) -> None:
    lines = sorted((number * 10**8 + late, number * 10**8) for number, late in enumerate(late_ns))  # arrives, happened
    held: InOrder[int] = InOrder(hold_s=0.5)
    told = []
    for arrives_ns, at_ns in lines:
        held.add(at_ns, at_ns, arrives_ns / 1e9)
        told += held.due(arrives_ns / 1e9)
    assert [*told, *held.rest()] == sorted(at_ns for _, at_ns in lines)


def read_on(file: list[int], position: Position, upto: int) -> list[int]:
    """What is told of a log (times of its lines) that is read from ``position`` until ``upto`` lines are there."""
    position.open()
    asked = [at_ns for at_ns in file[:upto] if at_ns >= position.since_ns]
    return [at_ns for at_ns in asked if position.is_new(at_ns)]


@given(steps=st.lists(st.integers(0, 200_000_000), max_size=60), late=st.lists(st.integers(0, OVERLAP_NS // 2)),
       breaks=st.lists(st.integers(0, 60), max_size=6))
def test_a_log_whose_reading_broke_off_is_told_whole_and_once(
    steps: list[int], late: list[int], breaks: list[int],
) -> None:
    now, file = 10**9, []
    for number, step in enumerate(steps):
        now += step
        file.append(now - (late[number % len(late)] if late else 0))
    position, told = Position(), []
    for upto in [*sorted(breaks), len(file)]:
        told += read_on(file, position, upto)
    assert told == file and position.begun == bool(file)


@given(first=st.lists(st.integers(1, 10**9), max_size=20), second=st.lists(st.integers(1, 10**9), max_size=20),
       seen=st.integers(0, 20))
def test_the_next_life_of_a_container_goes_on_where_the_last_one_was_left(
    first: list[int], second: list[int], seen: int,
) -> None:
    dead, born = sorted(first), [10**9 + at_ns for at_ns in sorted(second)]
    position = Position()
    told = read_on(dead, position, seen)
    assert told + read_on(dead, position, len(dead)) + read_on(born, position, len(born)) == dead + born


def test_lines_before_what_was_asked_for_are_not_told() -> None:
    position = Position(since_ns=5_000)
    position.open()
    assert [position.is_new(at_ns) for at_ns in (4_999, 5_000, 6_000)] == [False, True, True]


def test_a_line_says_whose_it_is_in_a_column() -> None:
    shown = Prefixes(terminal=False, colour=False)
    for source in (Source("default", "web-1", "web"), Source("default", "web-10", "side")):
        shown.expect(source)
    assert shown.show(Source("default", "web-1", "web"), "\x1b[31mred") == "web-1 web   | \x1b[31mred"
    assert Prefixes(terminal=False, colour=False, namespaces=True).show(Source("a", "b", "c"), "x") == "a/b c | x"


def test_each_pod_has_its_colour_whatever_its_containers() -> None:
    shown = Prefixes(terminal=True, colour=True)
    def colour(pod: str, container: str) -> str:
        return shown.show(Source("default", pod, container), "x").partition("m")[0]

    assert colour("a", "one") == colour("a", "two") != colour("b", "one")
    assert colour("a", "one") == colour("a", "one")


@pytest.mark.parametrize(("text", "left"), [
    ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"), ("\x1b[2J\x1b]0;owned\x07x", "x"), ("\x1b[>4;2mx", "x"),
    ("a\x07b\rc\td\x1b", "abc\td"), ("\u202ex\x9b2J", "x2J"), ("\x1b\x1b[2J[2J", "[2J"),
])
def test_what_a_container_wrote_colours_and_steers_nothing(text: str, left: str) -> None:
    assert tame(text) == left


@given(text=st.text(st.sampled_from("\x1b[]0;m>?2JHa\x07\x9b\r\u202e"), max_size=30))
def test_no_sequence_but_of_colours_is_left(text: str) -> None:
    import re

    assert not re.sub(r"\x1b\[[0-9;]*m", "", tame(text)).strip("[]0;m>?2JHa")


def test_a_coloured_line_ends_its_colour() -> None:
    shown: Any = Prefixes(terminal=True, colour=True).show(Source("d", "p", "c"), "\x1b[31mred")
    assert shown.endswith("red\x1b[0m")


@pytest.mark.parametrize("colour", [False, True])
def test_a_terminal_is_steered_by_nobody_with_colours_or_without(colour: bool) -> None:
    shown = Prefixes(terminal=True, colour=colour).show(Source("d", "p", "c"), "\x1b]0;owned\x07\x1b[2Jx\x1b[31mred")
    assert shown.endswith(" x\x1b[31mred\x1b[0m") and "owned" not in shown


def test_no_color_leaves_names_uncoloured() -> None:
    assert Prefixes(terminal=True, colour=False).show(Source("d", "p", "c"), "x") == "p c | x"
