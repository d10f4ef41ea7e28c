"""The pulse's selector keeps the promises that asyncio relies on, for descriptors that come and go."""

from __future__ import annotations

import os
import select
import selectors
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from testbed.load.precise import PreciseSelector


@pytest.fixture(params=[PreciseSelector, selectors.EpollSelector])  # the standard library's is the measure
def selector(request: pytest.FixtureRequest) -> Iterator[selectors.BaseSelector]:
    with request.param() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def seen(selector: selectors.BaseSelector) -> list[tuple[int, int, object]]:
    return [(key.fd, events, key.data) for key, events in selector.select(0)]


def test_only_what_was_asked_for_is_told(selector, pair):
    ours, theirs = pair
    selector.register(ours.fileno(), EVENT_READ, "data")
    assert seen(selector) == []
    theirs.send(b"x")
    assert seen(selector) == [(ours.fileno(), EVENT_READ, "data")]
    selector.modify(ours.fileno(), EVENT_READ | EVENT_WRITE, "both")
    assert seen(selector) == [(ours.fileno(), EVENT_READ | EVENT_WRITE, "both")]
    selector.modify(ours.fileno(), EVENT_WRITE, "write")
    assert seen(selector) == [(ours.fileno(), EVENT_WRITE, "write")]
    selector.unregister(ours.fileno())
    assert seen(selector) == []


@pytest.mark.parametrize("events", [EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE])
def test_the_end_of_the_other_side_is_told_to_whoever_waits(selector, pair, events):
    ours, theirs = pair
    theirs.close()
    selector.register(ours.fileno(), events)
    assert [told for _, told, _ in seen(selector)] == [events]


def test_one_that_was_closed_before_it_was_taken_out_is_forgotten_and_its_number_is_free_again(selector, pair):
    number = pair[0].fileno()
    selector.register(number, EVENT_READ)
    pair[0].close()
    selector.unregister(number)
    first, second = socket.socketpair()
    with first, second:
        assert first.fileno() == number
        selector.register(number, EVENT_READ, "again")
        second.send(b"x")
        assert seen(selector) == [(number, EVENT_READ, "again")]


def test_what_is_not_registered_or_registered_twice_is_a_key_error(selector, pair):
    number = pair[0].fileno()
    for act in (selector.get_key, selector.unregister, lambda fd: selector.modify(fd, EVENT_READ)):
        with pytest.raises(KeyError):
            act(number)
    key = selector.register(number, EVENT_READ, "once")
    with pytest.raises(KeyError):
        selector.register(number, EVENT_READ, "twice")
    assert selector.get_key(number) == key
    assert selector.get_map()[number] == key


def test_it_waits_until_something_is_ready_and_not_past_its_timeout(selector, pair):
    ours, theirs = pair
    selector.register(ours.fileno(), EVENT_READ)
    assert selector.select(0.001) == []
    theirs.send(b"x")
    assert [key.fd for key, _ in selector.select(None)] == [ours.fileno()]
    assert [key.fd for key, _ in selector.select(60)] == [ours.fileno()]


def test_more_are_told_at_once_than_select_could_name(selector):
    # select() itself takes no descriptor above 1023: only the number of the epoll set has to be small
    first, second = socket.socketpair()
    with first, second:
        second.send(b"x")
        numbers = [os.dup(first.fileno()) for _ in range(1200)]
        try:
            for number in numbers:
                selector.register(number, EVENT_READ)
            with pytest.raises(ValueError, match="out of range"):
                select.select(numbers, (), (), 0)
            assert {key.fd for key, _ in selector.select(1)} == set(numbers)
        finally:
            for number in numbers:
                os.close(number)
